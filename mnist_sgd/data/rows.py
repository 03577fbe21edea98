"""Where in its file each image of a set is stored."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Rows:
    """Images from one file.

    Attributes:
        rows: the row of each image in the file, from 0; a range, or integers `[n]`.
        file: the path of the file; "" if unknown.
    """

    rows: range | NDArray[np.integer[Any]]
    file: str = ""

    def __len__(self) -> int:
        """Count the images."""
        return len(self.rows)

    def at(self, which: slice | NDArray[np.bool_]) -> "Rows":
        """Select images by a slice or a mask, bool `[n]`."""
        if isinstance(which, slice):
            return replace(self, rows=self.rows[which])
        return replace(self, rows=np.asarray(self.rows)[which])


def row_of(parts: Sequence[Rows], index: int) -> tuple[str, int]:
    """Return the file and the row of an image of a set.

    Args:
        parts: of the set, in its order; may be empty.
        index: of the image in the set.

    Returns:
        The path and the row; "" and the index itself if they are unknown.
    """
    offset = index
    for part in parts:
        if offset < len(part):
            return part.file, int(part.rows[offset])
        offset -= len(part)
    return "", index
