"""Which rows of a file the images of a set are, where they were selected from a larger one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows", "row_of"]


@dataclass(frozen=True, eq=False)
class Rows:
    """Images that come from one file.

    Attributes:
        rows: the row of each image in the file, from 0; a range, or integers `[n]`.
        file: the path of the file; "" if it is not known.
    """

    rows: range | NDArray[np.integer[Any]]
    file: str = ""

    def __len__(self) -> int:
        """Count the images."""
        return len(self.rows)

    def at(self, which: slice | NDArray[np.bool_]) -> "Rows":
        """Take some of the images.

        Args:
            which: a slice, or one truth value for each image, bool `[n]`.
        """
        if isinstance(which, slice):
            return replace(self, rows=self.rows[which])
        return replace(self, rows=np.asarray(self.rows)[which])


def row_of(parts: Sequence[Rows], index: int) -> tuple[str, int]:
    """The file and the row of an image of a set.

    Args:
        parts: of the set, in its order; without any, the set is not known to come from a file.
        index: of the image in the set.

    Returns:
        The path and the row; "" and the index itself where they are not known.
    """
    place = index
    for part in parts:
        if place < len(part):
            return part.file, int(part.rows[place])
        place -= len(part)
    return "", index
