"""Code of one's own at the moments of training.

A callback is a class with methods named after moments; each is given the `Learner` and may read
and change it: `xb`, `yb`, `pred`, `loss`, `opt`, `epoch`, `n_epoch`, `recorder`. To leave a stage
early, raise its `Cancel...` exception: the stage ends there and training goes on after it. Moments
that no callback uses cost nothing.

    class Halve(Callback):
        def after_epoch(self, learn):
            for group in learn.opt.param_groups:
                group["lr"] /= 2
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnist_sgd.learner import Learner

__all__ = ["Callback", "CancelBatch", "CancelEpoch", "CancelFit", "CancelTrain", "CancelValidate"]


class CancelFit(Exception):  # noqa: N818 (control flow, not an error)
    """Ends the fit after the stages that are running have cleaned up."""


class CancelEpoch(Exception):  # noqa: N818 (control flow, not an error)
    """Ends the epoch; it leaves no row in the table."""


class CancelTrain(Exception):  # noqa: N818 (control flow, not an error)
    """Ends the epoch's training; validation follows."""


class CancelValidate(Exception):  # noqa: N818 (control flow, not an error)
    """Ends the epoch's validation."""


class CancelBatch(Exception):  # noqa: N818 (control flow, not an error)
    """Skips the rest of a batch: before the step, the weights stay as they are."""


class Callback:
    """Does nothing at every moment; a subclass overrides the moments that it wants.

    A stage `x` calls `before_x`, its body, `after_x` unless it was left early, and `cleanup_x`
    whatever happened.
    """

    def before_fit(self, learn: Learner) -> None:
        """Before the first epoch, the optimizer made."""

    def before_epoch(self, learn: Learner) -> None:
        """Before an epoch's training."""

    def before_train(self, learn: Learner) -> None:
        """Before the training batches, the model in training mode."""

    def before_validate(self, learn: Learner) -> None:
        """Before the validation batches, the model in evaluation mode."""

    def before_batch(self, learn: Learner) -> None:
        """`xb` and `yb` are there; `training` says what they are for."""

    def after_pred(self, learn: Learner) -> None:
        """`pred` is there."""

    def after_loss(self, learn: Learner) -> None:
        """`loss` is there; the gradients are not."""

    def before_step(self, learn: Learner) -> None:
        """The gradients are there; training only."""

    def after_batch(self, learn: Learner) -> None:
        """The weights have changed, the gradients are gone."""

    def after_train(self, learn: Learner) -> None:
        """After the training batches."""

    def after_validate(self, learn: Learner) -> None:
        """After the validation batches."""

    def after_epoch(self, learn: Learner) -> None:
        """The epoch's row is in `recorder.values` and printed."""

    def after_fit(self, learn: Learner) -> None:
        """After the last epoch."""

    def cleanup_fit(self, learn: Learner) -> None:
        """At the end, also after an exception."""
