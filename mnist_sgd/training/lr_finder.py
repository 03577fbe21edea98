"""The learning rate finder: train with exponentially growing rates, and suggest one.

    found = learn.lr_find()
    found.plot()
    learn.fit_one_cycle(5, lr_max=found.valley)

Source: Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, section 3.3, and fastai
2.8.12's `lr_find`, with the same rates, losses and suggestion.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from math import isnan
from typing import TYPE_CHECKING, Any

from torch.nn.parameter import is_lazy

from mnist_sgd._installed import need
from mnist_sgd.loader.data_loaders import check_length
from mnist_sgd.training.batch_errors import check_batches
from mnist_sgd.training.callbacks.base import Callback, CancelFit, CancelValidate, as_callbacks
from mnist_sgd.training.resume.snapshot import Snapshot

if TYPE_CHECKING:
    from matplotlib.axes import Axes


SKIP_END = 5
"""How many of the last batches are left out: there the loss is already rising steeply."""

MIN_ITERATIONS = 20
"""How many batches are needed for a suggestion."""


@dataclass(frozen=True)
class LRFind:
    """Result of the learning rate finder.

    The first tenth of the batches, while the average is still rough, the last 5, and all after a
    loss of nan are left out.

    Attributes:
        lrs: the learning rates, increasing.
        losses: the smoothed training loss at each.
        valley: the suggested learning rate.
    """

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    valley: float

    def __repr__(self) -> str:
        return f"LRFind(valley={self.valley:.3g}, of {len(self.lrs)} rates)"

    def _repr_html_(self) -> str | None:
        """Show the plot, in a notebook; None without matplotlib."""
        if find_spec("matplotlib") is None:
            return None
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5, 3.3), layout="constrained", facecolor="white")
        self.plot(figure.subplots())
        file = BytesIO()
        figure.savefig(file, format="png", dpi=100)
        address = b64encode(file.getvalue()).decode()
        text = f"Loss against learning rate. Suggestion: {self.valley:.3g}"
        image = f'<img src="data:image/png;base64,{address}" alt="{text}">'
        return f"{image}<p>valley: {self.valley:.3g}</p>"

    def plot(self, ax: Axes | None = None) -> Axes:
        """Plot the loss against the learning rate, and mark the suggestion.

        Args:
            ax: matplotlib axes to draw on; None takes the current ones.

        Raises:
            ImportError: matplotlib is missing.
        """
        need("matplotlib", "LRFind.plot")
        from matplotlib import pyplot

        ax = ax or pyplot.gca()
        ax.plot(self.lrs, self.losses)
        there = self.losses[self.lrs.index(self.valley)]
        ax.plot([self.valley], [there], "o", label=f"valley: {self.valley:.2g}")
        ax.set(title="learning rate finder", xlabel="learning rate", ylabel="loss", xscale="log")
        ax.legend()
        return ax


def find_lr(
    learn: Any, start_lr: float, end_lr: float, num_it: int, stop_div: bool = True
) -> LRFind:
    """Run `Learner.lr_find`; all ranks call this together."""
    if not 0 < start_lr < end_lr:
        raise ValueError(f"start_lr must be above 0 and below end_lr, got {start_lr} and {end_lr}")
    if num_it < MIN_ITERATIONS:
        raise ValueError(f"num_it must be at least {MIN_ITERATIONS}, got {num_it}")
    if {"train", "validate"} & set(learn._under_way):
        raise ValueError(
            "lr_find cannot search within a training or a validation, whose batch it would change: "
            "call it before the fit, or in before_fit, before_epoch or after_epoch"
        )
    if any(map(is_lazy, learn.model.parameters())):
        raise ValueError(
            "lr_find puts the weights back, and lazy layers have none yet: call the model on a "
            "batch first, learn.model(first(learn.dls.train)[0])"
        )
    check_batches(learn.dls)
    finder = _Finder(start_lr, end_lr, num_it, stop_div)
    epochs = num_it // check_length(learn.dls.train, "lr_find") + 1
    with _state_preserved(learn), learn.no_logging():
        learn._under_way = []
        learn.cbs = [cb for cb in as_callbacks(learn.cbs) if cb.during_lr_find]
        learn.fit(epochs, start_lr, finder)
        lrs, losses = learn.recorder.lrs, learn.recorder.losses
    seen = len(losses)
    lrs, losses = lrs[num_it // 10 : -SKIP_END], losses[num_it // 10 : -SKIP_END]
    if not losses:
        raise ValueError(
            f"the search ended after {seen} batches, too few to suggest a rate: the loss rose at "
            f"once, or a callback ended it; start below {start_lr:g}"
        )
    usable = next((i for i, loss in enumerate(losses) if isnan(loss)), len(losses))
    if usable == 0:
        raise ValueError(
            f"the loss became nan before a rate could be suggested: start below {start_lr:g}"
        )
    lrs, losses = lrs[:usable], losses[:usable]
    return LRFind(tuple(lrs), tuple(losses), lrs[valley(losses)])


def valley(losses: Sequence[float]) -> int:
    """Return the index half way down the longest valley, as fastai's `valley` does.

    The valley is the longest decreasing subsequence, the first that ends where one of that length
    ends; it is counted backwards from its end, as if it had no gaps. Source: fastai 2.8.12.

    Args:
        losses: at least one.
    """
    lengths: list[int] = []
    for i, loss in enumerate(losses):
        before = [lengths[j] for j in range(i) if losses[j] > loss]
        lengths.append(1 + max(before, default=0))
    longest = max(lengths)
    start = lengths.index(longest) - longest if longest > 1 else 0
    return max(0, start + int(longest / 3) + int(longest / 6))


class _Finder(Callback):
    """Increases the rate with each batch, ends the fit, and skips the validation."""

    order = 60  # after the callbacks that change batches and losses

    def __init__(self, start_lr: float, end_lr: float, num_it: int, stop_div: bool) -> None:
        self.start_lr, self.growth = start_lr, end_lr / start_lr
        self.num_it, self.stop_div = num_it, stop_div
        self.best = float("inf")

    def rank_settings(self) -> dict[str, str]:
        rates = f"start_lr {self.start_lr}, growth {self.growth}"
        return {"lr_find": f"{rates}, num_it {self.num_it}, stop_div {self.stop_div}"}

    def before_step(self, learn: Any) -> None:
        learn.set_lr(self.start_lr * self.growth ** (len(learn.recorder.lrs) / self.num_it))

    def after_batch(self, learn: Any) -> None:
        learn.recorder.read_losses()
        if not learn.recorder.losses:  # the batch was cancelled before it had a loss
            return
        loss = learn.recorder.losses[-1]
        self.best = min(self.best, loss)
        if (self.stop_div and loss > 4 * self.best) or len(learn.recorder.lrs) >= self.num_it:
            raise CancelFit

    def before_validate(self, learn: Any) -> None:
        raise CancelValidate


@contextmanager
def _state_preserved(learn: Any) -> Iterator[None]:
    """Restore the learner at the end.

    The optimizer of the last fit is used, with its buffers, if its state can be saved and loaded.
    """
    before = Snapshot(learn, as_callbacks(learn.cbs))
    if not before.keeps_optimizer():
        learn.opt = None
    try:
        yield
    finally:
        before.restore()
