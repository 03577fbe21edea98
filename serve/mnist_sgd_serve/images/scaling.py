"""Makes large pictures small while they are read, so that what follows costs little.

Every kind of preprocessing begins by averaging a picture down to `LONGEST_SIDE`. Here the same is
done before the colours become grey: a JPEG is decoded at a half, a quarter or an eighth of its
size, which its format allows, and any other picture is averaged tile by tile, so that no second
copy of it is made. A photograph of 48 megapixels takes 6 MB and 0.2 s this way.
"""

from itertools import product
from typing import TYPE_CHECKING

from mnist_sgd_serve.images.pixels import LONGEST_SIDE

if TYPE_CHECKING:
    from PIL import Image

LEAST_FACTOR = 4
"""A JPEG that is to become smaller than by this factor is decoded whole: that costs little."""

LOST = 1.25
"""A JPEG read at a half, a quarter or an eighth may end so many times smaller than asked for."""

TILE_PIXELS = 2**20
"""Of what is averaged at once, as far as it goes."""

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
"""The modes whose values mean nothing when they are averaged, or that Pillow cannot average, and
what to make of them first."""


def draft(image: "Image.Image") -> None:
    """Have an opened JPEG decoded at a fraction of its size if it is large.

    Args:
        image: of `PIL.JpegImagePlugin`, with no pixel decoded yet; it is changed.
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
        image: of any mode; it is not changed.

    Returns:
        `image` itself where it is small; else a picture of the same mode, or of the simplest one
        that has the same values: RGB for a palette, RGBA where a colour is transparent.
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
    """How many pixels of a side become one."""
    return -(-max(image.size) // LONGEST_SIDE)


def _whole_blocks(most: int, factor: int) -> int:
    """The largest multiple of a factor up to a number, but at least one."""
    return max(1, most // factor) * factor
