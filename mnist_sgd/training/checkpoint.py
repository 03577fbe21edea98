"""Checkpoints: resume an interrupted fit from any batch, bit for bit.

    learn.fit(10, lr=1.0, cbs=Checkpoint("checkpoint.safetensors", every=50))
    learn.fit(10, lr=1.0, cbs=Checkpoint(...), resume="checkpoint.safetensors")  # a new process

A checkpoint is one file, replaced atomically, and reading it runs no code. It holds

- the weights, all buffers and which parameters are frozen;
- the optimizer's settings and buffers;
- the position of the loaders, and the recorder's history;
- the plain attributes of the model and the loss that the fit has changed, and the loss's own state
  if it is a module;
- the states of torch's random generators on each rank;
- the state of callbacks that have a `state_dict()` and a `load_state_dict()`.

In one process the resumed fit ends with the same weights and metrics to the last bit. Another
number of ranks may resume it too, with the same batches and the rounding of another order of sums.
The random states of Python and NumPy are not saved.

`before_fit` is called again when a fit resumes, and so are `before_epoch` and `before_train` of an
epoch that was under way. What they change of the above is then put back to the checkpoint's state,
which includes what their first call had changed.

A fit that began with other settings is refused, see `fit_identity` and `fit_start`, and the learner
is left unchanged. Where other plain attributes of a custom model or records differ, which may hold
anything, a warning names them. A callback that changes what is computed can take part in this: its
method `fit_settings()` returns its settings, a text for each name, which an error repeats.
"""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mnist_sgd._files import atomic_write, remove_leftovers
from mnist_sgd._lock import only_writer
from mnist_sgd._state_file import DocumentError, dump, pack
from mnist_sgd.loader.dataloader import DataLoader
from mnist_sgd.models.state_entries import check_extra
from mnist_sgd.models.wrappers import plain_state
from mnist_sgd.training.callbacks.base import Callback
from mnist_sgd.training.data_parallel import broadcast_buffers
from mnist_sgd.training.interface import Learner
from mnist_sgd.training.random_states import random_state
from mnist_sgd.training.resume.begun import Begun
from mnist_sgd.training.resume.checkpoint_data import described_data
from mnist_sgd.training.resume.checkpoint_file import (
    FORMAT,
    CheckpointError,
    on_main_process,
    other_fit,
    read_checkpoint,
    warn_of_attributes,
)
from mnist_sgd.training.resume.fit_identity import callback_settings, stateful_callbacks
from mnist_sgd.training.resume.fit_start import FitStart
from mnist_sgd.training.resume.fit_state import begin_loaders, fit_state, take_up
from mnist_sgd.training.resume.put_back import StateToPutBack


class Checkpoint(Callback):
    """Writes a checkpoint after each epoch, and every so many batches.

    It is called after the callbacks whose `order` is below its own, 80, so that it sees what they
    changed. If a callback before it raises in `after_batch` or `after_epoch`, the checkpoint of
    that moment is not written, and the file holds an earlier one. `EarlyStopping` ends the fit in
    `before_epoch`, when the checkpoint of the last epoch has been written.

    The file remains after the fit, and then holds the finished fit. In several processes each rank
    needs the callback, and rank 0 writes. While a fit writes a file, another process's fit that
    would write it is refused.

    Args:
        path: the file, which is replaced each time; its folder must exist.
        every: write after each multiple of this many batches of the fit, at least 1; None: only
            after each epoch.

    Raises:
        ValueError: `every` is below 1.
    """

    order = 80
    during_lr_find = False

    def __init__(self, path: str | os.PathLike[str], every: int | None = None) -> None:
        if every is not None and every < 1:
            raise ValueError(f"every must be at least 1 batch, got {every}")
        self.path = Path(path)
        self.every = every

    def before_fit(self, learn: Learner) -> None:
        """Check that a checkpoint can be written, before any work is done.

        Raises:
            CheckpointError: the training batches or the optimizer have no state; the state of a
                layer or a callback cannot be written, or a callback has no `load_state_dict`;
                there is no such folder; or another process writes the file.
        """
        _training_loader(learn)
        _optimizer_state(learn)
        _check_callbacks(learn)
        states = {
            name: cb.state_dict() for name, cb in stateful_callbacks(learn.active_cbs).items()
        }
        try:
            check_extra(plain_state(learn.model))
            pack({"callbacks": states, "settings": callback_settings(learn.active_cbs)}, "", {})
        except ValueError as error:
            raise CheckpointError(f"{self.path} cannot be written: {error}") from error
        on_main_process(learn.ranks, partial(self._prepare, learn))

    def rank_settings(self) -> dict[str, str]:
        """Return what must be the same on all ranks, which write together."""
        return {"Checkpoint": "every epoch" if self.every is None else f"every {self.every}"}

    def _prepare(self, learn: Learner) -> bytes:
        if not self.path.parent.is_dir():
            raise CheckpointError(f"{self.path}: there is no folder {self.path.parent}")
        if self.path.is_dir():
            raise CheckpointError(f"{self.path} is a folder: name a file in it")
        if learn.at_end.enter_context(only_writer(self.path)):
            remove_leftovers(self.path)
        return b""

    def after_batch(self, learn: Learner) -> None:
        """Write after each `every` batches."""
        if self.every and learn.training and len(learn.recorder.lrs) % self.every == 0:
            save_checkpoint(learn, self.path)

    def after_epoch(self, learn: Learner) -> None:
        """Write the state with which the next epoch begins."""
        save_checkpoint(learn, self.path, epoch_done=True)


def begin_fit(learn: Learner, resume: str | os.PathLike[str] | None) -> None:
    """Note what a fit begins with, and load a checkpoint; all ranks call this together.

    Args:
        learn: in a fit that has not begun, its optimizer made.
        resume: the checkpoint's file; None starts from the beginning.

    Raises:
        CheckpointError: as in `load_checkpoint`.
    """
    noted = any(isinstance(cb, Checkpoint) for cb in learn.active_cbs)
    learn._put_back = None
    if resume is None:
        _note_start(learn, noted)
        learn.train_place.begin(learn.dls.train)
        learn.valid_place.begin(None if learn.dls.valid is learn.dls.train else learn.dls.valid)
        return
    load_checkpoint(learn, resume)


def _note_start(learn: Learner, noted: bool = True) -> None:
    learn.fit_start = FitStart.of(learn) if noted else None
    learn.begun = Begun(learn, learn.fit_start) if learn.fit_start else None


def save_checkpoint(
    learn: Learner, path: str | os.PathLike[str], *, epoch_done: bool = False
) -> None:
    """Write the state of a fit; all ranks call this together, and rank 0 writes.

    Args:
        learn: in a fit, after a training batch or after an epoch.
        path: the file.
        epoch_done: whether `learn.epoch` is complete.

    Raises:
        CheckpointError: the training batches or the optimizer have no state that could be written.
        OSError: the file cannot be written; an existing one is unchanged.
    """
    _training_loader(learn)
    learn.recorder.read_losses()  # in which all ranks take part
    broadcast_buffers([learn.model, *learn.loss_modules().values()], learn.ranks)
    own = random_state(learn.ranks.device)
    random = {name: learn.ranks.all_gather(values) for name, values in own.items()}
    if not learn.ranks.is_main_process:
        return
    try:
        content = dump(
            {
                "checkpoint": FORMAT,
                "data": described_data(learn.dls),
                **fit_state(learn, learn.fit_start or FitStart.of(learn), epoch_done),
                "torch": torch.__version__,
                "random": own,
                "random of ranks": random,
            }
        )
    except (DocumentError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be written: {error}") from error
    atomic_write(path, content)


def load_checkpoint(learn: Learner, path: str | os.PathLike[str]) -> None:
    """Load a checkpoint into a learner; all ranks call this together.

    Rank 0 reads the file and broadcasts it, so that only it needs the disk. If it is of the
    learner's own newest fit, what that fit changed is first put back, see `begun`.

    Args:
        learn: in a fit that has not begun, its optimizer made.
        path: the file.

    Raises:
        CheckpointError: the file is missing, damaged or not a checkpoint; or it is of another
            model, optimizer, learning rate, momentum, weight decay, precision, loss, schedule, data
            set, augmentation, seed or batch size, of other frozen parameters, or of other callbacks
            that have a state or settings; or it has more epochs than the fit. The message names the
            file and both values.
    """
    state = read_checkpoint(Path(path), learn.ranks)
    begun = learn.begun
    if begun and on_main_process(learn.ranks, lambda: b"own" if begun.is_of(state) else b""):
        begun.put_back(learn)
    _note_start(learn)
    if learn.fit_start:
        learn.fit_start.parts.take_up(state.get("parts", {}))

    def checked() -> bytes:
        if found := other_fit(learn, state):
            raise CheckpointError(found)
        warn_of_attributes(learn, path, state)
        return b""

    try:
        _check_callbacks(learn)
        on_main_process(learn.ranks, checked)  # attributes of another rank may say which rank it is
        begin_loaders(learn, state, partial(_load_loader, path))
        take_up(learn, state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    learn._put_back = StateToPutBack(learn, path, state)


def _load_loader(
    path: str | os.PathLike[str], state: Mapping[str, int], loader: DataLoader
) -> None:
    try:
        loader.load_state_dict(state)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _check_callbacks(learn: Learner) -> None:
    for name, cb in stateful_callbacks(learn.active_cbs).items():
        if not hasattr(cb, "load_state_dict"):
            raise CheckpointError(
                "a checkpoint needs callbacks that have a state_dict() to have a "
                f"load_state_dict(), too; {name} has none"
            )


def _training_loader(learn: Learner) -> DataLoader:
    if not isinstance(learn.dls.train, DataLoader):
        raise CheckpointError(
            "a checkpoint needs to know where the batches stand: those for training come from a "
            f"{type(learn.dls.train).__name__}, and only a mnist_sgd.DataLoader tells"
        )
    return learn.dls.train


def _optimizer_state(learn: Learner) -> dict[str, Any]:
    if not hasattr(learn.opt, "state_dict"):
        raise CheckpointError(
            "a checkpoint needs an optimizer with state_dict() and load_state_dict(); "
            f"{type(learn.opt).__name__} has none"
        )
    state: dict[str, Any] = learn.opt.state_dict()
    return state
