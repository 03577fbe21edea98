"""Callbacks: hooks into the training loop.

A callback is a class with methods named after the loop's events. Each takes the `Learner` and may
read and change it: `xb`, `yb`, `pred`, `loss`, `loss_grad`, `opt`, `epoch`, `recorder`. To skip the
rest of a stage, raise its `Cancel...` exception. Events that no callback uses cost nothing.

    class Halve(Callback):
        def after_epoch(self, learn):
            for group in learn.opt.param_groups:
                group["lr"] /= 2

The events are fastai's, in fastai's order, and `cleanup_...` is called in addition:

    before_fit
        before_epoch
            before_train
                before_batch  after_pred  after_loss
                before_backward  after_backward  before_step  after_step
                after_batch
            after_train  cleanup_train
            before_validate
                before_batch  after_pred  after_loss  after_batch
            after_validate  cleanup_validate
        after_epoch  cleanup_epoch
    after_fit  cleanup_fit
"""

import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import partial
from typing import Any

Handler = Callable[[Any], None]


class CancelFit(Exception):  # noqa: N818 (control flow, not an error)
    """Ends the fit: `after_cancel_fit` and `after_fit` follow."""


class CancelEpoch(Exception):  # noqa: N818 (control flow, not an error)
    """Ends the epoch: `after_epoch` follows. Its row is nan where nothing was measured."""


class CancelTrain(Exception):  # noqa: N818 (control flow, not an error)
    """Ends the epoch's training: `after_train` and the validation follow."""


class CancelValidate(Exception):  # noqa: N818 (control flow, not an error)
    """Ends the validation: `after_validate` follows. The row marks its means as partial."""


class CancelBatch(Exception):  # noqa: N818 (control flow, not an error)
    """Skips the rest of a batch: `after_batch` follows.

    Before the step the weights do not change. The gradients are kept, and the next batch's are
    added to them, which is how gradients are accumulated.
    """


class CancelBackward(Exception):  # noqa: N818 (control flow, not an error)
    """Skips the backward pass: `after_backward` and the step follow."""


class CancelStep(Exception):  # noqa: N818 (control flow, not an error)
    """Skips the optimizer's step: `after_step` follows, and the gradients are zeroed."""


_STAGES: dict[type[Exception], tuple[str, str]] = {
    CancelFit: ("fit", "a fit"),
    CancelEpoch: ("epoch", "an epoch"),
    CancelTrain: ("train", "an epoch's training"),
    CancelValidate: ("validate", "a validation"),
    CancelBatch: ("batch", "a batch"),
    CancelBackward: ("backward", "a backward pass"),
    CancelStep: ("step", "a step"),
}
"""The stage that a cancellation ends: in the names of its events, and in words."""

CANCELLATIONS = tuple(_STAGES)


def explained(cancellation: Exception) -> Exception:
    """Return a cancellation that no stage caught with a message where it may be raised."""
    kind = next(kind for kind in _STAGES if isinstance(cancellation, kind))
    stage, words = _STAGES[kind]
    notes = getattr(cancellation, "__notes__", ["outside of a callback"])
    said = f" ({cancellation})" if str(cancellation) else ""
    return kind(
        f"{kind.__name__} was raised {notes[0]}, where there is nothing that it ends: it ends "
        f"{words}, and is for the events from before_{stage} to after_{stage} of one, other than "
        f"after_cancel_{stage}{said}"
    )


class Callback:
    """Base class of all callbacks; a subclass defines the events that it wants.

    A stage `x` calls `before_x`, runs, and calls `after_x`. If it was cancelled it calls
    `after_cancel_x` and `after_x`. `cleanup_x` comes last, even after an exception. Validation
    outside a fit (`validate`, `get_preds`, `predict`) calls the events from `before_validate` to
    `cleanup_validate`.

    The learner is typed as Any, since its class imports this one; annotate your own methods with
    `learn: Learner`.

    Attributes:
        order: callbacks are called in ascending order; equal ones in the order of the list.
        run: whether any event is called; reset to True after each fit.
        run_train, run_valid: whether the events within a batch are called in training and in
            validation.
        during_lr_find: whether `lr_find` calls it: False for what monitors epochs or writes files.
    """

    order = 0
    run = True
    run_train = True
    run_valid = True
    during_lr_find = True

    def __repr__(self) -> str:
        names = inspect.signature(type(self)).parameters
        given = [f"{name}={vars(self)[name]!r}" for name in names if name in vars(self)]
        return f"{type(self).__name__}({', '.join(given)})"

    def after_create(self, learn: Any) -> None:
        """At the end of the learner's construction, for the callbacks that it was given."""

    def before_fit(self, learn: Any) -> None:
        """Before the first epoch, after the optimizer was made."""

    def before_epoch(self, learn: Any) -> None:
        """Before an epoch's training."""

    def before_train(self, learn: Any) -> None:
        """Before the training batches, the model in training mode."""

    def before_validate(self, learn: Any) -> None:
        """Before the validation batches, the model in evaluation mode."""

    def before_batch(self, learn: Any) -> None:
        """After `xb` and `yb` are set; `training` tells whether they are trained on."""

    def after_pred(self, learn: Any) -> None:
        """After `pred` is set."""

    def after_loss(self, learn: Any) -> None:
        """After `loss`, which is recorded, and `loss_grad`, whose gradient is taken, are set."""

    def before_backward(self, learn: Any) -> None:
        """Before the backward pass; training only."""

    def after_cancel_backward(self, learn: Any) -> None:
        """After the backward pass was cancelled."""

    def after_backward(self, learn: Any) -> None:
        """After the backward pass, with the gradients."""

    def before_step(self, learn: Any) -> None:
        """Before the optimizer's step; training only."""

    def after_cancel_step(self, learn: Any) -> None:
        """After the step was cancelled."""

    def after_step(self, learn: Any) -> None:
        """After the weights have changed, still with the gradients."""

    def after_cancel_batch(self, learn: Any) -> None:
        """After the batch was cancelled."""

    def after_batch(self, learn: Any) -> None:
        """After the batch was recorded, without gradients."""

    def after_cancel_train(self, learn: Any) -> None:
        """After the epoch's training was cancelled."""

    def after_train(self, learn: Any) -> None:
        """After the training batches."""

    def cleanup_train(self, learn: Any) -> None:
        """At the end of the epoch's training, even after an exception."""

    def after_cancel_validate(self, learn: Any) -> None:
        """After the validation was cancelled."""

    def after_validate(self, learn: Any) -> None:
        """After the validation batches."""

    def cleanup_validate(self, learn: Any) -> None:
        """At the end of the validation, even after an exception."""

    def after_cancel_epoch(self, learn: Any) -> None:
        """After the epoch was cancelled."""

    def after_epoch(self, learn: Any) -> None:
        """After the epoch's row was added to `recorder.values` and printed."""

    def cleanup_epoch(self, learn: Any) -> None:
        """At the end of the epoch, even after an exception."""

    def after_cancel_fit(self, learn: Any) -> None:
        """After the fit was cancelled."""

    def after_fit(self, learn: Any) -> None:
        """After the last epoch."""

    def cleanup_fit(self, learn: Any) -> None:
        """At the end of the fit, even after an exception."""


PREFIXES = ("before_", "after_", "cleanup_")
EVENTS = tuple(name for name in vars(Callback) if name.startswith(PREFIXES))

WITHIN_A_BATCH = frozenset(
    name for name in EVENTS if name.endswith(("_batch", "_pred", "_loss", "_backward", "_step"))
)


def event_handlers(cbs: Iterable[Callback]) -> dict[str, list[Handler]]:
    """Map each event to what is called with the learner, for the callbacks that define it."""
    handlers: dict[str, list[Handler]] = {}
    for cb in cbs:
        for event in EVENTS:
            if defines(cb, event):
                handlers.setdefault(event, []).append(partial(_run_callback, cb, event))
    return handlers


def defines(cb: Callback, event: str) -> bool:
    """Whether a callback has a method of its own for an event."""
    return getattr(getattr(cb, event), "__func__", None) is not vars(Callback)[event]


def _run_callback(cb: Callback, event: str, learn: Any) -> None:
    """Call one callback, if it wants to run; an error names the callback and the event."""
    if not cb.run or (
        event in WITHIN_A_BATCH and not (cb.run_train if learn.training else cb.run_valid)
    ):
        return
    try:
        getattr(cb, event)(learn)
    except CANCELLATIONS as error:
        if not hasattr(error, "__notes__"):  # one that no stage catches says where it comes from
            error.add_note(f"in the callback {type(cb).__name__}, {event}")
        raise
    except Exception as error:
        if not type(cb).__module__.startswith("mnist_sgd."):  # those name themselves
            error.add_note(f"in the callback {type(cb).__name__}, {event}")
        if event in WITHIN_A_BATCH and learn.is_empty_part:
            error.add_note(
                f"on rank {learn.ranks.rank}, whose part of this batch is empty: return from the "
                "callback where len(learn.yb) is 0"
            )
        raise


def as_callbacks(cbs: object) -> list[Callback]:
    """Return an argument `cbs` as a checked list: None, a callback, a class of them, or several.

    Raises:
        TypeError: one of them is not a callback, or has a method that is not an event or does not
            take the learner.
    """
    given = [] if cbs is None else list(cbs) if isinstance(cbs, list | tuple) else [cbs]
    return [
        checked(cb() if isinstance(cb, type) and issubclass(cb, Callback) else cb) for cb in given
    ]


def checked(cb: object) -> Callback:
    """Return the callback, unless one of its methods would silently never be called.

    Raises:
        TypeError: it is not a `Callback`; a method is named like an event and is none; or an
            event's method does not take the learner.
    """
    if not isinstance(cb, Callback):
        raise TypeError(
            f"cbs takes Callbacks, classes of them, or a list of these; got {type(cb).__name__}"
        )
    name = type(cb).__name__
    for method in dir(cb):
        if not method.startswith(PREFIXES) or not callable(getattr(cb, method)):
            continue
        if method not in EVENTS:
            near = get_close_matches(method, EVENTS, n=1, cutoff=0.75)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise TypeError(
                f"{name}.{method} is not an event of the training loop{hint} (the events: "
                f"{', '.join(EVENTS)}); a helper method's name must not begin with before_, "
                "after_ or cleanup_"
            )
        try:
            inspect.signature(getattr(cb, method)).bind(None)
        except TypeError:
            raise TypeError(
                f"{name}.{method} must take the learner and nothing else: def {method}(self, learn)"
            ) from None
    return cb
