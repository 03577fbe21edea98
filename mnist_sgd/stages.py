"""The engine of the training life cycle: stages, their moments, and who is called at them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mnist_sgd.callbacks import Callback

__all__ = ["Stages"]


class Stages:
    """Runs stages between their moments, and at each moment the callbacks that wait for it.

    Attributes:
        active_cbs: the callbacks of the fit or validation that runs, in their order.
    """

    def __init__(self) -> None:
        self.active_cbs: list[Callback] = []
        self._handlers: dict[str, list[Callable[[Any], None]]] = {}

    def _stage(self, name: str, body: Callable[[], None], cancelled: type[Exception]) -> None:
        """Run the body of a stage between its moments; its cancellation ends just the stage."""
        try:
            self._call(f"before_{name}")
            body()
            self._call(f"after_{name}")
        except cancelled:
            pass
        finally:
            self._call(f"cleanup_{name}")

    def _call(self, moment: str) -> None:
        for handler in self._handlers.get(moment, ()):
            handler(self)

    @contextmanager
    def _calling(self, cbs: Sequence[Callback]) -> Iterator[None]:
        """Let `cbs` be called: of each the methods that it overrides, and no other."""
        handlers: dict[str, list[Callable[[Any], None]]] = {}
        for cb in cbs:
            for moment, nothing in vars(Callback).items():
                if callable(nothing) and getattr(type(cb), moment) is not nothing:
                    handlers.setdefault(moment, []).append(getattr(cb, moment))
        before = self.active_cbs, self._handlers
        self.active_cbs, self._handlers = list(cbs), handlers
        try:
            yield
        finally:
            self.active_cbs, self._handlers = before
