"""Shading correction: how much darker, or lighter, each pixel is than the paper around it.

The paper is estimated by a morphological closing, which removes narrow dark structures, such as
strokes, and keeps the edges of shadows in place.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.digits.shapes import thickness

Picture = NDArray[np.uint8]

WIDEST = 1 / 6
"""Maximum width of a stroke, as a fraction of the picture's shorter side."""
PAPER = 200
"""The grey of corrected paper, below white because noise may be lighter."""
AS_DARK = 0.35
"""Greys count as equally dark if they differ by less than this fraction of the contrast."""


@dataclass(frozen=True)
class Shading:
    """A picture with dark ink, and its estimated paper.

    Attributes:
        grey: uint8 `[height, width]`, the picture, inverted if the ink is light.
        smooth: uint8 `[height, width]`, its mean over 3 x 3 pixels.
        paper: uint8 `[height, width]`, the grey of the paper.
        light: the ink is lighter than the paper.
    """

    grey: Picture
    smooth: Picture
    paper: Picture
    light: bool

    @classmethod
    def of(cls, grey: Picture, *, light: bool) -> "Shading":
        """Estimate the paper of a picture `[height, width]`; `light` if its ink is lighter."""
        from PIL import Image, ImageFilter

        width = max(3, round(WIDEST * min(grey.shape)))
        dark = 255 - grey if light else grey
        smooth = np.asarray(Image.fromarray(dark).filter(ImageFilter.BoxBlur(1)))
        # The border is extended as far as the closing reaches.
        padded = np.pad(smooth, width, mode="edge")
        closed = _erode(_dilate(padded, width), width)
        return cls(dark, smooth, closed[width:-width, width:-width], light)

    def corrected(self) -> Picture:
        """Divide the picture by its paper: uint8 `[height, width]`, dark ink on even paper."""
        dark, bright = self.grey, self.paper
        if self.light:
            dark, bright = 255 - self.paper, 255 - self.grey
        share = dark / np.maximum(bright, 1).astype(np.float32)
        return np.minimum(PAPER * share, 255).astype(np.uint8)

    def continues(self, mask: NDArray[np.bool_]) -> bool:
        """Whether the pixels of `mask` are as dark as those next to them: the edge of an object."""
        near = _erode(self.paper, 2 * round(thickness(mask)) + 1)
        next_to_it = np.subtract(near, self.smooth, dtype=np.int16)[mask]
        contrast = np.subtract(self.paper, self.smooth, dtype=np.int16)[mask]
        return bool(2 * np.count_nonzero(next_to_it < AS_DARK * contrast) > len(contrast))


def _erode(plane: Picture, width: int) -> Picture:
    """Erode: the minimum over `width` x `width` pixels around each."""
    return 255 - _dilate(255 - plane, width)


def _dilate(plane: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Dilate: the maximum over `width` x `width` pixels around each."""
    for axis in (0, 1):
        lines = np.moveaxis(plane, axis, 0)
        count = len(lines)
        highest = np.pad(lines, ((width // 2, width - 1 - width // 2), (0, 0)), mode="edge")
        reach = 1
        while reach < width:  # `highest` is the maximum of `reach` lines
            step = min(reach, width - reach)
            highest = np.maximum(highest[:-step], highest[step:])
            reach += step
        plane = np.moveaxis(highest[:count], 0, axis)
    return plane
