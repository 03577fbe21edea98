"""Where an iterator of a loader stands, also when newer ones have begun."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_sgd.loader import DataLoader

__all__ = ["Place"]


@dataclass(frozen=True)
class Place:
    """Where an iterator of a loader stands: it moves on with this iterator, not with newer ones.

    Attributes:
        loader: the loader.
        start: the epoch and the samples seen with which the iterator began, or with which the next
            one begins.
        progress: of the iterator; None if `start` is where the next one begins.
        moves: how often the loader had been moved on purpose, by `set_epoch` or `load_state_dict`.
    """

    loader: DataLoader
    start: tuple[int, int]
    progress: Any
    moves: int

    @property
    def position(self) -> tuple[int, int]:
        """The epoch and the samples seen of it, over all ranks; after its last batch the next."""
        epoch, samples_seen = self.start
        if self.progress is None:
            return epoch, samples_seen
        if self.progress.exhausted:
            return epoch + 1, 0
        loader = self.loader
        last = len(loader) * loader.batch_size if loader.drop_last else len(loader.dataset)
        return epoch, min(self.progress.delivered * loader.batch_size, last)

    @property
    def is_at_an_end(self) -> bool:
        """Whether an iterator that began here would give nothing, the rest of its epoch."""
        batches = -(-self.start[1] // self.loader.batch_size)
        return self.progress is None and batches >= len(self.loader) > 0

    def of_next_epoch(self) -> Place:
        """The place at which the next epoch begins."""
        return replace(self, start=(self.start[0] + 1, 0), progress=None)
