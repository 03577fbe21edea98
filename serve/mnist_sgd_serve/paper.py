"""The paper of a drawing or a photograph: its grey level, under any light, and its noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.parts import widened
from mnist_sgd_serve.picture import border

__all__ = ["Paper", "find_paper", "rim"]


@dataclass(frozen=True)
class Paper:
    """The paper's grey level, one or one a pixel, and its noise as a standard deviation."""

    level: NDArray[np.float32] | float
    noise: float = 0.0

    @property
    def photographed(self) -> bool:
        """Whether it has noise, which no drawing has."""
        return self.noise > 0


def find_paper(grey: NDArray[np.uint8], sheet: NDArray[np.bool_] | None = None) -> Paper:
    """Find the paper's level, from the border inwards; of the pixels of `sheet` alone, if given.

    A border that is mostly one value is that of a drawing. Otherwise a quadratic surface, the
    light on a sheet, is fitted to the border, and again to every pixel within three standard
    deviations of the surface, until after a few rounds the ink is left out.
    """
    edge = border(grey) if sheet is None else grey[sheet & rim(sheet)]
    middle = float(np.median(edge))
    if 2 * np.count_nonzero(edge == middle) > len(edge):
        return Paper(middle)
    basis = _quadratic(*grey.shape)
    # At most 64 x 64 pixels are fitted, in strides, for a mean would hide the noise.
    step = np.s_[:: -(-grey.shape[0] // 64), :: -(-grey.shape[1] // 64)]
    sample = grey[step].astype(np.float32)
    width = max(1, round(min(sample.shape) / 16))
    usable = np.ones(sample.shape, np.bool_) if sheet is None else sheet[step]
    chosen, usable = (usable & rim(usable, width)).ravel(), usable.ravel()
    rows, values = basis[step].reshape(-1, 6), sample.ravel()
    for _ in range(6):
        near = rows[chosen]
        # The small ridge keeps pictures of one row or column solvable.
        square = near.T @ near + 1e-3 * np.eye(6, dtype=np.float32)
        fit = np.linalg.solve(square, near.T @ values[chosen])
        distance = np.abs(values - rows @ fit)
        noise = 1.4826 * float(np.median(distance[chosen]))
        chosen, before = (distance <= 3 * noise + 1) & usable, chosen
        if np.array_equal(chosen, before):
            break
    return Paper(np.clip(basis @ fit, 0, 255), noise + 0.3)  # 0.3: of rounding to whole levels


def _quadratic(height: int, width: int) -> NDArray[np.float32]:
    """Give the six terms of a quadratic surface over a picture: `[height, width, 6]`."""
    y, x = np.meshgrid(
        np.linspace(-1, 1, height, dtype=np.float32),
        np.linspace(-1, 1, width, dtype=np.float32),
        indexing="ij",
    )
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)


def rim(mask: NDArray[np.bool_], pixels: int = 1) -> NDArray[np.bool_]:
    """What is at most so far from a pixel outside of `mask`, or from the border."""
    outside = widened(np.pad(~mask, 1, constant_values=True), pixels)
    return outside[1:-1, 1:-1]
