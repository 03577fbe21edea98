"""Checkpoints: resume an interrupted fit from any batch, bit for bit.

    learn.fit(10, lr=1.0, cbs=Checkpoint("checkpoint.safetensors", every=50))
    learn.fit(10, lr=1.0, cbs=Checkpoint(...), resume="checkpoint.safetensors")  # a new process

A checkpoint is one file, written atomically, and reading it runs no code. It holds the weights and
all buffers, the optimizer's settings and state, the positions of the loaders, the recorder, which
parameters are frozen, the plain attributes of the model and the loss that the fit has changed, the
loss's own state if it is a module, and the state of torch's random numbers on each rank. In a
single process the resumed fit gives the same weights and metrics to the last bit. Another number of
ranks may resume it too, with the same batches, up to the rounding of sums in another order.

Of callbacks it holds the state of those with a `state_dict()` and a `load_state_dict()`. It does
not hold the random states of Python and NumPy. The hook `before_fit` is called again when a fit
resumes, and within an epoch `before_epoch` and `before_train` are, too. What they change of the
above is then restored from the checkpoint, because their first call had already changed it.

A fit with other settings is refused, see `resume.fit_identity` and `resume.fit_start`, and the
learner stays unchanged. If other plain attributes of a custom model or record differ, which may
hold anything, a warning names them. A callback that changes what is computed can be included: its
method `fit_settings()` returns its settings, texts by names, which error messages repeat.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mnist_sgd._files import atomic_write, remove_leftovers
from mnist_sgd._lock import only_writer
from mnist_sgd._state_file import DocumentError, dump, pack, parse
from mnist_sgd.loader.dataloader import DataLoader
from mnist_sgd.models.state_entries import check_extra
from mnist_sgd.models.wrappers import plain_state
from mnist_sgd.training.callbacks.base import Callback
from mnist_sgd.training.data_parallel import broadcast_buffers
from mnist_sgd.training.random_states import random_state
from mnist_sgd.training.resume.comparison import described_data, other_attributes, other_fit
from mnist_sgd.training.resume.errors import CheckpointError as CheckpointError, ResumeError
from mnist_sgd.training.resume.fit_identity import (
    OPTIMIZER,
    callback_settings,
    public_name,
    stateful_callbacks,
)
from mnist_sgd.training.resume.fit_start import FitStart
from mnist_sgd.training.resume.fit_state import fit_state
from mnist_sgd.training.resume.restore import DeferredState, restore_loaders, start_from
from mnist_sgd.training.resume.started_fit import StartedFit

FORMAT = 2


class Checkpoint(Callback):
    """Write a checkpoint after each epoch and, if asked for, every few batches.

    It is called after the callbacks with an `order` below its own, 80, so that it sees their
    changes. If a callback ends the epoch or the fit by an exception in `after_batch` or
    `after_epoch`, the callbacks after it are not called: no checkpoint of that moment is written,
    and the file holds an earlier one. `EarlyStopping` ends the fit in `before_epoch`, after the
    last epoch's checkpoint.

    The file of a finished fit stays. In several processes each rank has this callback, and the
    first one writes. While a fit writes the file, a fit of another process that would is refused.

    Args:
        path: the file, which is replaced each time; its folder must exist.
        every: write after every this many batches of the fit, at least 1. None: only after epochs.

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

    def before_fit(self, learn: Any) -> None:
        """Check that a checkpoint can be written, before any work is done.

        Raises:
            CheckpointError: the training batches or the optimizer have no state; the state of a
                layer or a callback cannot be written, or a callback cannot load it; the folder does
                not exist; or another process writes the file.
        """
        _check_loader(learn)
        if not hasattr(learn.opt, "state_dict"):
            raise CheckpointError(
                "a checkpoint needs an optimizer with state_dict() and load_state_dict(); "
                f"{type(learn.opt).__name__} has none"
            )
        _check_callbacks(learn)
        states = {
            name: cb.state_dict() for name, cb in stateful_callbacks(learn.active_cbs).items()
        }
        try:
            check_extra(plain_state(learn.model))
            pack({"callbacks": states, "settings": callback_settings(learn.active_cbs)}, "", {})
        except ValueError as error:
            raise CheckpointError(f"{self.path} cannot be written: {error}") from error
        _on_main_process(learn, partial(self._prepare, learn))

    def rank_settings(self) -> dict[str, str]:
        """Return the settings that must be equal on all ranks, which write together."""
        return {"Checkpoint": "every epoch" if self.every is None else f"every {self.every}"}

    def _prepare(self, learn: Any) -> bytes:
        if not self.path.parent.is_dir():
            raise CheckpointError(f"{self.path}: there is no folder {self.path.parent}")
        if self.path.is_dir():
            raise CheckpointError(f"{self.path} is a folder: name a file in it")
        if learn.at_end.enter_context(only_writer(self.path)):
            remove_leftovers(self.path)
        return b""

    def after_batch(self, learn: Any) -> None:
        """Write after every `every` batches."""
        if self.every and learn.training and len(learn.recorder.lrs) % self.every == 0:
            save_checkpoint(learn, self.path)

    def after_epoch(self, learn: Any) -> None:
        """Write what the next epoch starts with."""
        save_checkpoint(learn, self.path, epoch_done=True)


def begin_fit(learn: Any, resume: str | os.PathLike[str] | None) -> None:
    """Record what a fit starts with, and load a checkpoint; all ranks call this together.

    Args:
        learn: a `Learner` whose fit is about to start, its optimizer made.
        resume: the checkpoint's file; None starts a new fit.

    Raises:
        CheckpointError: as in `load_checkpoint`.
    """
    learn._put_back = None
    if resume is not None:
        load_checkpoint(learn, resume)
        return
    learn.fit_start = learn.started_fit = None
    if any(isinstance(cb, Checkpoint) for cb in learn.active_cbs):
        _record_start(learn)
    learn.train_place.begin(learn.dls.train)
    learn.valid_place.begin(None if learn.dls.valid is learn.dls.train else learn.dls.valid)


def _record_start(learn: Any) -> FitStart:
    start = FitStart.of(learn)
    learn.fit_start, learn.started_fit = start, StartedFit(learn, start)
    return start


def save_checkpoint(learn: Any, path: str | os.PathLike[str], *, epoch_done: bool = False) -> None:
    """Write the state of a fit; all ranks call this together, and the first one writes.

    Args:
        learn: a `Learner` in a fit, after a training batch or after an epoch.
        path: the file.
        epoch_done: whether `learn.epoch` is over.

    Raises:
        CheckpointError: the training batches or the optimizer have no state that could be written.
        OSError: the file cannot be written; an older one of that name is untouched.
    """
    _check_loader(learn)
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
                "threads": torch.get_num_threads(),
                "random": own,
                "random of ranks": random,
            }
        )
    except (DocumentError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be written: {error}") from error
    atomic_write(path, content)


def threads_of(path: str | os.PathLike[str]) -> int | None:
    """Return the number of torch's threads that the fit of a checkpoint was computed with.

    Returns:
        None if there is no such file, it is damaged, or it is of a version that did not note it.
    """
    try:
        threads = parse(Path(path).read_bytes()).get("threads")
    except (OSError, DocumentError):
        return None
    return threads if isinstance(threads, int) and threads > 0 else None


def load_checkpoint(learn: Any, path: str | os.PathLike[str]) -> None:
    """Restore a learner to a checkpoint; all ranks call this together.

    The first rank reads the file and sends it to the others, so only it needs the disk. If the
    checkpoint is of the learner's own newest fit, what that changed is reset first.

    Args:
        learn: a `Learner` whose fit is about to start, its optimizer made.
        path: the file.

    Raises:
        CheckpointError: the file is missing, damaged or not a checkpoint; or it is of another
            model, optimizer, learning rate, momentum, weight decay, precision, loss, schedule, data
            set, augmentation, seed or batch size, of other frozen parameters, or of other callbacks
            that have a state or settings; or it is further than the fit's last epoch. The message
            names the file and both values.
    """
    state = _read(learn, Path(path))
    started = learn.started_fit
    if started and _on_main_process(learn, lambda: b"own" if started.is_of(state) else b""):
        started.reset(learn)
    start = _record_start(learn)
    start.components.load_state(state.get("parts", {}))
    naming = partial(_naming_file, path)

    def check() -> bytes:
        if found := other_fit(learn, state, start):
            raise ResumeError(found)
        _warn_of_attributes(path, state, start)
        return b""

    def restore_loader(loader_state: Mapping[str, int], loader: DataLoader) -> None:
        with naming():
            loader.load_state_dict(loader_state)

    with naming():
        _check_callbacks(learn)
        _on_main_process(learn, check)  # attributes of another rank may hold its number
        restore_loaders(learn, state, restore_loader)
        start_from(learn, state)
    learn._put_back = DeferredState(learn, state, naming)


@contextmanager
def _naming_file(path: str | os.PathLike[str]) -> Iterator[None]:
    """Convert errors to a ResumeError that starts with the file's path."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        cause = None if isinstance(error, CheckpointError) else error
        raise ResumeError(f"{path}: {error}", getattr(error, "has_advice", False)) from cause


def _on_main_process(learn: Any, work: Callable[[], bytes]) -> bytes:
    """Return on all ranks what `work` returns on the first; an error is every rank's."""
    try:
        result: bytes = learn.ranks.run_on_main_process(work)
        return result
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(str(error)) from None


def _read(learn: Any, path: Path) -> dict[str, Any]:
    def content() -> bytes:
        if not path.is_file():
            raise ResumeError(f"{path}: there is no such file")
        return path.read_bytes()

    try:
        state = parse(_on_main_process(learn, content))
    except DocumentError as error:
        raise ResumeError(f"{path}: not a checkpoint: {error}") from error
    if state.get("checkpoint") != FORMAT:
        raise ResumeError(
            f"{path}: a checkpoint of format {state.get('checkpoint')}; "
            f"this version of mnist_sgd reads {FORMAT}"
        )
    for noted in (state.get("fit", {}), state.get("parts", {}).get("texts", {})):
        if OPTIMIZER in noted:  # earlier versions noted the module of the class
            noted[OPTIMIZER] = public_name(noted[OPTIMIZER])
    return state


def _warn_of_attributes(
    path: str | os.PathLike[str], state: dict[str, Any], start: FitStart
) -> None:
    """Warn of attributes that differ between two fits, if they may not matter for the result."""
    if found := other_attributes(state, start, decisive=False):
        warnings.warn(
            f"{path}: {'; '.join(found)}. If that takes part in what is computed, start the fit "
            "again, without the checkpoint",
            stacklevel=2,
        )


def _check_callbacks(learn: Any) -> None:
    for name, cb in stateful_callbacks(learn.active_cbs).items():
        if not hasattr(cb, "load_state_dict"):
            raise CheckpointError(
                "a checkpoint needs callbacks that have a state_dict() to have a "
                f"load_state_dict(), too; {name} has none"
            )


def _check_loader(learn: Any) -> None:
    if not isinstance(learn.dls.train, DataLoader):
        raise CheckpointError(
            "a checkpoint needs the position in the training batches, which only a "
            f"mnist_sgd.DataLoader has; they come from a {type(learn.dls.train).__name__}"
        )
