"""Learning rate and momentum schedules.

A schedule is a pure function of training progress, without state, so that a resumed fit has the
same rates as an uninterrupted one, in any number of processes.

    learn.fit_one_cycle(5, lr_max=0.1)
    learn.fit(5, lr=0.1, schedule=lambda progress: (0.1 * (1 - progress), None))
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import cos, inf, pi
from types import CellType, FunctionType
from typing import Any

import numpy as np

from mnist_sgd.loader.data_loaders import check_length
from mnist_sgd.training.callbacks.base import Callback

Schedule = Callable[[float], tuple[float, float | None]]
"""Maps training progress in [0, 1) to (lr, momentum); momentum None means unchanged."""


@dataclass(frozen=True)
class OneCycle:
    """fastai's one-cycle schedule: the rate rises, then falls; momentum does the reverse.

    Both are cosine-annealed, over the first `pct_start` of the fit and over the rest. Source:
    Smith, "A disciplined approach to neural network hyper-parameters: Part 1", 2018, and fastai
    2.8.12's `fit_one_cycle`, with the same values to the last bit: like fastai it rounds the
    progress to float32.

    Args:
        lr_max: the highest learning rate, above 0.
        div: the first rate is `lr_max` / `div`; above 0.
        div_final: the last rate is `lr_max` / `div_final`; above 0.
        pct_start: the fraction of the fit in which the rate rises, in (0, 1).
        moms: the first momentum, the one at `lr_max`, and the last; each in (0, 1).

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
        """Return (lr, momentum) at a progress in [0, 1]."""
        top = np.float32(self.pct_start)
        end = top + np.float32(1 - self.pct_start)
        here = np.float32(progress)
        low, high = self.lr_max / self.div, self.lr_max / self.div_final
        if here < top:
            part = float(here / top)
            return _cosine_anneal(low, self.lr_max, part), _cosine_anneal(
                self.moms[0], self.moms[1], part
            )
        part = float((here - top) / (end - top))
        return _cosine_anneal(self.lr_max, high, part), _cosine_anneal(
            self.moms[1], self.moms[2], part
        )


def _cosine_anneal(start: float, end: float, part: float) -> float:
    """Interpolate from start to end along half a cosine."""
    return start + (1 + cos(pi * (1 - part))) * (end - start) / 2


def schedule_name(schedule: Schedule | None, n_epoch: int) -> str:
    """Describe a fit's rates; without a schedule the number of epochs does not matter."""
    if schedule is None:
        return "flat"
    return f"{_name(schedule)} over {n_epoch} epochs"


def _name(schedule: Schedule) -> str:
    return getattr(schedule, "__qualname__", None) or repr(schedule)


class Scheduler(Callback):
    """Sets learning rate and momentum before each step, see `Learner.set_lr`."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def before_train(self, learn: Any) -> None:
        """Check that the training progress is known.

        Raises:
            TypeError: the training batches have no length.
        """
        check_length(learn.dls.train, "a schedule")

    def before_step(self, learn: Any) -> None:
        """Set both for the current batch.

        Raises:
            TypeError, ValueError: as in `rates_at`.
        """
        learn.set_lr(*rates_at(self.schedule, learn.pct_train))


def rates_at(schedule: Schedule, progress: float) -> tuple[float, float | None]:
    """Return a schedule's (lr, momentum).

    Args:
        schedule: any.
        progress: in [0, 1).

    Raises:
        TypeError: the schedule returns something else.
        ValueError: a value is out of its range.
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
    """Copy a schedule, so that calling the copy does not change the original; None if impossible.

    Args:
        schedule: any: a function may count in variables of its enclosing functions.
        shared: large objects that the copy may share with it.
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
