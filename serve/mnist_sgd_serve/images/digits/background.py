"""The paper of a drawing or a photograph: its grey level, under any light, and its noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.digits.connected_components import dilate
from mnist_sgd_serve.images.pixels import border

LEAST_SLANTED = 20
"""On a smaller picture the light is the same everywhere."""
MOST_NOISE = 20
"""No paper has more noise."""
LEAST_GAP, CLEAR_GAP = 40, 3.0
"""Between ink and paper at the border: in grey levels, and in standard deviations of either."""


@dataclass(frozen=True)
class Background:
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


def find_background(
    grey: NDArray[np.uint8], sheet: NDArray[np.bool_] | None = None, *, cropped: bool = False
) -> Background:
    """Find the paper's level, from the border inwards; of the pixels of `sheet` alone, if given.

    A border that is mostly one value is that of a drawing. Otherwise a quadratic surface, the
    light on a sheet, is fitted to the border, and again to every pixel within three standard
    deviations of the surface, until after a few rounds the ink is left out.

    Args:
        grey: uint8 `[height, width]`.
        sheet: bool `[height, width]`, at least one true.
        cropped: much of the border may be ink. Then, where it has two greys, the paper has that of
            most of it; and where the surface fits badly, one of the picture's two greys.
    """
    edge = border(grey) if sheet is None else grey[sheet & rim(sheet)]
    small = min(grey.shape) < LEAST_SLANTED
    greys = (0.0, 255.0)
    if sheet is None and (cropped or small) and not _is_mostly_one_value(edge):
        greys = _greys_of_the_border(grey)
        edge = edge[(edge >= greys[0]) & (edge <= greys[1])]
    middle = float(np.median(edge))
    if _is_mostly_one_value(edge):
        return Background(middle)
    if small:
        noise = 0.0 if greys != (0, 255) else 1.4826 * float(np.median(np.abs(edge - middle)))
        return Background(middle, noise, small=True)
    found = _fitted(grey, sheet, greys)
    if cropped and found.noise > MOST_NOISE:
        greys = _side_of(_split(grey.ravel())[1], border(grey))
        other = _fitted(grey, sheet, greys, everywhere=True)
        found = min(found, other, key=lambda paper: paper.noise)
    return found


def _fitted(
    grey: NDArray[np.uint8],
    sheet: NDArray[np.bool_] | None,
    greys: tuple[float, float],
    everywhere: bool = False,
) -> Background:
    """Fit a quadratic surface to the paper, that has some of these greys."""
    basis = _quadratic(*grey.shape)
    # At most 64 x 64 pixels are fitted, in strides, for a mean would hide the noise.
    step = np.s_[:: -(-grey.shape[0] // 64), :: -(-grey.shape[1] // 64)]
    sample = grey[step].astype(np.float32)
    usable = np.ones(sample.shape, np.bool_) if sheet is None else sheet[step]
    near = rim(usable, max(1, round(min(sample.shape) / 16)))
    usable = usable & (sample >= greys[0]) & (sample <= greys[1])
    chosen = usable if everywhere else usable & near
    chosen, usable = chosen.ravel(), usable.ravel()
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
    return Background(np.clip(basis @ fit, 0, 255), noise + 0.3)  # 0.3: of rounding to whole levels


def _is_mostly_one_value(edge: NDArray[np.uint8]) -> bool:
    return bool(2 * np.count_nonzero(edge == np.median(edge)) > len(edge))


def _greys_of_the_border(grey: NDArray[np.uint8]) -> tuple[float, float]:
    """Which greys may be the paper's: all, or those on one side of a gap in those of the border.

    At the border of a character that is cropped tight the grey changes from one side of the gap to
    the other within a few pixels; under slanting light it does not.
    """
    edge = border(grey)
    gap, middle, deviation = _split(edge)
    if gap < max(LEAST_GAP, CLEAR_GAP * deviation) or _typical_step(grey, middle) < gap / 3:
        return 0, 255
    return _side_of(middle, edge)


def _side_of(middle: float, edge: NDArray[np.uint8]) -> tuple[float, float]:
    """The greys on that side of the middle where most of the border is."""
    return (middle, 255) if 2 * np.count_nonzero(edge > middle) > len(edge) else (0, middle)


def _split(greys: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Split greys in two classes (Otsu, 1979): the gap, its middle, the deviation in a class."""
    counts = np.bincount(greys, minlength=256).astype(np.float64)
    below = np.cumsum(counts)[:-1]
    above = len(greys) - below
    sums, levels = np.cumsum(counts * np.arange(256)), np.arange(256)
    dark, light = sums[:-1] / np.maximum(below, 1), (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    spread = float(counts @ levels**2) - below * dark**2 - above * light**2
    at = int(np.argmin(np.where((below > 0) & (above > 0), spread, np.inf)))
    deviation = float(np.sqrt(max(0.0, spread[at]) / len(greys)))
    return float(light[at] - dark[at]), float(light[at] + dark[at]) / 2, deviation


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
    outside = dilate(np.pad(~mask, 1, constant_values=True), pixels)
    return outside[1:-1, 1:-1]
