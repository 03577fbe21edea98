"""The paper of a drawing or a photograph: its grey level, under any light, and its noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.parts import widened
from mnist_sgd_serve.picture import border

__all__ = ["Paper", "find_paper", "rim"]

LEAST_SLANTED = 20
"""On a smaller picture the light is the same everywhere."""
LEAST_GAP, CLEAR_GAP = 40, 3.0
"""Between ink and paper at the border: in grey levels, and in standard deviations of either."""


@dataclass(frozen=True)
class Paper:
    """The paper of a picture.

    Attributes:
        level: its grey, one or one a pixel.
        noise: the standard deviation of its grey; 0 in a drawing.
        small: the picture is so small that a stroke may be one pixel wide.
    """

    level: NDArray[np.float32] | float
    noise: float = 0.0
    small: bool = False

    @property
    def photographed(self) -> bool:
        """Whether ink has to be told from noise by the mean of several pixels."""
        return self.noise > 0 and not self.small


def find_paper(grey: NDArray[np.uint8], sheet: NDArray[np.bool_] | None = None) -> Paper:
    """Find the paper's level, from the border inwards; of the pixels of `sheet` alone, if given.

    A border that is mostly one value is that of a drawing. Otherwise a quadratic surface, the
    light on a sheet, is fitted to the border, and again to every pixel within three standard
    deviations of the surface, until after a few rounds the ink is left out. Where the border has
    two greys, as around a character that is cropped tight, the paper has that of most of it.
    """
    edge = border(grey) if sheet is None else grey[sheet & rim(sheet)]
    darkest, lightest = 0.0, 255.0
    if sheet is None and not _is_mostly_one_value(edge):
        darkest, lightest = _paper_range(grey)
        edge = edge[(edge >= darkest) & (edge <= lightest)]
    middle = float(np.median(edge))
    if _is_mostly_one_value(edge):
        return Paper(middle)
    if min(grey.shape) < LEAST_SLANTED:
        noise = 0.0 if lightest - darkest < 255 else 1.4826 * np.median(np.abs(edge - middle))
        return Paper(middle, float(noise), small=True)
    basis = _quadratic(*grey.shape)
    # At most 64 x 64 pixels are fitted, in strides, for a mean would hide the noise.
    step = np.s_[:: -(-grey.shape[0] // 64), :: -(-grey.shape[1] // 64)]
    sample = grey[step].astype(np.float32)
    width = max(1, round(min(sample.shape) / 16))
    usable = np.ones(sample.shape, np.bool_) if sheet is None else sheet[step]
    near, light = rim(usable, width), (sample >= darkest) & (sample <= lightest)
    chosen, usable = (usable & near & light).ravel(), (usable & light).ravel()
    rows, values = basis[step].reshape(-1, basis.shape[-1]), sample.ravel()
    for _ in range(6):
        terms = rows[chosen]
        # The small ridge keeps pictures of one row or column solvable.
        square = terms.T @ terms + 1e-3 * np.eye(rows.shape[1], dtype=np.float32)
        fit = np.linalg.solve(square, terms.T @ values[chosen])
        distance = np.abs(values - rows @ fit)
        noise = 1.4826 * float(np.median(distance[chosen]))
        chosen, before = (distance <= 3 * noise + 1) & usable, chosen
        if np.array_equal(chosen, before):
            break
    return Paper(np.clip(basis @ fit, 0, 255), noise + 0.3)  # 0.3: of rounding to whole levels


def _is_mostly_one_value(edge: NDArray[np.uint8]) -> bool:
    return bool(2 * np.count_nonzero(edge == np.median(edge)) > len(edge))


def _paper_range(grey: NDArray[np.uint8]) -> tuple[float, float]:
    """Which greys may be the paper's: all, or those on one side of a gap in those of the border.

    The split is Otsu's. At the border of a character that is cropped tight the grey changes from
    one side of it to the other within a few pixels; under slanting light it does not.
    """
    edge = border(grey)
    levels = np.sort(edge).astype(np.float64)
    count = np.arange(1, len(levels))
    below, squares = np.cumsum(levels)[:-1], float(levels @ levels)
    dark, light = below / count, (levels.sum() - below) / count[::-1]
    spread = squares - count * dark**2 - count[::-1] * light**2
    split = int(np.argmin(spread))
    gap, middle = light[split] - dark[split], (light[split] + dark[split]) / 2
    deviation = np.sqrt(max(0.0, float(spread[split])) / len(levels))
    if gap < max(LEAST_GAP, CLEAR_GAP * deviation) or _typical_step(grey, middle) < gap / 3:
        return 0, 255
    return (middle, 255) if 2 * np.count_nonzero(edge > middle) > len(edge) else (0, middle)


def _typical_step(grey: NDArray[np.uint8], middle: float) -> float:
    """By how much the border's grey changes where it passes the middle, in the median."""
    steps: list[float] = [0]
    for line in (grey[0], grey[-1], grey[:, 0], grey[:, -1]):
        (at,) = np.nonzero(np.diff(line > middle))
        near = max(2, len(line) // 16)  # of so many pixels the mean is taken, as there is noise
        sums = np.cumsum(np.pad(line.astype(float), (near + 1, near), mode="edge"))
        means = (sums[near:] - sums[:-near]) / near
        steps += np.abs(means[at + near + 1] - means[at + 1]).tolist()
    return float(np.median(steps))


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
