"""Where a fit stands in its batches, whatever its callbacks look at meanwhile.

A loader tells where its newest iterator stands, and each new iterator begins the next epoch. A
callback that looks at a batch, as by `first(learn.dls.train)`, has the newest one. The fit
therefore remembers its own: `learn.train_place` is read by what must know where the training is,
and each epoch of the fit begins where the fit's last one ended.
"""

from collections.abc import Callable

from mnist_sgd.loader.dataloader import DataLoader, Place

__all__ = ["FitPlace"]


class FitPlace:
    """The place of a fit in its training or its validation batches.

    Batches of another package's loader have none.
    """

    def __init__(self) -> None:
        self._place: Place | None = None
        self._awaited: Callable[[DataLoader], None] | None = None
        self._is_new = False

    @property
    def samples_seen(self) -> int:
        """Images of the fit's current epoch that it was given so far, over all ranks.

        Raises:
            TypeError: the batches do not come from this package's DataLoader.
        """
        return self._known().position[1]

    def state_dict(self) -> dict[str, int]:
        """What `DataLoader.state_dict` would give, had nobody else looked at its batches.

        Raises:
            TypeError: the batches do not come from this package's DataLoader.
        """
        place = self._known()
        return place.loader.state_dict(place)

    def begin(self, loader: object, awaited: Callable[[DataLoader], None] | None = None) -> None:
        """Begin a fit where a loader stands.

        Args:
            loader: before any callback of the fit sees it.
            awaited: called with the loader that callbacks put in this one's place before the next
                epoch, to put it where the fit goes on; None if they put in none.
        """
        self._take(loader)
        self._awaited = awaited
        if self._place is not None and self._place.is_at_an_end:
            # The fit has the empty rest of that epoch; who looks at the loader has the next one.
            self._place.loader.put_back(self._place.of_next_epoch())

    def begin_epoch(self, loader: object, begun: bool = False) -> None:
        """Let the next `iter(loader)` go on where the fit stands; call it before.

        A loader that is another now, or that a callback moved on purpose, is taken as it is.

        Args:
            loader: of the epoch's batches.
            begun: whether a callback has begun the iterator, as by an `islice` of the loader.

        Raises:
            CheckpointError: another loader is awaited than this one.
        """
        place, awaited = self._place, self._awaited
        if awaited is not None and isinstance(loader, DataLoader):
            self._awaited = None
            awaited(loader)
        elif place and place.loader is loader and not begun and not place.loader.was_moved(place):
            place.loader.put_back(place)
        self._take(loader)
        self._is_new = True

    def follow(self, loader: object) -> None:
        """Follow the iterator that the fit began; call it at each batch, before any callback."""
        if self._is_new:
            self._take(loader)
            self._is_new = False

    def _take(self, loader: object) -> None:
        self._place = loader.place() if isinstance(loader, DataLoader) else None

    def _known(self) -> Place:
        if self._place is None:
            raise TypeError("only the batches of a mnist_sgd.DataLoader have a place")
        return self._place
