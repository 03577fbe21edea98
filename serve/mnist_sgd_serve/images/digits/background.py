"""Estimate the background of a picture: the grey of its paper under uneven light, and its noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.digits.connected_components import dilate
from mnist_sgd_serve.images.pixels import border

LEAST_SLANTED = 20
"""Smaller pictures are assumed to be evenly lit."""
MOST_NOISE = 20
"""Maximum noise of paper, in grey levels."""
LEAST_GAP, CLEAR_GAP = 40, 3.0
"""Minimum gap between ink and paper at the border: in grey levels, in standard deviations."""


@dataclass(frozen=True)
class Background:
    """The background of a picture.

    Attributes:
        level: its grey, one value or float32 `[height, width]`.
        noise: the standard deviation of its grey; 0 in a drawing.
        small: the picture is so small that strokes may be one pixel wide.
    """

    level: NDArray[np.float32] | float
    noise: float = 0.0
    small: bool = False

    @property
    def photographed(self) -> bool:
        """Whether noise requires averaging over several pixels to detect ink."""
        return self.noise > 0 and not self.small


def find_background(
    grey: NDArray[np.uint8], sheet: NDArray[np.bool_] | None = None, *, cropped: bool = False
) -> Background:
    """Estimate the background from the border inwards.

    A border that is mostly one value is that of a drawing. Otherwise a quadratic surface, the
    illumination of a sheet, is fitted to the border, then repeatedly to all pixels within three
    standard deviations of the surface, so that ink drops out after a few iterations.

    Args:
        grey: uint8 `[height, width]`.
        sheet: bool `[height, width]`, the pixels to use, at least one; default all.
        cropped: much of the border may be ink. Then, if the border has two greys, the background
            has the more frequent; and if the surface fits badly, one of the picture's two greys.
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
    """Fit a quadratic surface to the background, whose greys lie in this range."""
    basis = _quadratic(*grey.shape)
    # At most 64 x 64 pixels are fitted, subsampled because averaging would hide the noise.
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
        # The ridge keeps the system solvable for a single row or column.
        square = terms.T @ terms + 1e-3 * np.eye(rows.shape[1], dtype=np.float32)
        fit = np.linalg.solve(square, terms.T @ values[chosen])
        distance = np.abs(values - rows @ fit)
        noise = 1.4826 * float(np.median(distance[chosen]))
        chosen, before = (distance <= 3 * noise + 1) & usable, chosen
        if np.array_equal(chosen, before):
            break
    return Background(np.clip(basis @ fit, 0, 255), noise + 0.3)  # 0.3: rounding to integers


def _is_mostly_one_value(edge: NDArray[np.uint8]) -> bool:
    return bool(2 * np.count_nonzero(edge == np.median(edge)) > len(edge))


def _greys_of_the_border(grey: NDArray[np.uint8]) -> tuple[float, float]:
    """Find the range of greys that the background may have.

    All greys, or those on one side of a gap between the greys of the border. At the border of a
    tightly cropped character the grey crosses the gap within a few pixels; under slanting light it
    does not.
    """
    edge = border(grey)
    gap, middle, deviation = _split(edge)
    if gap < max(LEAST_GAP, CLEAR_GAP * deviation) or _typical_step(grey, middle) < gap / 3:
        return 0, 255
    return _side_of(middle, edge)


def _side_of(middle: float, edge: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the range of greys on the side of the middle with most of the border."""
    return (middle, 255) if 2 * np.count_nonzero(edge > middle) > len(edge) else (0, middle)


def _split(greys: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Split greys into two classes (Otsu, 1979): gap, its middle, deviation within the classes."""
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
    """Return the median change of the border's grey where it crosses the middle."""
    steps: list[float] = [0]
    for line in (grey[0], grey[-1], grey[:, 0], grey[:, -1]):
        (at,) = np.nonzero(np.diff(line > middle))
        near = max(2, len(line) // 16)  # averaged against noise
        sums = np.cumsum(np.pad(line.astype(float), (near + 1, near), mode="edge"))
        means = (sums[near:] - sums[:-near]) / near
        steps += np.abs(means[at + near + 1] - means[at + 1]).tolist()
    return float(np.median(steps))


def _quadratic(height: int, width: int) -> NDArray[np.float32]:
    """Return the six terms of a quadratic surface: `[height, width, 6]`."""
    y, x = np.meshgrid(
        np.linspace(-1, 1, height, dtype=np.float32),
        np.linspace(-1, 1, width, dtype=np.float32),
        indexing="ij",
    )
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)


def rim(mask: NDArray[np.bool_], pixels: int = 1) -> NDArray[np.bool_]:
    """Return all pixels within this distance of the outside of `mask` or the picture."""
    outside = dilate(np.pad(~mask, 1, constant_values=True), pixels)
    return outside[1:-1, 1:-1]
