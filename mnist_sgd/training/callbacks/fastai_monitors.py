"""Two monitors with fastai's names and arguments: `EarlyStoppingCallback`, `SaveModelCallback`."""

from collections.abc import Callable
from typing import Any

from mnist_sgd.training.callbacks.monitors import EarlyStopping, SaveBest, TrackerCallback

Comparison = Callable[[float, float], Any]
"""Tells whether its first argument is better, as `numpy.less` and `numpy.greater` do."""


class EarlyStoppingCallback(EarlyStopping):
    """`EarlyStopping` with fastai's name and arguments.

    Args:
        monitor: the column's name.
        comp: `numpy.less` if lower is better, `numpy.greater` if higher is; None: lower is better
            if `monitor` contains "loss" or "error".
        min_delta: the least improvement that counts, 0 or more.
        patience: epochs without improvement, after which the fit stops; at least 1.
        reset_on_fit: only True: each fit starts anew.

    Raises:
        ValueError: a number is out of its range, or `reset_on_fit` is False.
    """

    def __init__(
        self,
        monitor: str = "valid_loss",
        comp: Comparison | None = None,
        min_delta: float = 0.0,
        patience: int = 1,
        reset_on_fit: bool = True,
    ) -> None:
        super().__init__(patience, monitor, min_delta)
        _set_comparison(self, comp, reset_on_fit)


class SaveModelCallback(SaveBest):
    """`SaveBest` with fastai's name and arguments: saves the best weights, and restores them.

    Args:
        monitor: the column's name.
        comp: `numpy.less` if lower is better, `numpy.greater` if higher is; None: lower is better
            if `monitor` contains "loss" or "error".
        min_delta: the least improvement that counts, 0 or more.
        fname: path of the file, to which ".safetensors" is appended; `learn.load` takes it with the
            suffix.
        every_epoch: only False: a `Checkpoint` saves every epoch.
        at_end: only False: `learn.save` saves the last weights.
        with_opt: only False: a `Checkpoint` keeps the optimizer's state.
        reset_on_fit: only True: each fit starts anew.

    Raises:
        ValueError: a number is out of its range, or another argument has another value than those
            above.
    """

    def __init__(
        self,
        monitor: str = "valid_loss",
        comp: Comparison | None = None,
        min_delta: float = 0.0,
        fname: str = "model",
        every_epoch: bool = False,
        at_end: bool = False,
        with_opt: bool = False,
        reset_on_fit: bool = True,
    ) -> None:
        super().__init__(f"{fname}.safetensors", monitor, min_delta)
        _set_comparison(self, comp, reset_on_fit)
        if every_epoch:
            raise ValueError("every_epoch must be False: the callback Checkpoint saves every epoch")
        if at_end:
            raise ValueError("at_end must be False: learn.save(path) saves the last weights")
        if with_opt:
            raise ValueError(
                "with_opt must be False: the callback Checkpoint keeps the optimizer's state"
            )

    def fit_settings(self) -> dict[str, str]:
        """Return what a fit that resumes must have in common, with the comparison."""
        better = "lower" if self.sign < 0 else "higher"
        watched = f"monitor {self.monitor}, min_delta {self.min_delta}, {better} is better"
        return {"SaveModelCallback": watched}


def _set_comparison(callback: TrackerCallback, comp: Comparison | None, reset_on_fit: bool) -> None:
    if comp is not None:
        callback.sign = -1.0 if comp(0.0, 1.0) else 1.0
    if not reset_on_fit:
        raise ValueError("reset_on_fit must be True: the rows of one fit are compared")
