"""Learning rates and momenta that change from batch to batch.

A schedule is a pure function of the progress through a fit, from 0 to 1: it has no state, so that a
fit which goes on from a checkpoint, in whatever number of processes, has the rates of the
undisturbed one.

    learn.fit_one_cycle(5, lr_max=0.1)
    learn.fit(5, lr=0.1, schedule=lambda progress: (0.1 * (1 - progress), None))
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import cos, inf, pi
from types import CellType, FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_sgd.loader.data_loaders import check_length
from mnist_sgd.training.callbacks.base import Callback

if TYPE_CHECKING:
    from mnist_sgd.training.interface import Learner

__all__ = [
    "OneCycle",
    "Schedule",
    "Scheduler",
    "copy_of_schedule",
    "rates_at",
    "schedule_name",
]

Schedule = Callable[[float], tuple[float, float | None]]
"""Maps training progress in [0, 1) to (lr, momentum); momentum None means unchanged."""


@dataclass(frozen=True)
class OneCycle:
    """Smith's one cycle as fastai has it: the rate rises, then falls; the momentum the reverse.

    Both move along half a cosine, over the first `pct_start` of the fit and over the rest. Source:
    Smith, "A disciplined approach to neural network hyper-parameters: Part 1", 2018, and fastai
    2.8.12's `fit_one_cycle`, whose figures these are to the last bit: where it rounds the progress
    to float32, so does this.

    Args:
        lr_max: the highest learning rate, above 0.
        div: `lr_max` / `div` is the first rate; above 0.
        div_final: `lr_max` / `div_final` is what the rate falls to; above 0.
        pct_start: the part of the fit in which the rate rises, above 0 and below 1.
        moms: the first momentum, the one at `lr_max`, and the last; each above 0 and below 1.

    Raises:
        ValueError: a number is out of its range; the message names it.
    """

    lr_max: float
    div: float = 25.0
    div_final: float = 1e5
    pct_start: float = 0.25
    moms: tuple[float, float, float] = (0.95, 0.85, 0.95)

    def __post_init__(self) -> None:
        for name in ("lr_max", "div", "div_final"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if not 0 < self.pct_start < 1:
            raise ValueError(f"pct_start must be above 0 and below 1, got {self.pct_start}")
        if len(self.moms) != 3 or not all(0 < mom < 1 for mom in self.moms):
            raise ValueError(f"moms must be three numbers above 0 and below 1, got {self.moms}")

    def __call__(self, progress: float) -> tuple[float, float]:
        """The learning rate and the momentum at a progress from 0 to 1."""
        top = np.float32(self.pct_start)
        end = top + np.float32(1 - self.pct_start)
        here = np.float32(progress)
        low, high = self.lr_max / self.div, self.lr_max / self.div_final
        if here < top:
            part = float(here / top)
            return _eased(low, self.lr_max, part), _eased(self.moms[0], self.moms[1], part)
        part = float((here - top) / (end - top))
        return _eased(self.lr_max, high, part), _eased(self.moms[1], self.moms[2], part)


def _eased(start: float, end: float, part: float) -> float:
    """From start to end along half a cosine."""
    return start + (1 + cos(pi * (1 - part))) * (end - start) / 2


def schedule_name(schedule: Schedule | None, n_epoch: int) -> str:
    """What tells the rates of one fit from another's: those of a flat one need no length."""
    if schedule is None:
        return "flat"
    return f"{_name(schedule)} over {n_epoch} epochs"


def _name(schedule: Schedule) -> str:
    return getattr(schedule, "__qualname__", None) or repr(schedule)


class Scheduler(Callback):
    """Sets the learning rate and the momentum before each step, see `Learner.set_lr`."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def before_train(self, learn: Learner) -> None:
        """See that the share of the fit that is done can be told.

        Raises:
            TypeError: it cannot.
        """
        check_length(learn.dls.train, "a schedule")

    def before_step(self, learn: Learner) -> None:
        """Set them for the current batch.

        Raises:
            TypeError, ValueError: as in `rates_at`.
        """
        learn.set_lr(*rates_at(self.schedule, learn.pct_train))


def rates_at(schedule: Schedule, progress: float) -> tuple[float, float | None]:
    """The learning rate and the momentum that a schedule gives.

    Args:
        schedule: any.
        progress: in [0, 1).

    Raises:
        TypeError: the schedule gives something else than a rate and a momentum.
        ValueError: they are out of their ranges.
    """
    given = schedule(progress)
    try:
        rate, mom = given
        lr, mom = float(rate), None if mom is None else float(mom)
    except (TypeError, ValueError) as error:
        raise TypeError(
            "a schedule must give a learning rate and a momentum, None for a momentum that "
            f"stays, as in (0.1, None); {_name(schedule)} at the progress {progress:.3g} "
            f"gives {given!r}"
        ) from error
    if not 0 <= lr < inf or (mom is not None and not 0 <= mom < 1):
        raise ValueError(
            "a schedule must give a finite learning rate, 0 or more, and a momentum in [0, 1); "
            f"{_name(schedule)} at the progress {progress:.3g} gives {given!r}"
        )
    return lr, mom


def copy_of_schedule(schedule: Schedule, shared: Iterable[object]) -> Schedule | None:
    """A schedule that can be asked without changing what the other will give; None if none can.

    Args:
        schedule: any: a function may count in the variables of the functions around it.
        shared: what a copy may have in common with it, as it is large.
    """
    known: dict[int, Any] = {id(each): each for each in shared}
    try:
        if not isinstance(schedule, FunctionType):
            return copy.deepcopy(schedule, known)
        cells = [_copied_cell(cell, known) for cell in schedule.__closure__ or ()]
    except Exception:  # whatever the copying of a custom object raises
        return None
    copied = FunctionType(
        schedule.__code__,
        schedule.__globals__,
        schedule.__name__,
        schedule.__defaults__,
        tuple(cells),
    )
    copied.__kwdefaults__ = schedule.__kwdefaults__
    copied.__qualname__ = schedule.__qualname__
    return copied


def _copied_cell(cell: CellType, known: dict[int, Any]) -> CellType:
    try:
        return CellType(copy.deepcopy(cell.cell_contents, known))
    except ValueError:  # not set yet
        return CellType()
