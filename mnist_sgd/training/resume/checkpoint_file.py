"""Read a checkpoint, and refuse to resume another fit than it is of."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mnist_sgd._state_file import DocumentError, parse
from mnist_sgd.loader.dataloader import DataLoader
from mnist_sgd.training.distributed import DistributedContext
from mnist_sgd.training.interface import Learner
from mnist_sgd.training.resume.checkpoint_data import other_augmentation, other_images
from mnist_sgd.training.resume.fit_identity import (
    callback_settings,
    comparable,
    difference,
    normalised,
    public_name,
    settings_of_format_2,
    with_loss_buffers,
)
from mnist_sgd.training.resume.fit_start import (
    FitStart,
    other_attributes,
    other_start,
    other_weights,
)

FORMAT = 2


class CheckpointError(ValueError):
    """A checkpoint cannot be written, or this fit cannot resume from a file."""


def read_checkpoint(path: Path, ranks: DistributedContext) -> dict[str, Any]:
    """Read a checkpoint on rank 0, and return its content on every rank.

    Raises:
        CheckpointError: the file is missing, damaged, or of another format.
    """

    def content() -> bytes:
        if not path.is_file():
            raise CheckpointError(f"{path}: there is no such file")
        return path.read_bytes()

    try:
        state = parse(on_main_process(ranks, content))
    except DocumentError as error:
        raise CheckpointError(f"{path}: not a checkpoint: {error}") from error
    if state.get("checkpoint") != FORMAT:
        raise CheckpointError(
            f"{path}: a checkpoint of format {state.get('checkpoint')}; "
            f"this version of mnist_sgd reads {FORMAT}"
        )
    for noted in (state.get("fit", {}), state.get("parts", {}).get("texts", {})):
        if "optimizer" in noted:  # earlier versions noted the module of the class
            noted["optimizer"] = public_name(noted["optimizer"])
    return state


def on_main_process(ranks: DistributedContext, work: Callable[[], bytes]) -> bytes:
    """Call `work` on rank 0 only, and return its result on every rank.

    Raises:
        CheckpointError: on every rank, if the work raised a ValueError or an OSError.
    """
    try:
        return ranks.run_on_main_process(work)
    except ValueError as error:
        raise CheckpointError(str(error)) from None


def other_fit(learn: Learner, state: dict[str, Any]) -> str | None:
    """Return why a fit cannot resume from a checkpoint, as a sentence; None if it can."""
    noted, loaders = state.get("data", {}), _loader_states(learn, state)
    return (
        other_images(noted, loaders)
        or _other_start(learn, state)
        or other_augmentation(noted, loaders)
    )


def warn_of_attributes(learn: Learner, path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Warn of attributes in which two fits differ that may not matter for what is computed."""
    here = learn.fit_start or FitStart.of(learn)
    same_torch = state.get("torch") == torch.__version__
    if found := other_attributes(state, same_torch, here, decisive=False):
        warnings.warn(
            f"{path}: {'; '.join(found)}. If that takes part in what is computed, begin the fit "
            "anew, without the checkpoint",
            stacklevel=2,
        )


def _loader_states(
    learn: Learner, state: dict[str, Any]
) -> list[tuple[DataLoader, dict[str, int]]]:
    """Return the training and validation loaders, each with the state that the fit began with."""
    begun = state["start"]["loaders"] if "start" in state else state
    pairs = (("train", learn.dls.train), ("valid", learn.dls.valid))
    return [
        (each, begun[part])
        for part, each in pairs
        if isinstance(each, DataLoader) and part in begun
    ]


def _other_start(learn: Learner, state: dict[str, Any]) -> str | None:
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
    learn: Learner, state: dict[str, Any], same_torch: bool, here: dict[str, str]
) -> str | None:
    """Return the first setting that differs from those in a checkpoint of an earlier version."""
    here = with_loss_buffers(here, learn.loss_func)
    if "settings" in state:
        there = state["settings"]
        both = (there, here) if same_torch else (comparable(there), comparable(here))
        return difference(*map(normalised, both))
    there, here = normalised(settings_of_format_2(state)), normalised(here)
    unknown = callback_settings(cb for cb in learn.active_cbs if not hasattr(cb, "state_dict"))
    for name, value in unknown.items():
        return (
            f"an earlier version wrote it, which did not note the {name}; this fit has {value}: "
            "begin anew, without the checkpoint"
        )
    return difference(there, {name: value for name, value in here.items() if name in there})
