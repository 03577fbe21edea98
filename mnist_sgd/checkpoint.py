"""Checkpoints: a fit that was cut off anywhere goes on as if nothing had happened.

    learn.fit(10, lr=1.0, cbs=Checkpoint("checkpoint.safetensors", every=50))
    learn.fit(10, lr=1.0, cbs=Checkpoint(...), resume="checkpoint.safetensors")  # a new process

A checkpoint is one file, old or new but never a part of one, and reading it runs no code. It holds
the weights and buffers, the optimizer's settings and averages, where the loaders stand, what the
recorder recorded, and the state of torch's random numbers on each rank. In one process the resumed
fit leaves the same weights and figures to the last bit. Another number of ranks may resume it too,
with the same batches and the rounding of another order of sums.

Of callbacks it holds what those with a `state_dict()` and a `load_state_dict()` give. It does not
hold the random numbers of Python and NumPy. The hooks `before_fit`, `before_epoch` and
`before_train` are called again for the epoch in which the fit resumes.

A fit whose settings would compute something else is refused, see `fit_identity`. A callback that
changes what is computed can take part in this: its method `fit_settings()` gives its settings, a
text by a name each, which an error repeats.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mnist_sgd._document import DocumentError, dump, parse
from mnist_sgd._files import atomic_write, remove_leftovers
from mnist_sgd.callbacks import Callback
from mnist_sgd.checkpoint_data import described_data, other_augmentation, other_images
from mnist_sgd.fit_identity import (
    callback_settings,
    comparable,
    difference,
    fit_identity,
    fit_settings,
    settings_of_format_2,
    stateful_callbacks,
)
from mnist_sgd.loader import DataLoader
from mnist_sgd.state_entries import check_extra
from mnist_sgd.wrappers import load_plain_state, plain_state

if TYPE_CHECKING:
    from mnist_sgd.learner import Learner

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "load_checkpoint",
    "random_state",
    "save_checkpoint",
    "set_random_state",
]

FORMAT = 2


class CheckpointError(ValueError):
    """A checkpoint cannot be taken, or a file is not one that this fit can go on from."""


class Checkpoint(Callback):
    """Writes a checkpoint at the end of each epoch, and after every so many batches.

    Put it last among the callbacks, so that it sees what the others changed. When the fit is over
    the file stays: it then holds the finished fit. In several processes each rank has one, and the
    first writes.

    Args:
        path: the file, which is replaced each time; its folder must exist.
        every: write after each batch of the fit whose number, from 1, is a multiple; at least 1.
            None: at the ends of epochs alone.

    Raises:
        ValueError: `every` is below 1.
    """

    during_lr_find = False

    def __init__(self, path: str | os.PathLike[str], every: int | None = None) -> None:
        if every is not None and every < 1:
            raise ValueError(f"every must be at least 1 batch, got {every}")
        self.path = Path(path)
        self.every = every

    def before_fit(self, learn: "Learner") -> None:
        """See that a checkpoint can be taken, before any work is done.

        Raises:
            CheckpointError: the training batches or the optimizer have no state, a layer's extra
                state cannot be written, or there is no such folder.
        """
        _training_loader(learn)
        _optimizer_state(learn)
        try:
            check_extra(plain_state(learn.model))
        except ValueError as error:
            raise CheckpointError(f"{self.path} cannot be written: {error}") from error
        _by_first(learn, self._prepare)

    def _prepare(self) -> bytes:
        if not self.path.parent.is_dir():
            raise CheckpointError(f"{self.path}: there is no folder {self.path.parent}")
        remove_leftovers(self.path)
        return b""

    def after_batch(self, learn: "Learner") -> None:
        """Write, if it is this batch's turn."""
        if self.every and learn.training and len(learn.recorder.lrs) % self.every == 0:
            save_checkpoint(learn, self.path)

    def after_epoch(self, learn: "Learner") -> None:
        """Write what the next epoch begins with."""
        save_checkpoint(learn, self.path, epoch_done=True)


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
    train = _training_loader(learn).state_dict()
    learn.recorder.read_losses()  # in which all ranks take part
    learn.ranks.share_buffers(learn.model)
    own = random_state(learn.ranks.device)
    random = {name: learn.ranks.stacked(values) for name, values in own.items()}
    if not learn.ranks.is_first:
        return
    state = {
        "checkpoint": FORMAT,
        "fit": fit_identity(learn),
        "epoch": learn.epoch + epoch_done,
        "train": _next_epoch(train) if epoch_done else train,
        "data": described_data(learn.dls),
        "recorder": _as_tensors(learn.recorder.state_dict()),
        "model": plain_state(learn.model),
        **_gradients(learn),
        "optimizer": _optimizer_state(learn),
        "callbacks": {
            name: cb.state_dict() for name, cb in stateful_callbacks(learn.active_cbs).items()
        },
        "settings": fit_settings(learn),
        "torch": torch.__version__,
        "random": own,
        "random of ranks": random,
    }
    if isinstance(learn.dls.valid, DataLoader):
        state["valid"] = _next_epoch(learn.dls.valid.state_dict())
    try:
        content = dump(state)
    except DocumentError as error:
        raise CheckpointError(f"{path} cannot be written: {error}") from error
    atomic_write(path, content)


def load_checkpoint(learn: "Learner", path: str | os.PathLike[str]) -> None:
    """Put a learner where the fit of a checkpoint stood; all ranks call this together.

    The first rank reads the file and hands it to the others, so that only it needs the disk.

    Args:
        learn: in a fit that has not begun, its optimizer made.
        path: the file.

    Raises:
        CheckpointError: the file is missing, damaged or none of these; or it is of another model,
            optimizer, learning rate, momentum, weight decay, precision, loss, schedule, data set,
            augmentation, seed or batch size, or of other callbacks that have a state or settings;
            or it is further than the fit's last epoch. The message names the file and both values.
            The weights are then as they were.
    """
    state = _read(learn, Path(path))
    try:
        _check(learn, state)
        _load_loaders(learn, state)
        learn.recorder.load_state_dict(_as_lists(state["recorder"]))
        for name, cb in stateful_callbacks(learn.active_cbs).items():
            cb.load_state_dict(state["callbacks"][name])
        learn.opt.load_state_dict(state["optimizer"])
        load_plain_state(learn.model, state["model"])
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    for name, gradient in state.get("gradients", {}).items():
        p = learn.model.get_parameter(name)
        p.grad = gradient.to(p, copy=True)
    learn.epoch = state["epoch"]
    learn.batch = -(-state["train"]["samples_seen"] // _training_loader(learn).batch_size)
    set_random_state(learn.ranks.device, _own_random_state(learn.ranks.rank, state))


def _by_first(learn: "Learner", work: Callable[[], bytes]) -> bytes:
    """What `work` gives on the first rank; its refusal is every rank's."""
    try:
        return learn.ranks.done_by_first(work)
    except ValueError as error:
        raise CheckpointError(str(error)) from None


def _gradients(learn: "Learner") -> dict[str, dict[str, torch.Tensor]]:
    """What cancelled batches have accumulated for the next step; usually nothing."""
    found = {name: p.grad for name, p in learn.model.named_parameters() if p.grad is not None}
    return {"gradients": found} if found else {}


def _load_loaders(learn: "Learner", state: dict[str, Any]) -> None:
    """Put both loaders where they stood, or neither of them."""
    states = _loader_states(learn, state)
    for loader, each in states:
        with loader.undisturbed():  # refuses what is not of this loader
            loader.load_state_dict(each)
    for loader, each in states:
        loader.load_state_dict(each)


def _loader_states(
    learn: "Learner", state: dict[str, Any]
) -> list[tuple[DataLoader, dict[str, int]]]:
    """The loaders that tell where they stand, each with its state."""
    states = [(_training_loader(learn), state["train"])]
    if isinstance(learn.dls.valid, DataLoader) and "valid" in state:
        states.append((learn.dls.valid, state["valid"]))
    return states


def _read(learn: "Learner", path: Path) -> dict[str, Any]:
    def content() -> bytes:
        if not path.is_file():
            raise CheckpointError(f"{path}: there is no such file")
        return path.read_bytes()

    try:
        state = parse(_by_first(learn, content))
    except DocumentError as error:
        raise CheckpointError(f"{path}: not a checkpoint: {error}") from error
    if state.get("checkpoint") != FORMAT:
        raise CheckpointError(
            f"{path}: a checkpoint of format {state.get('checkpoint')}; "
            f"this version of mnist_sgd reads {FORMAT}"
        )
    return state


def _check(learn: "Learner", state: dict[str, Any]) -> None:
    found = (
        other_images(state.get("data", {}), _loader_states(learn, state))
        or difference(state["fit"], fit_identity(learn))
        or _other_setting(learn, state)
        or other_augmentation(state.get("data", {}), _loader_states(learn, state))
    )
    if found:
        raise CheckpointError(found)
    if state["epoch"] > learn.n_epoch:
        raise CheckpointError(
            f"it has {state['epoch']} finished epochs, this fit is of {learn.n_epoch}"
        )


def _other_setting(learn: "Learner", state: dict[str, Any]) -> str | None:
    here = fit_settings(learn)
    if "settings" in state:
        there = state["settings"]
        if state["torch"] != torch.__version__:
            there, here = comparable(there), comparable(here)
        return difference(there, here)
    there = settings_of_format_2(state)
    unknown = callback_settings(cb for cb in learn.active_cbs if not hasattr(cb, "state_dict"))
    for name, value in unknown.items():
        return (
            f"an earlier version wrote it, which did not note the {name}; this fit has {value}: "
            "begin anew, without the checkpoint"
        )
    return difference(there, {name: value for name, value in here.items() if name in there})


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


def _as_tensors(recorder: dict[str, Any]) -> dict[str, Any]:
    """A recorder's state with its long lists as tensors, a twentieth of the time in JSON."""
    numbers = {
        name: torch.tensor(recorder[name], dtype=torch.float64)
        for name in ("losses", "lrs", "moms")
    }
    return recorder | numbers


def _as_lists(recorder: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, torch.Tensor) else value
        for name, value in recorder.items()
    }


def _next_epoch(loader_state: dict[str, int]) -> dict[str, int]:
    """The state from which the next epoch begins, also if the last one was left in the middle."""
    if loader_state["samples_seen"] == 0:
        return loader_state
    return loader_state | {"epoch": loader_state["epoch"] + 1, "samples_seen": 0}


def _own_random_state(rank: int, state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """A rank's part of the random numbers; nothing for one that was not there.

    It is a copy: torch reads a state from the beginning of its storage, whatever its offset.
    """
    rows = state.get("random of ranks") or {name: t[None] for name, t in state["random"].items()}
    return {name: each[rank].clone() for name, each in rows.items() if rank < len(each)}


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of torch's generators that a model on a device draws from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state(*_which(device))
    return state


def _which(device: torch.device) -> tuple[torch.device, ...]:
    """What a device's generator is asked for by: there is one alone on Apple's GPUs."""
    return () if device.type == "mps" else (device,)


def set_random_state(device: torch.device, state: dict[str, torch.Tensor]) -> None:
    """Put the generators back to a state of `random_state`; those that it lacks are left alone."""
    if "cpu" in state:
        torch.set_rng_state(state["cpu"])
    if device.type in state and device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state[device.type], *_which(device))
