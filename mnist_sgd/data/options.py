"""How a folder of images is loaded."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypedDict

from mnist_sgd.data.pictures.folders import UnusableFile
from mnist_sgd_serve._earlier import accepts_earlier
from mnist_sgd_serve.images.preprocessing import check_preprocessing


@accepts_earlier(preparation="preprocessing")
@dataclass(frozen=True)
class DataOptions:
    """Options of `DataSource`, `load_data`, `load_all` and `pack_folder`.

    Args:
        classes: the negative and the positive class; None if the folder has only two.
        positive: the name of the positive class. By default the second of `classes`, then that of
            a packed set, then the last in string order, so 9 of 9 and 10.
        preprocessing: mnist, fit or stretch, see `mnist_sgd_serve.preprocess`: how pictures are
            preprocessed or, for a set of images, how new pictures will be. None lets the pictures
            decide between mnist and fit, keeps what a packed set says, and means mnist for IDX
            files.
        cache: folder for the preprocessed pictures; None for `.mnist_sgd` in their own folder.
        workers: processes that decode pictures, this one included.
        on_unusable: called for each file left out, by split, class and name; None raises an
            error for the first one, after all others were read into the cache.
        on_progress: called with the number of files known so far and the total.
        on_wait: called before waiting for another import of the same folder.

    Raises:
        ValueError: unknown preprocessing.
    """

    classes: tuple[str, str] | None = None
    positive: str | None = None
    preprocessing: str | None = None
    cache: str | os.PathLike[str] | None = None
    workers: int = 1
    on_unusable: Callable[[UnusableFile], None] | None = None
    on_progress: Callable[[int, int], None] | None = None
    on_wait: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        if self.preprocessing is not None:
            check_preprocessing(self.preprocessing)
        if self.classes is not None and self.positive is None:
            object.__setattr__(self, "positive", self.classes[1])


class DataKeywords(TypedDict, total=False):
    """The fields of `DataOptions` as keyword arguments."""

    classes: tuple[str, str] | None
    positive: str | None
    preprocessing: str | None
    cache: str | os.PathLike[str] | None
    workers: int
    on_unusable: Callable[[UnusableFile], None] | None
    on_progress: Callable[[int, int], None] | None
    on_wait: Callable[[], None] | None


def named_options(function: str, options: dict[str, Any]) -> DataOptions:
    """Make the options of a function that takes them as keyword arguments.

    Args:
        function: its name, for the message.
        options: the arguments.

    Raises:
        TypeError: there is no option of a name.
    """
    names = [*DataKeywords.__annotations__]
    for name in options:
        if name not in (*names, "preparation"):
            near = get_close_matches(name, names, n=1) or names
            raise TypeError(
                f"{function} has no argument {name!r}; did you mean {near[0]}?"
                if len(near) == 1
                else f"{function} has no argument {name!r}; there are {', '.join(names)}"
            )
    return DataOptions(**options)


def order_classes(classes: tuple[str, str], positive: str | None) -> tuple[str, str]:
    """Return the two class names with `positive` last; None keeps the order.

    Raises:
        ValueError: no class has this name.
    """
    first, last = classes
    if positive is not None and positive not in classes:
        raise ValueError(f"there is no class {positive!r}; the classes are {first!r} and {last!r}")
    return (last, first) if positive == first else classes
