"""Restore a learner: to the state of a checkpoint, or to what it was before a refused fit.

The hooks that precede a fit and its epochs are called again when a fit resumes. What they change a
second time is then put back to the checkpoint's state, which has their first changes already.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Set as AbstractSet
from contextlib import contextmanager, suppress
from typing import Any

import torch

from mnist_sgd.training.callbacks.base import CancelEpoch, CancelFit, CancelTrain
from mnist_sgd.training.interface import Learner
from mnist_sgd.training.resume.checkpoint_file import CheckpointError
from mnist_sgd.training.resume.fit_identity import comparable, difference
from mnist_sgd.training.resume.fit_parts import fit_parts
from mnist_sgd.training.resume.fit_state import PARTS, awaited, put_state

AGAIN = (
    "A callback changed that during the fit: let it do so again when it is called in a resumed "
    "fit, as in before_fit if learn.epoch >= 1"
)


@contextmanager
def put_back_if_refused(learn: Learner) -> Iterator[None]:
    """Restore `learn._before`, the learner before a resumed fit, after an error at its beginning.

    The first batch of the fit sets it to None.
    """
    try:
        yield
    except BaseException as error:
        if learn._before is not None:
            try:
                learn._before.put_back()
            except Exception as other:
                error.add_note(f"the learner could not be put back as it was: {other}")
        raise
    finally:
        learn._before = None


def settle(learn: Learner, begun: bool) -> None:
    """Put back what hooks changed that a resumed fit calls for the second time.

    Args:
        learn: in a fit.
        begun: whether all of them have been called; those of an epoch that begins may bring in a
            model or parameter groups that the state is of.
    """
    if learn._put_back is not None and learn._put_back(begun):
        learn._put_back = None


def put_back_without_epoch(learn: Learner) -> None:
    """Put back everything where no batch follows.

    If the state is of something that the hooks of an epoch brought in, those of the last one are
    called for it.
    """
    epoch, learn.epoch = learn.epoch, min(learn.epoch, max(learn.n_epoch - 1, 0))
    for event in ("before_epoch", "before_train"):
        if learn._put_back is not None and learn._put_back.is_waiting():
            for handler in learn._handlers.get(event, ()):
                with suppress(CancelTrain, CancelEpoch, CancelFit):
                    handler(learn)
    learn.epoch = epoch
    settle(learn, begun=True)


class StateToPutBack:
    """The state of a checkpoint, which is put back after hooks that change it a second time.

    Before the hooks of an epoch are called, what they may bring in is not there yet. They are
    called again if the epoch was under way, so that all is put back after them. If an epoch begins,
    only what they have brought in takes its state then.
    """

    def __init__(self, learn: Learner, path: str | os.PathLike[str], state: dict[str, Any]) -> None:
        self._learn, self._path, self._state = learn, path, state
        self._later: AbstractSet[str] = PARTS
        self._begun = fit_parts(learn)
        self._known = PARTS - awaited(learn, state).keys()
        # What the hooks of an epoch that begins then change is as it was in the fit that was cut.
        self._begins = state["train"]["samples_seen"] == 0 and state["epoch"] < learn.n_epoch

    def __call__(self, begun: bool) -> bool:
        """Put it back, and return whether that was all.

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
            raise CheckpointError(f"{self._path}: {error}") from error
        return True

    def is_waiting(self) -> bool:
        """Whether callbacks have yet to bring in something that the state is of."""
        return bool(self._missing() or self._other_parts())

    def _missing(self) -> dict[str, str]:
        """Return which parts of the state have no place, each with a sentence."""
        found = awaited(self._learn, self._state)
        if not self._begins:
            return found
        later = self._later - self._known
        return {part: each for part, each in found.items() if part in later}

    def _other_parts(self) -> str | None:
        """Return the first difference between the parts of the two fits, as a sentence."""
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
