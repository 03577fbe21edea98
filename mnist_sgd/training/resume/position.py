"""Track the position of a fit in its batches, whatever its callbacks do with the loader.

A loader knows the position of its newest iterator, and each new iterator starts the next epoch. A
callback that looks at a batch, as with `first(learn.dls.train)`, creates the newest one. The fit
therefore tracks its own position: `learn.train_place` has it, and each epoch of the fit starts
where its last one ended.
"""

from collections.abc import Callable

from mnist_sgd.loader.dataloader import DataLoader, Place


class FitPosition:
    """The position of a fit in its training or its validation batches.

    Batches of another package's loader have none.
    """

    def __init__(self) -> None:
        self._place: Place | None = None
        self._awaited: Callable[[DataLoader], None] | None = None
        self._is_new = False

    @property
    def samples_seen(self) -> int:
        """Number of images of the fit's current epoch that were used so far, over all ranks.

        Raises:
            TypeError: the batches do not come from this package's DataLoader.
        """
        return self._known().position[1]

    def state_dict(self) -> dict[str, int]:
        """Return what `DataLoader.state_dict` would if only the fit had used the loader.

        Raises:
            TypeError: the batches do not come from this package's DataLoader.
        """
        place = self._known()
        return place.loader.state_dict(place)

    def begin(self, loader: object, awaited: Callable[[DataLoader], None] | None = None) -> None:
        """Start a fit at a loader's position.

        Args:
            loader: before any callback of the fit sees it.
            awaited: restores the position of another loader, which callbacks bring in before the
                next epoch; None if they bring in none.
        """
        self._take(loader)
        self._awaited = awaited
        if self._place is not None and self._place.is_at_an_end:
            # The fit has the empty rest of that epoch; other users of the loader get the next one.
            self._place.loader.put_back(self._place.of_next_epoch())

    def begin_epoch(self, loader: object, begun: bool = False) -> None:
        """Let the next `iter(loader)` continue at the fit's position; call it before.

        A loader that is new, or that a callback moved on purpose, keeps its position.

        Args:
            loader: of the epoch's batches.
            begun: whether a callback has created the iterator, as with an `islice` of the loader.

        Raises:
            CheckpointError: the state that is awaited is of another loader.
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
        """Follow the fit's own iterator; call it at each batch, before any callback."""
        if self._is_new:
            self._take(loader)
            self._is_new = False

    def _take(self, loader: object) -> None:
        self._place = loader.place() if isinstance(loader, DataLoader) else None

    def _known(self) -> Place:
        if self._place is None:
            raise TypeError("only the batches of a mnist_sgd.DataLoader have a place")
        return self._place
