"""Check that all ranks run the same fit; otherwise results would differ, or ranks wait forever.

Before the first batch of a fit the ranks compare their settings: all that decides the arithmetic,
and the callbacks that call collectives or end the fit. Such a callback has a method
`rank_settings()`, which returns a text for each name; any other callback, such as a logger, may be
on one rank only.
"""

import json
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parameter import is_lazy

from mnist_sgd.loader.dataloader import DataLoader
from mnist_sgd.training.callbacks.base import WITHIN_A_BATCH, Callback, defines
from mnist_sgd.training.recorder import unique_names
from mnist_sgd.training.resume.fit_identity import NONE, fit_identity, fit_settings

LONGEST = 200
"""Characters of a setting that an error shows."""

TRAINING, VALIDATION = "training", "validation"

POSITION = ("epoch", "samples_seen")
"""The position in a loader's state; the rest identifies the loader."""

LARGEST = 2**63 - 1
"""What an int64 holds; the number of an epoch may be larger."""


def agree_on_fit(learn: Any, resume: bool, reset_opt: bool) -> None:
    """Check that all ranks begin the same fit; they call this together.

    A process that trains alone is warned if torchrun started others with it.

    Args:
        learn: in a fit that has not begun, its optimizer made.
        resume: whether the fit resumes from a checkpoint.
        reset_opt: whether a new optimizer was requested.

    Raises:
        TypeError: the training batches of several ranks are not from this package's DataLoader.
        ValueError: a rank has another setting than rank 0; a loader is split for other ranks; or
            the model of several ranks has lazy layers without shapes. Every rank raises it, and the
            message says which.
    """
    loaders = {TRAINING: learn.dls.train, VALIDATION: learn.dls.valid}
    refusals = [_refusal(learn, loader, part) for part, loader in loaders.items()]
    refusal = next(filter(None, refusals), "")
    if learn.ranks.world_size == 1:
        if refusal:
            raise ValueError(refusal)
        _warn_of_others()
        return
    settings = {
        "number of epochs": str(learn.n_epoch),
        "resume": "a checkpoint" if resume else NONE,
        "reset_opt": str(reset_opt),
        "metrics": ", ".join(learn.recorder.metric_names[3:-1]) or NONE,
        **{name: str(value) for name, value in fit_identity(learn).items()},
        **fit_settings(learn),
        **_rank_settings(learn.active_cbs),
    }
    for part, loader in loaders.items():
        settings |= _loader_settings(part, loader)
    own = json.dumps({"refusal": refusal, "settings": settings}).encode()
    everyone = [json.loads(each) for each in learn.ranks.all_gather_bytes(own)]
    said = [each["refusal"] for each in everyone if each["refusal"]]
    said = said or _differences([each["settings"] for each in everyone])
    if said:
        raise ValueError(said[0])
    _require_own_loader(learn.dls.train)


def agree_on_batches(learn: Any, batches: object, part: str) -> bool:
    """Check that the ranks' parts make whole batches; all call this together, before each pass.

    If one rank has looked at a batch, its loader is further than the others'. All loaders are moved
    to the position of rank 0's.

    Args:
        learn: whose model is called with the batches.
        batches: this rank's.
        part: "training" or "validation".

    Returns:
        Whether custom code runs within batches on some rank, in a callback or a loader. It may
        change the targets or begin another iterator, so that the ranks must count the targets of
        each batch; and it may run a backward pass, so that they must average the gradients again.

    Raises:
        TypeError, ValueError: as `agree_on_fit`, of the batches and the model.
    """
    refusal = _refusal(learn, batches, part)
    ranks = learn.ranks
    if ranks.world_size == 1:
        if refusal:
            raise ValueError(refusal)
        return False
    own = [int(refusal != ""), int(_is_custom(learn, batches)), _pieces(batches)]
    own += _upcoming(batches)
    rows = ranks.all_gather(torch.tensor(own))
    if rows[:, 0].any():
        raise ValueError(next(filter(None, ranks.all_gather_bytes(refusal.encode()))).decode())
    if (rows[:, 2] != rows[0, 2]).any():
        raise ValueError(
            f"the {part} batches are cut on some ranks and not on others: give the DataLoader of "
            "each rank= and world_size="
        )
    if part == TRAINING:
        _require_own_loader(learn.dls.train)  # `learn.dl` may be a part of it, such as an islice
    first = rows[0, 3:].tolist()
    if isinstance(batches, DataLoader) and first != own[3:]:
        batches.load_state_dict(batches.state_dict() | dict(zip(POSITION, first, strict=True)))
    return bool(rows[:, 1].any())


def refuse_other_part(learn: Any, batches: object) -> None:
    """Check that batches which a rank uses by itself are not another rank's parts.

    Raises:
        ValueError: they are.
    """
    if refusal := _wrong_part(learn, batches, VALIDATION):
        raise ValueError(refusal)


def _refusal(learn: Any, batches: object, part: str) -> str:
    """Return why this rank cannot use the batches; "" if it can."""
    return _wrong_part(learn, batches, part) or _lazy_layer(learn, batches)


def _wrong_part(learn: Any, batches: object, part: str) -> str:
    """Return why batches are not this rank's parts; validation batches may also be whole."""
    if not isinstance(batches, DataLoader):
        return ""
    (rank, world_size), (given, count) = (
        (each.rank, each.world_size) for each in (learn.ranks, batches)
    )
    if (given, count) == (rank, world_size) or (count == 1 and part != TRAINING):
        return ""
    if world_size == 1:
        return (
            f"the {part} batches are rank {given}'s parts of {count}, and this Learner has one "
            "process: give it ranks=, which init_distributed() gives, or make their DataLoader "
            "without rank= and world_size="
        )
    if count == 1:
        return (
            f"the {part} batches are not cut for {world_size} ranks: give their DataLoader rank= "
            "and world_size="
        )
    return (
        f"the {part} batches of rank {rank} of {world_size} are rank {given}'s parts of {count}: "
        "give their DataLoader rank=ranks.rank and world_size=ranks.world_size"
    )


def _lazy_layer(learn: Any, batches: object) -> str:
    """Return why rank 0's weights cannot be broadcast; "" if they can."""
    names = (name for name, module in learn.model.named_modules() if _is_lazy(module))
    name = next(names, None) if learn.ranks.world_size > 1 else None
    if name is None:
        return ""
    shape = (2, *batches.sample_shape) if isinstance(batches, DataLoader) else ()
    batch = f"torch.zeros({', '.join(map(str, shape))})" if shape else "xb"
    return (
        f"the layer {name!r} has no shapes yet, and several processes share the weights before the "
        f"first batch: call the model on a batch before the Learner is made, as model({batch}) does"
    )


def _is_lazy(module: nn.Module) -> bool:
    held = *module.parameters(recurse=False), *module.buffers(recurse=False)
    return any(is_lazy(tensor) for tensor in held)


def _require_own_loader(batches: object) -> None:
    if not isinstance(batches, DataLoader):
        raise TypeError(
            "several processes cut each batch into parts, which a mnist_sgd.DataLoader does; "
            f"the training batches come from a {type(batches).__name__}"
        )


def _is_custom(learn: Any, batches: object) -> bool:
    """Whether code of another package makes the batches or runs within them."""
    known = type(batches) is DataLoader and batches is learn.dls.train
    return not known or any(
        defines(cb, event)
        for cb in learn.active_cbs
        if not type(cb).__module__.startswith("mnist_sgd.")
        for event in WITHIN_A_BATCH
    )


def _pieces(batches: object) -> int:
    """Return the number of parts into which batches are split."""
    return batches.world_size if isinstance(batches, DataLoader) else 1


def _upcoming(batches: object) -> list[int]:
    """Return the position where the next pass begins."""
    if not isinstance(batches, DataLoader):
        return [0, 0]
    return [min(each, LARGEST) for each in batches.upcoming]


def _rank_settings(cbs: Sequence[Callback]) -> dict[str, str]:
    """Return the callbacks' settings that all ranks must have; repeated names are numbered."""
    told = [cb.rank_settings() for cb in cbs if hasattr(cb, "rank_settings")]
    entries = [entry for settings in told for entry in settings.items()]
    names = unique_names([name for name, _ in entries])
    return dict(zip(names, [value for _, value in entries], strict=True))


def _loader_settings(part: str, loader: object) -> dict[str, str]:
    if not isinstance(loader, DataLoader):
        return {}
    settings = {key: value for key, value in loader.state_dict().items() if key not in POSITION}
    settings["world_size"] = loader.world_size
    return {f"{name} of the {part} batches": str(value) for name, value in settings.items()}


def _differences(everyone: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a sentence for each setting in which a rank differs from rank 0."""
    first, said = everyone[0], []
    for rank, settings in enumerate(everyone):
        for name in dict.fromkeys([*first, *settings]):
            ours, theirs = (_plain(each.get(name, NONE)) for each in (first, settings))
            if ours != theirs:
                pairs = zip_longest(ours.splitlines(), theirs.splitlines(), fillvalue=NONE)
                ours, theirs = next(pair for pair in pairs if pair[0] != pair[1])
                said.append(
                    f"all ranks must have the same {name}: rank 0 has {_short(ours)}; rank {rank} "
                    f"has {_short(theirs)}"
                )
    return said


def _plain(text: str) -> str:
    """Remove the number of the rank's GPU from a setting."""
    return re.sub(r"\bcuda:\d+", "cuda", text)


def _short(text: str) -> str:
    text = text.strip() if text.strip(" )") else NONE  # a model's last line closes a bracket
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _warn_of_others() -> None:
    """Warn if this process, which trains alone, was started as one of several."""
    launched = distributed.is_available() and distributed.is_torchelastic_launched()
    count = int(os.environ.get("WORLD_SIZE", "1")) if launched else 1
    if count > 1:
        warnings.warn(
            f"torchrun started {count} processes, and this Learner has no ranks=: each process "
            "trains by itself, on all images; give it ranks=, which init_distributed() gives",
            stacklevel=4,
        )
