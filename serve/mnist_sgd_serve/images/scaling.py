"""Downscale large pictures while they are decoded, to save time and memory.

Every kind of preprocessing begins by averaging a picture down to `LONGEST_SIDE`. Here this happens
before colours become grey: a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, as its format allows,
and any other picture is averaged tile by tile, so that no second copy of it is made.
"""

from itertools import product
from typing import TYPE_CHECKING

from mnist_sgd_serve.images.pixels import LONGEST_SIDE

if TYPE_CHECKING:
    from PIL import Image

LEAST_FACTOR = 4
"""A JPEG that needs a smaller reduction factor is decoded at full size: that costs little."""

LOST = 1.25
"""A JPEG decoded at a fraction of its size may end up this much smaller than requested."""

TILE_PIXELS = 2**20
"""Approximate number of pixels averaged at once."""

_AVERAGED = {
    "1": "L",
    "P": "RGB",
    "PA": "RGBA",
    "CMYK": "RGB",
    "YCbCr": "RGB",
    "LAB": "RGB",
    "HSV": "RGB",
    "RGBX": "RGB",
    "I;16": "I",
    "I;16L": "I",
    "I;16B": "I",
    "I;16N": "I",
}
"""Modes that must be converted before averaging, because Pillow cannot average them or averages of
their values are meaningless."""


def draft(image: "Image.Image") -> None:
    """Set a large JPEG to be decoded at a fraction of its size.

    Args:
        image: a `JpegImageFile`, not yet decoded; changed in place.
    """
    factor = _factor(image)
    if factor < LEAST_FACTOR:
        return
    for scale in (8, 4, 2):
        if scale * -(-factor // scale) <= LOST * factor:
            width, height = image.size
            image.draft(None, (max(1, width // scale), max(1, height // scale)))
            return


def reduced(image: "Image.Image") -> "Image.Image":
    """Average a decoded picture down until its longer side is at most `LONGEST_SIDE`.

    Args:
        image: of any mode; not changed.

    Returns:
        `image` itself if it is small; else a picture of the same mode, or of the simplest mode that
        can hold its averages: RGB for a palette, RGBA for a transparent colour.
    """
    factor = _factor(image)
    if factor == 1:
        return image
    from PIL import Image

    width, height = image.size
    clear = "transparency" in image.info and image.mode in ("1", "L", "P", "RGB")
    mode = "RGBA" if clear else _AVERAGED.get(image.mode, image.mode)
    size = -(-width // factor), -(-height // factor)
    small = Image.new(mode, size)
    across = _whole_blocks(TILE_PIXELS // min(factor, height), factor)
    down = _whole_blocks(TILE_PIXELS // min(across, width), factor)
    for top, left in product(range(0, height, down), range(0, width, across)):
        tile = image.crop((left, top, min(left + across, width), min(top + down, height)))
        if tile.mode != mode:
            tile = tile.convert(mode)
        small.paste(tile.reduce(factor), (left // factor, top // factor))
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N"):
        small = small.convert("I;16")
    small.info = {name: value for name, value in image.info.items() if name != "transparency"}
    small.format = image.format
    return small


def _factor(image: "Image.Image") -> int:
    """Return the reduction factor of each side."""
    return -(-max(image.size) // LONGEST_SIDE)


def _whole_blocks(most: int, factor: int) -> int:
    """Round down to a multiple of the factor, but not to 0."""
    return max(1, most // factor) * factor
