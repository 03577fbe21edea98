"""Checkpoints: a fit that was cut off anywhere goes on as if nothing had happened.

    learn.fit(10, lr=1.0, cbs=Checkpoint("checkpoint.safetensors", every=50))
    learn.fit(10, lr=1.0, cbs=Checkpoint(...), resume="checkpoint.safetensors")  # a new process

A checkpoint is one file, old or new but never a part of one, and reading it runs no code. It holds
the weights and all buffers, the optimizer's settings and averages, where the loaders stand, what
the recorder recorded, which parameters are frozen, the plain attributes of the model and the loss
that the fit has changed, the loss's own state if it is a module, and the state of torch's random
numbers on each rank. In one process the resumed fit leaves the same weights and figures to the last
bit. Another number of ranks may resume it too, with the same batches and the rounding of another
order of sums.

Of callbacks it holds what those with a `state_dict()` and a `load_state_dict()` give. It does not
hold the random numbers of Python and NumPy. The hook `before_fit` is called again when a fit
resumes, and for an epoch that was under way `before_epoch` and `before_train` are, too. What they
change of the above is then put back to what the checkpoint has, which their first call had already
changed.

A fit that began with other settings is refused, see `fit_identity` and `fit_start`, and the learner
is left as it was. Where other plain attributes of a custom model or records differ, which may hold
anything, a warning names them. A callback that changes what is computed can take part in this: its
method `fit_settings()` gives its settings, a text by a name each, which an error repeats.
"""

import os
import warnings
from collections.abc import Callable, Mapping, Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mnist_sgd._files import atomic_write, remove_leftovers
from mnist_sgd._lock import only_writer
from mnist_sgd._state_file import DocumentError, dump, pack, parse
from mnist_sgd.loader.dataloader import DataLoader
from mnist_sgd.models.state_entries import check_extra
from mnist_sgd.models.wrappers import plain_state
from mnist_sgd.training.callbacks.base import Callback
from mnist_sgd.training.random_states import random_state
from mnist_sgd.training.resume.begun import Begun
from mnist_sgd.training.resume.checkpoint_data import (
    described_data,
    other_augmentation,
    other_images,
)
from mnist_sgd.training.resume.fit_identity import (
    callback_settings,
    comparable,
    difference,
    normalised,
    settings_of_format_2,
    stateful_callbacks,
    with_loss_buffers,
)
from mnist_sgd.training.resume.fit_parts import fit_parts
from mnist_sgd.training.resume.fit_start import (
    FitStart,
    other_attributes,
    other_start,
    other_weights,
)
from mnist_sgd.training.resume.fit_state import (
    PARTS,
    awaited,
    begin_loaders,
    fit_state,
    put_state,
    take_up,
)

if TYPE_CHECKING:
    from mnist_sgd.training.learner import Learner

__all__ = ["Checkpoint", "CheckpointError", "begin_fit", "load_checkpoint", "save_checkpoint"]

FORMAT = 2

AGAIN = (
    "A callback changed that during the fit: let it do so again when it is called in a resumed "
    "fit, as in before_fit if learn.epoch >= 1"
)


class CheckpointError(ValueError):
    """A checkpoint cannot be taken, or a file is not one that this fit can resume from."""


class ResumeError(CheckpointError):
    """A file is not a checkpoint that this fit can resume from.

    Attributes:
        has_advice: whether the message says what to do.
    """

    def __init__(self, message: str, has_advice: bool = False) -> None:
        super().__init__(message)
        self.has_advice = has_advice


class Checkpoint(Callback):
    """Writes a checkpoint at the end of each epoch, and after every so many batches.

    Wherever it stands in the list, it is called after the callbacks of an `order` below its own,
    80, so that it sees what they changed. A callback that ends the epoch or the fit by an exception
    in `after_batch` or `after_epoch` keeps those after it from being called: the checkpoint of that
    moment is then not written, and the file holds an earlier one. `EarlyStopping` ends the fit in
    `before_epoch`, when that of the last epoch has been written.

    When the fit is over the file stays: it then holds the finished fit. In several processes each
    rank has one, and the first writes. As long as a fit writes it, another process cannot: its fit
    is refused.

    Args:
        path: the file, which is replaced each time; its folder must exist.
        every: write after each batch of the fit whose number, from 1, is a multiple; at least 1.
            None: at the ends of epochs alone.

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

    def before_fit(self, learn: "Learner") -> None:
        """See that a checkpoint can be taken, before any work is done.

        Raises:
            CheckpointError: the training batches or the optimizer have no state; what a layer or a
                callback gives as its state cannot be written, or a callback could not take it
                again; there is no such folder; or another process writes the file.
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
        _by_first(learn, partial(self._prepare, learn))

    def rank_settings(self) -> dict[str, str]:
        """What all ranks must have alike: they write together."""
        return {"Checkpoint": "every epoch" if self.every is None else f"every {self.every}"}

    def _prepare(self, learn: "Learner") -> bytes:
        if not self.path.parent.is_dir():
            raise CheckpointError(f"{self.path}: there is no folder {self.path.parent}")
        if self.path.is_dir():
            raise CheckpointError(f"{self.path} is a folder: name a file in it")
        if learn.at_end.enter_context(only_writer(self.path)):
            remove_leftovers(self.path)
        return b""

    def after_batch(self, learn: "Learner") -> None:
        """Write, if it is this batch's turn."""
        if self.every and learn.training and len(learn.recorder.lrs) % self.every == 0:
            save_checkpoint(learn, self.path)

    def after_epoch(self, learn: "Learner") -> None:
        """Write what the next epoch begins with."""
        save_checkpoint(learn, self.path, epoch_done=True)


def begin_fit(learn: "Learner", resume: str | os.PathLike[str] | None) -> None:
    """Note what a fit begins with, and take up a checkpoint; all ranks call this together.

    Args:
        learn: in a fit that has not begun, its optimizer made.
        resume: the checkpoint's file; None begins anew.

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


def _note_start(learn: "Learner", noted: bool = True) -> None:
    learn.fit_start = FitStart.of(learn) if noted else None
    learn.begun = Begun(learn, learn.fit_start) if learn.fit_start else None


def save_checkpoint(
    learn: "Learner", path: str | os.PathLike[str], *, epoch_done: bool = False
) -> None:
    """Write where a fit stands; all ranks call this together, and the first one writes.

    Args:
        learn: in a fit, after a training batch or after an epoch.
        path: the file.
        epoch_done: whether `learn.epoch` is over.

    Raises:
        CheckpointError: the training batches or the optimizer have no state that could be written.
        OSError: the file cannot be written; an older one of that name is untouched.
    """
    _training_loader(learn)
    learn.recorder.read_losses()  # in which all ranks take part
    learn.ranks.share_buffers(learn.model, *learn.loss_modules().values())
    own = random_state(learn.ranks.device)
    random = {name: learn.ranks.stacked(values) for name, values in own.items()}
    if not learn.ranks.is_first:
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


def load_checkpoint(learn: "Learner", path: str | os.PathLike[str]) -> None:
    """Put a learner where the fit of a checkpoint stood; all ranks call this together.

    The first rank reads the file and hands it to the others, so that only it needs the disk. If it
    is of the learner's own newest fit, what that changed is first put back, see `begun`.

    Args:
        learn: in a fit that has not begun, its optimizer made.
        path: the file.

    Raises:
        CheckpointError: the file is missing, damaged or none of these; or it is of another model,
            optimizer, learning rate, momentum, weight decay, precision, loss, schedule, data set,
            augmentation, seed or batch size, of other frozen parameters, or of other callbacks that
            have a state or settings; or it is further than the fit's last epoch. The message names
            the file and both values.
    """
    state = _read(learn, Path(path))
    begun = learn.begun
    if begun and _by_first(learn, lambda: b"own" if begun.is_of(state) else b""):
        begun.put_back(learn)
    _note_start(learn)
    if learn.fit_start:
        learn.fit_start.parts.take_up(state.get("parts", {}))

    def checked() -> bytes:
        _check_fit(learn, state)
        _warn_of_attributes(learn, path, state)
        return b""

    try:
        _check_callbacks(learn)
        _by_first(learn, checked)  # attributes of another rank may say which rank it is
        begin_loaders(learn, state, partial(_load_loader, path))
        take_up(learn, state)
    except CheckpointError as error:
        raise ResumeError(f"{path}: {error}", getattr(error, "has_advice", False)) from None
    except (ValueError, RuntimeError) as error:
        raise ResumeError(f"{path}: {error}") from error
    learn._put_back = _StateAgain(learn, path, state)


def _load_loader(
    path: str | os.PathLike[str], state: Mapping[str, int], loader: DataLoader
) -> None:
    try:
        loader.load_state_dict(state)
    except ValueError as error:
        raise ResumeError(f"{path}: {error}") from error


class _StateAgain:
    """Puts a state back, after callbacks that had already changed it when it was written.

    Before the hooks of an epoch are called, what they may bring in is not there yet. They are
    called again if the epoch was under way, so that all is put back after them. If an epoch begins,
    only what they have brought in takes its state then.
    """

    def __init__(
        self, learn: "Learner", path: str | os.PathLike[str], state: dict[str, Any]
    ) -> None:
        self._learn, self._path, self._state = learn, path, state
        self._later: AbstractSet[str] = PARTS
        self._begun = fit_parts(learn)
        self._known = PARTS - awaited(learn, state).keys()
        # What the hooks of an epoch that begins then change is as it was in the fit that was cut.
        self._begins = state["train"]["samples_seen"] == 0 and state["epoch"] < learn.n_epoch

    def __call__(self, begun: bool) -> bool:
        """Put it back; whether that was all.

        Args:
            begun: whether the hooks before the epoch have been called.
        """
        learn, state = self._learn, self._state
        try:
            missing = awaited(learn, state)
            if not begun:
                put_state(learn, state, PARTS - missing.keys())
                self._later = PARTS if learn.batch else self._missing().keys()
                return False
            found = self._other_parts() or next(iter(self._missing().values()), None)
            if found:
                raise ValueError(f"{found}. {AGAIN}")
            if self._later:
                put_state(learn, state, self._later - missing.keys())
        except (ValueError, RuntimeError) as error:
            raise ResumeError(f"{self._path}: {error}") from error
        return True

    def is_waiting(self) -> bool:
        """Whether the state is of other parts than there are."""
        return bool(self._missing() or self._other_parts())

    def _missing(self) -> dict[str, str]:
        """What of the state has no place, as a sentence each."""
        found = awaited(self._learn, self._state)
        if not self._begins:
            return found
        later = self._later - self._known
        return {part: each for part, each in found.items() if part in later}

    def _other_parts(self) -> str | None:
        """In what the fit has other parts than the one of the checkpoint had, as a sentence."""
        noted = self._state.get("parts")
        if noted is None:
            return None
        there, here = noted["texts"], fit_parts(self._learn)
        left_out = set(noted["left out"])
        if self._begins:
            names = {*here, *self._begun}
            left_out |= {name for name in names if here.get(name) != self._begun.get(name)}
        if self._state.get("torch") != torch.__version__:
            there, here = comparable(there), comparable(here)
        pairs = ({k: v for k, v in each.items() if k not in left_out} for each in (there, here))
        return difference(*pairs)


def _by_first(learn: "Learner", work: Callable[[], bytes]) -> bytes:
    """What `work` gives on the first rank; its refusal is every rank's."""
    try:
        return learn.ranks.done_by_first(work)
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(str(error)) from None


def _read(learn: "Learner", path: Path) -> dict[str, Any]:
    def content() -> bytes:
        if not path.is_file():
            raise ResumeError(f"{path}: there is no such file")
        return path.read_bytes()

    try:
        state = parse(_by_first(learn, content))
    except DocumentError as error:
        raise ResumeError(f"{path}: not a checkpoint: {error}") from error
    if state.get("checkpoint") != FORMAT:
        raise ResumeError(
            f"{path}: a checkpoint of format {state.get('checkpoint')}; "
            f"this version of mnist_sgd reads {FORMAT}"
        )
    return state


def _check_fit(learn: "Learner", state: dict[str, Any]) -> None:
    """Raise ResumeError if a fit cannot resume from a checkpoint."""
    noted, loaders = state.get("data", {}), _loader_states(learn, state)
    if found := other_images(noted, loaders):
        raise ResumeError(found, has_advice=True)
    if found := _other_start(learn, state) or other_augmentation(noted, loaders):
        raise ResumeError(found)


def _warn_of_attributes(
    learn: "Learner", path: str | os.PathLike[str], state: dict[str, Any]
) -> None:
    """Tell in which attributes two fits differ that may have no part in what is computed."""
    here = learn.fit_start or FitStart.of(learn)
    same_torch = state.get("torch") == torch.__version__
    if found := other_attributes(state, same_torch, here, decisive=False):
        warnings.warn(
            f"{path}: {'; '.join(found)}. If that takes part in what is computed, begin the fit "
            "anew, without the checkpoint",
            stacklevel=2,
        )


def _loader_states(
    learn: "Learner", state: dict[str, Any]
) -> list[tuple[DataLoader, dict[str, int]]]:
    """The loaders for training and validation, each with the state that the fit began with."""
    begun = state["start"]["loaders"] if "start" in state else state
    pairs = (("train", learn.dls.train), ("valid", learn.dls.valid))
    return [
        (each, begun[part])
        for part, each in pairs
        if isinstance(each, DataLoader) and part in begun
    ]


def _other_start(learn: "Learner", state: dict[str, Any]) -> str | None:
    if state["epoch"] > learn.n_epoch:
        return f"it has {state['epoch']} finished epochs, this fit is of {learn.n_epoch}"
    here = learn.fit_start or FitStart.of(learn)
    same_torch = state.get("torch") == torch.__version__
    if "start" in state:
        return other_start(learn, state, same_torch, here)
    kinds = [{**each, "weights": ""} for each in (state["fit"], here.identity)]
    return (
        difference(*kinds)
        or other_weights(learn, state["model"])
        or _other_setting(learn, state, same_torch, here.settings)
    )


def _other_setting(
    learn: "Learner", state: dict[str, Any], same_torch: bool, here: dict[str, str]
) -> str | None:
    """The first setting that differs from those in a checkpoint of an earlier version."""
    here = with_loss_buffers(here, learn.loss_func)
    if "settings" in state:
        there = state["settings"]
        both = (there, here) if same_torch else (comparable(there), comparable(here))
        return difference(*map(normalised, both))
    there, here = normalised(settings_of_format_2(state)), normalised(here)
    unknown = callback_settings(cb for cb in learn.active_cbs if not hasattr(cb, "state_dict"))
    for name, value in unknown.items():
        raise ResumeError(
            f"an earlier version wrote it, which did not note the {name}; this fit has {value}: "
            "begin anew, without the checkpoint",
            has_advice=True,
        )
    return difference(there, {name: value for name, value in here.items() if name in there})


def _check_callbacks(learn: "Learner") -> None:
    for name, cb in stateful_callbacks(learn.active_cbs).items():
        if not hasattr(cb, "load_state_dict"):
            raise CheckpointError(
                "a checkpoint needs callbacks that have a state_dict() to have a "
                f"load_state_dict(), too; {name} has none"
            )


def _training_loader(learn: "Learner") -> DataLoader:
    if not isinstance(learn.dls.train, DataLoader):
        raise CheckpointError(
            "a checkpoint needs to know where the batches stand: those for training come from a "
            f"{type(learn.dls.train).__name__}, and only a mnist_sgd.DataLoader tells"
        )
    return learn.dls.train


def _optimizer_state(learn: "Learner") -> dict[str, Any]:
    if not hasattr(learn.opt, "state_dict"):
        raise CheckpointError(
            "a checkpoint needs an optimizer with state_dict() and load_state_dict(); "
            f"{type(learn.opt).__name__} has none"
        )
    state: dict[str, Any] = learn.opt.state_dict()
    return state
