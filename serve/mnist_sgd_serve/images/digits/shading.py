"""A picture without its shadows: how much darker, or lighter, each pixel is than its paper.

The paper is what remains of a picture after a morphological closing, which removes whatever is
narrow and dark, or light, and leaves the edge of a shadow where it is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.digits.shapes import thickness

Picture = NDArray[np.uint8]

WIDEST = 1 / 6
"""What is narrower than this share of the picture's shorter side may be a stroke."""
PAPER = 200
"""The grey that paper gets: noise can be lighter."""
AS_DARK = 0.35
"""Something is as dark as ink if it differs from it by less than this share of the contrast."""


@dataclass(frozen=True)
class Shading:
    """A picture and its paper, as if the ink were darker.

    Attributes:
        grey: uint8 `[height, width]`, of the picture; its negative, if the ink is light.
        smooth: the same, each pixel the mean of 3 x 3.
        paper: uint8 `[height, width]`.
        light: the ink is lighter than the paper.
    """

    grey: Picture
    smooth: Picture
    paper: Picture
    light: bool

    @classmethod
    def of(cls, grey: Picture, *, light: bool) -> "Shading":
        """Find the paper of a picture.

        Args:
            grey: uint8 `[height, width]`.
            light: the ink is lighter than the paper.
        """
        from PIL import Image, ImageFilter

        width = max(3, round(WIDEST * min(grey.shape)))
        dark = 255 - grey if light else grey
        smooth = np.asarray(Image.fromarray(dark).filter(ImageFilter.BoxBlur(1)))
        # Beyond the border there is as much paper as the closing needs.
        padded = np.pad(smooth, width, mode="edge")
        closed = _erode(_dilate(padded, width), width)
        return cls(dark, smooth, closed[width:-width, width:-width], light)

    def corrected(self) -> Picture:
        """Compare each pixel with its paper: uint8 `[height, width]`, dark ink on even paper."""
        dark, bright = self.grey, self.paper
        if self.light:
            dark, bright = 255 - self.paper, 255 - self.grey
        share = dark / np.maximum(bright, 1).astype(np.float32)
        return np.minimum(PAPER * share, 255).astype(np.uint8)

    def continues(self, mask: NDArray[np.bool_]) -> bool:
        """Whether ink is the edge of something wide: as dark as what is next to it.

        Args:
            mask: bool `[height, width]`, the ink.
        """
        near = _erode(self.paper, 2 * round(thickness(mask)) + 1)
        next_to_it = np.subtract(near, self.smooth, dtype=np.int16)[mask]
        contrast = np.subtract(self.paper, self.smooth, dtype=np.int16)[mask]
        return bool(2 * np.count_nonzero(next_to_it < AS_DARK * contrast) > len(contrast))


def _erode(plane: Picture, width: int) -> Picture:
    """Give the minimum over `width` x `width` pixels around each."""
    return 255 - _dilate(255 - plane, width)


def _dilate(plane: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Give the maximum over `width` x `width` pixels around each."""
    for axis in (0, 1):
        lines = np.moveaxis(plane, axis, 0)
        count = len(lines)
        highest = np.pad(lines, ((width // 2, width - 1 - width // 2), (0, 0)), mode="edge")
        reach = 1
        while reach < width:  # of `reach` lines from each on, `highest` is the maximum
            step = min(reach, width - reach)
            highest = np.maximum(highest[:-step], highest[step:])
            reach += step
        plane = np.moveaxis(highest[:count], 0, axis)
    return plane
