"""Checkpoints: a fit that was cut off anywhere goes on as if nothing had happened.

    learn.fit(10, lr=1.0, cbs=Checkpoint("checkpoint.safetensors", every=50))
    learn.fit(10, lr=1.0, cbs=Checkpoint(...), resume="checkpoint.safetensors")  # a new process

A checkpoint is one file, old or new but never a part of one, and reading it runs no code. It holds
the weights and buffers, the optimizer's settings and averages, where the loaders stand, what the
recorder recorded, and the state of torch's random numbers. In one process the fit that goes on
leaves the same weights and figures to the last bit; the file may also be taken on by another number
of ranks, with the same batches and the rounding of another order of sums.

Of callbacks it holds what those with a `state_dict()` and a `load_state_dict()` give. It does not
hold the random numbers of Python and NumPy, and of the ranks' random numbers only the first rank's.
The moments `before_fit`, `before_epoch` and `before_train` come again for the epoch that the fit
goes on in.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mnist_sgd._document import DocumentError, dump, parse
from mnist_sgd._files import atomic_write, remove_leftovers
from mnist_sgd.callbacks import Callback
from mnist_sgd.loader import DataLoader
from mnist_sgd.models import model_name
from mnist_sgd.recorder import metric_name
from mnist_sgd.schedule import schedule_name
from mnist_sgd.state_entries import check_extra
from mnist_sgd.weights import shapes
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
        if learn.ranks.is_first:
            if not self.path.parent.is_dir():
                raise CheckpointError(f"{self.path}: there is no folder {self.path.parent}")
            remove_leftovers(self.path)

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
    if not learn.ranks.is_first:
        return
    state = {
        "checkpoint": FORMAT,
        "fit": _identity(learn),
        "epoch": learn.epoch + epoch_done,
        "train": _next_epoch(train) if epoch_done else train,
        "recorder": _as_tensors(learn.recorder.state_dict()),
        "model": plain_state(learn.model),
        "optimizer": _optimizer_state(learn),
        "callbacks": {name: cb.state_dict() for name, cb in _stateful_callbacks(learn).items()},
        "random": random_state(learn.ranks.device),
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
        CheckpointError: the file is missing, damaged or none of these, or it is of another model,
            optimizer, learning rate, loss, schedule, data set, seed or batch size, of other
            callbacks with a state, or further than the fit's last epoch. The message names the
            file and both values. The weights are then as they were.
    """
    state = _read(learn, Path(path))
    try:
        _check(learn, state)
        learn.recorder.load_state_dict(_as_lists(state["recorder"]))
        _training_loader(learn).load_state_dict(state["train"])
        if isinstance(learn.dls.valid, DataLoader) and "valid" in state:
            learn.dls.valid.load_state_dict(state["valid"])
        for name, cb in _stateful_callbacks(learn).items():
            cb.load_state_dict(state["callbacks"][name])
        learn.opt.load_state_dict(state["optimizer"])
        load_plain_state(learn.model, state["model"])
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    learn.epoch = state["epoch"]
    learn.batch = -(-state["train"]["samples_seen"] // _training_loader(learn).batch_size)
    set_random_state(learn.ranks.device, state["random"])


def _read(learn: "Learner", path: Path) -> dict[str, Any]:
    if learn.ranks.is_first and not path.is_file():
        raise CheckpointError(f"{path}: there is no such file")
    content = learn.ranks.from_first(path.read_bytes() if learn.ranks.is_first else b"")
    try:
        state = parse(content)
    except DocumentError as error:
        raise CheckpointError(f"{path}: not a checkpoint: {error}") from error
    if state.get("checkpoint") != FORMAT:
        raise CheckpointError(
            f"{path}: a checkpoint of format {state.get('checkpoint')}; "
            f"this version of mnist_sgd reads {FORMAT}"
        )
    return state


def _identity(learn: "Learner") -> dict[str, Any]:
    """What a checkpoint must share with the fit that goes on from it, beside the loaders' own."""
    kind = type(learn.opt)
    return {
        "model": model_name(learn.model),
        "weights": shapes(plain_state(learn.model)),
        "optimizer": f"{kind.__module__}.{kind.__qualname__}",
        "learning rate": learn.base_lr,
        "loss": metric_name(learn.loss_func),
        "schedule": schedule_name(learn.schedule, learn.n_epoch),
        "callbacks with a state": ", ".join(_stateful_callbacks(learn)) or "none",
    }


def _check(learn: "Learner", state: dict[str, Any]) -> None:
    for name, here in _identity(learn).items():
        there = state["fit"][name]
        if there != here:
            raise CheckpointError(f"other {name}: the checkpoint has {there}, this fit has {here}")
    if state["epoch"] > learn.n_epoch:
        raise CheckpointError(
            f"it has {state['epoch']} finished epochs, this fit is of {learn.n_epoch}"
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


def _stateful_callbacks(learn: "Learner") -> dict[str, Any]:
    """The fit's callbacks that have a state, by the names of their classes, numbered if need be."""
    named: dict[str, Any] = {}
    for cb in learn.active_cbs:
        if hasattr(cb, "state_dict"):
            name = type(cb).__name__
            named[f"{name} {len(named) + 1}" if name in named else name] = cb
    return named


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of torch's generators that a model on a device draws from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state(device)
    return state


def set_random_state(device: torch.device, state: dict[str, torch.Tensor]) -> None:
    """Put the generators back to a state of `random_state`."""
    torch.set_rng_state(state["cpu"])
    if device.type in state and device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state[device.type], device)
