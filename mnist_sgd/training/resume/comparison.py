"""Compare a checkpoint with a fit that is about to start: why it cannot be resumed.

Each function returns the first difference as a sentence, or None.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from math import isclose
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from mnist_sgd.data.imageset import ImageSet
from mnist_sgd.loader.dataloader import DataLoader, DataLoaders
from mnist_sgd.models.builtin import built_in_name
from mnist_sgd.models.weights import shapes
from mnist_sgd.models.wrappers import plain_state
from mnist_sgd.training.resume.errors import ResumeError
from mnist_sgd.training.resume.fit_identity import (
    DTYPE,
    LAYERS,
    LOSS,
    MOMENTUM,
    NONE,
    OF_OPTIMIZER,
    callback_settings,
    dtypes,
    fit_model_name,
    optimizer_settings,
)
from mnist_sgd.training.resume.fit_start import POINTS, FitStart

State = Mapping[str, Any]

FOREACH = f"foreach {OF_OPTIMIZER}"
SWITCHES = (
    FOREACH,
    *(f"{name} {OF_OPTIMIZER}" for name in ("fused", "capturable", "differentiable", "maximize")),
)
"""Settings of torch's optimizers that another version or optimizer may lack."""

OFF = ("None", "False")

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.])")
FRACTION = re.compile(r"[.e]")
ROUNDING = 1e-6
"""The relative difference allowed for a number that was rounded to float32."""

PARTS = ("training", "validation")


def other_fit(learn: Any, state: State, here: FitStart) -> str | None:
    """Say why a learner's fit cannot resume from a checkpoint.

    Args:
        learn: its fit is about to start.
        state: of the checkpoint.
        here: the start of the learner's fit.

    Raises:
        ResumeError: with advice, if that depends on the reason.
    """
    _check_images(learn, state)
    return _other_start(learn, state, here) or _other_augmentation(learn, state)


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """Name the first entry in which a checkpoint and a fit differ, with both values."""
    for name in dict.fromkeys([*here, *there]):
        before, now = there.get(name, NONE), here.get(name, NONE)
        if name == LAYERS:
            before, now = _first_different_line(before, now)
        if not _equal(before, now):
            return f"other {name}: the checkpoint has {before}, this fit has {now}"
    return None


def comparable(settings: Mapping[str, str], same_torch: bool = True) -> dict[str, str]:
    """Leave out settings that need not be equal.

    These are optimizer settings that are off or only change how it is computed; and between two
    versions of torch, those whose text depends on the version.
    """
    return {
        name: value
        for name, value in settings.items()
        if not (name in SWITCHES and (value in OFF or name == FOREACH))
        if same_torch or not (name in (LAYERS, LOSS) or name.endswith(OF_OPTIMIZER))
    }


def is_of_this_torch(state: State) -> bool:
    """Whether the same version of torch wrote a checkpoint."""
    return state.get("torch") == torch.__version__


def _equal(there: object, here: object) -> bool:
    """Whether two settings are equal up to the rounding of numbers to float32."""
    if there == here:
        return True
    one, other = str(there), str(here)
    if "digest" in one:
        return False
    if NUMBER.sub("", one) != NUMBER.sub("", other):
        return False
    pairs = zip(NUMBER.findall(one), NUMBER.findall(other), strict=True)
    return all(
        a == b or (bool(FRACTION.search(a + b)) and isclose(float(a), float(b), rel_tol=ROUNDING))
        for a, b in pairs
    )


def _first_different_line(there: str, here: str) -> tuple[str, str]:
    """Return the first line in which two models differ; a lazy layer equals what it becomes."""
    pairs = zip_longest(there.splitlines(), here.splitlines(), fillvalue=NONE)
    lazy = re.compile(r"^\s*(\(\w+\): )?Lazy[A-Z]")
    others = (pair for pair in pairs if pair[0] != pair[1] and not any(map(lazy.match, pair)))
    before, now = next(others, ("", ""))
    return before.strip(), now.strip()


# The data.


def described_data(dls: DataLoaders) -> dict[str, dict[str, Any]]:
    """Describe the data of the loaders in words: their states hold only fingerprints.

    Returns:
        For training and validation the number of images and the augmentation; of an `ImageSet` its
        name and its classes, too. Nothing for the batches of other packages.
    """
    loaders = zip(PARTS, (dls.train, dls.valid), strict=True)
    return {part: _described(each) for part, each in loaders if isinstance(each, DataLoader)}


def _described(loader: DataLoader) -> dict[str, Any]:
    data = loader.dataset
    described = {"images": len(data), "augmentation": str(loader.augment or NONE)}
    if isinstance(data, ImageSet):
        described |= {"name": data.name, "classes": list(data.classes)}
    return described


def _different_loaders(learn: Any, state: State, key: str) -> list[tuple[str, DataLoader]]:
    """Return the loaders whose state at the start of the fit had another value under `key`."""
    start = state["start"]["loaders"] if "start" in state else state
    loaders = [
        (each, start[part])
        for part, each in (("train", learn.dls.train), ("valid", learn.dls.valid))
        if isinstance(each, DataLoader) and part in start
    ]
    return [
        (part, loader)
        for part, (loader, there) in zip(PARTS, loaders, strict=False)
        if there.get(key) not in (None, loader.state_dict()[key])
    ]


def _check_images(learn: Any, state: State) -> None:
    noted = state.get("data", {})
    for part, loader in _different_loaders(learn, state, "dataset"):
        own = _data_text(_described(loader))
        given = _data_text(noted[part]) if part in noted else "others"
        if given == own:
            given = "others of the same name and number"
        raise ResumeError(
            f"the state is of another dataset: for {part} the checkpoint has {given}, this fit has "
            f"{own}; resume with the data of the checkpoint, or begin anew without it",
            has_advice=True,
        )


def _other_augmentation(learn: Any, state: State) -> str | None:
    noted = state.get("data", {})
    for part, loader in _different_loaders(learn, state, "augmentation"):
        given = noted[part]["augmentation"] if part in noted else "another one"
        own = _described(loader)["augmentation"]
        return (
            f"the state is of another augmentation: the checkpoint has {given}, this fit has {own}"
        )
    return None


def _data_text(described: Mapping[str, Any]) -> str:
    if "name" not in described:
        return f"{described['images']:,} items"
    classes = " and ".join(described["classes"])
    return f"{described['images']:,} images of {classes} ({described['name']!r})"


# What the fit started with.


def _other_start(learn: Any, state: State, here: FitStart) -> str | None:
    if state["epoch"] > learn.n_epoch:
        return f"it has {state['epoch']} finished epochs, this fit is of {learn.n_epoch}"
    there = state["fit"]
    if there["model"] == built_in_name(learn.model):
        # Earlier versions named a factory's model after the built-in one with the same layers.
        there = {**there, "model": fit_model_name(learn.model)}
    found = difference({**there, "weights": ""}, {**here.identity, "weights": ""})
    if not found and there["weights"] != here.identity["weights"]:
        found = other_weights(learn, state["model"])
    if found or "start" not in state:
        return found or _other_setting_of_earlier_version(learn, state, here.settings)
    settings = (state["settings"], here.settings)
    return (
        difference(*(comparable(each, is_of_this_torch(state)) for each in settings))
        or _other_facts(state["start"], here.facts)
        or next(iter(other_attributes(state, here, decisive=True)), None)
    )


def _other_setting_of_earlier_version(
    learn: Any, state: State, settings: Mapping[str, str]
) -> str | None:
    """Compare the settings of a checkpoint whose version did not note what a fit starts with."""
    loss = learn.loss_func
    buffers = loss.state_dict() if isinstance(loss, nn.Module) else {}
    if buffers:
        values = {name: t.tolist() for name, t in buffers.items()}
        settings = {**settings, LOSS: f"{settings[LOSS]} {values}"}
    if "settings" in state:
        both = (state["settings"], settings)
        return difference(*(comparable(each, is_of_this_torch(state)) for each in both))
    unknown = callback_settings(cb for cb in learn.active_cbs if not hasattr(cb, "state_dict"))
    for name, value in unknown.items():
        raise ResumeError(
            f"an earlier version wrote it, which did not note the {name}; this fit has {value}: "
            "begin anew, without the checkpoint",
            has_advice=True,
        )
    # Even earlier ones noted no settings at all; the state shows some.
    there = optimizer_settings(state["optimizer"]["param_groups"])
    if state["fit"]["schedule"] != "flat":
        del there[MOMENTUM]  # the schedule has changed it
    there = comparable(there | {DTYPE: dtypes(state["model"])})
    here = comparable(settings)
    return difference(there, {name: value for name, value in here.items() if name in there})


def other_weights(learn: Any, weights: State) -> str | None:
    """Say how the names and shapes of a checkpoint's weights differ from a learner's model.

    The weights of a lazy layer that had no batch have no shape, and take any.
    """
    own = plain_state(learn.model)
    here = {name: weights.get(name, t) if is_lazy(t) else t for name, t in own.items()}
    return difference({"weights": shapes(weights)}, {"weights": shapes(here)})


def _other_facts(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    texts = {"trained": "requires_grad of {}", "places": "place of {} in the optimizer"}
    for kind, name in texts.items():
        before, now = (
            {name.format(key): value for key, value in each[kind].items()} for each in (there, here)
        )
        if found := difference(before, now):
            return found
    return _other_rates(there["rates"], here["rates"]) or _other_columns(
        there["columns"], here["columns"]
    )


def _other_rates(there: Sequence[Any], here: Sequence[Any]) -> str | None:
    for i, (before, now) in enumerate(zip(there, here, strict=False)):
        for name, a, b in zip(("learning rate", "momentum"), before, now, strict=True):
            if a != b and (a is None or b is None or not isclose(a, b, rel_tol=1e-6)):
                where = f"{name} of the schedule after {i}/{POINTS} of the fit"
                return difference({where: a}, {where: b})
    return None


def _other_columns(there: list[str], here: list[str]) -> str | None:
    if there == here:
        return None
    return f"the state has the columns {', '.join(there)}; this recorder has {', '.join(here)}"


def other_attributes(state: State, here: FitStart, *, decisive: bool) -> list[str]:
    """List the attributes in which a checkpoint and a fit differ, each as a sentence.

    Those that the checkpoint's fit itself changed, and those of lazy layers, do not count.

    Args:
        state: of a checkpoint.
        here: the start of a fit.
        decisive: whether to list those that certainly decide what is computed, or the others.
    """
    if "start" not in state:
        return []
    found = []
    there, own = state["start"], here.facts
    same_torch = is_of_this_torch(state)
    lazy = {*there["lazy"], *own["lazy"]}
    for part, before in there["attributes"].items():
        now = own["attributes"][part]
        decides = {*own["decisive"][part], *there.get("decisive", {}).get(part, ())}
        for name in dict.fromkeys([*now, *before]):
            known = same_torch or (name in now and name in before)
            is_of_lazy_layer = part == "model" and name.rpartition(".")[0] in lazy
            if name in state["changed"][part] or not known or is_of_lazy_layer:
                continue
            if (name in decides) == decisive:
                title = f"{name} of the {part}"
                values = ({title: each.get(name, NONE)} for each in (before, now))
                found.append(difference(*values))
    return [each for each in found if each]
