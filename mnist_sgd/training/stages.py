"""Runs the stages of training between their events, and calls the callbacks at each event."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from mnist_sgd.training.callbacks.base import (
    CANCELLATIONS,
    EVENTS,
    WITHIN_A_BATCH,
    Callback,
    explained,
)

Handler = Callable[[Any], None]


class Stages:
    """Runs stages between their events, and calls the callbacks that define those events.

    Attributes:
        active_cbs: the callbacks of the fit or validation that runs, in the order of their calls.
    """

    def __init__(self) -> None:
        self.active_cbs: list[Callback] = []
        self._handlers: dict[str, list[Handler]] = {}
        self._under_way: list[str] = []  # the names of the stages that run, from the outermost

    def _stage(
        self,
        name: str,
        body: Callable[[], None],
        cancelled: type[Exception],
        finish: Callable[[], None] | None = None,
    ) -> None:
        """Run a stage's body between its events; its cancellation ends this stage alone.

        `finish` is called before `after_...`, whether the stage was cancelled or not.
        """
        self._under_way.append(name)
        try:
            try:
                self._call(f"before_{name}")
                body()
            except cancelled:
                self._cancelled(name)
                self._call(f"after_cancel_{name}")
            if finish is not None:
                finish()
            with suppress(cancelled):  # the stage is over anyway
                self._call(f"after_{name}")
        finally:
            try:
                self._call_all(self._handlers.get(f"cleanup_{name}", ()))
            finally:
                self._under_way.pop()

    def _cancelled(self, name: str) -> None:
        """Do what a stage left out that was cancelled, before its callbacks hear of that."""

    def _call(self, event: str) -> None:
        for handler in self._handlers.get(event, ()):
            handler(self)

    def _call_all(self, handlers: Sequence[Handler]) -> None:
        """Call each, also after an error in one before it."""
        if handlers:
            try:
                handlers[0](self)
            finally:
                self._call_all(handlers[1:])

    @contextmanager
    def _calling(self, cbs: Sequence[Callback]) -> Iterator[None]:
        """Call `cbs`, sorted by their `order`, at the events that they define, and no other.

        Raises:
            Exception: a cancellation that no stage took, with what to do.
        """
        ordered = sorted(cbs, key=lambda cb: cb.order)
        handlers: dict[str, list[Handler]] = {}
        for cb in ordered:
            for event in EVENTS:
                if getattr(getattr(cb, event), "__func__", None) is not vars(Callback)[event]:
                    handlers.setdefault(event, []).append(partial(_run_callback, cb, event))
        before = self.active_cbs, self._handlers
        self.active_cbs, self._handlers = ordered, handlers
        outermost = not self._under_way  # a stage further out may take a cancellation
        try:
            yield
        except CANCELLATIONS as error:
            if not outermost:
                raise
            raise explained(error) from error
        finally:
            self.active_cbs, self._handlers = before


def _run_callback(cb: Callback, event: str, learn: Any) -> None:
    """Call one callback, if it wants to run; an error says which callback and event it was."""
    if not cb.run or (
        event in WITHIN_A_BATCH and not (cb.run_train if learn.training else cb.run_valid)
    ):
        return
    try:
        getattr(cb, event)(learn)
    except CANCELLATIONS as error:
        if not hasattr(error, "__notes__"):  # one that no stage takes says where it comes from
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
