"""Convert a decoded image of any mode to 8-bit greyscale.

Colours become ITU-R BT.601 luma. But in luma, yellow ink on white paper, blue on black or red on
green is nearly invisible: such a picture is represented by the one of its red, green and blue
channels that has the most contrast. Contrast is measured within squares of an eighth of the
picture, so that a gradual change of light across it does not count. Deeper samples become bytes as
in `bit_depth`, and transparent pixels become the backdrop that `transparency` finds.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.bit_depth import DEEP, LEAST_LEVELS, deep_grey
from mnist_sgd_serve.images.errors import UnsupportedFormat
from mnist_sgd_serve.images.sample_format import SampleFormat
from mnist_sgd_serve.images.transparency import SOLID, find_backdrop

if TYPE_CHECKING:
    from PIL import Image

CONTRAST_SIDE = 128
"""The longer side of the picture is averaged down to at most this to measure contrast."""

_SQUARE = 16

_LOW_CONTRAST = 48
"""Luma is used where it has at least this contrast, in grey levels."""

_CLEAR = 32
"""A channel is used only with at least this contrast, and twice that of luma: less may be noise."""

_LUMA = np.array([299, 587, 114]) / 1000
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_PLAIN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")


def to_grey(image: "Image.Image", samples: SampleFormat) -> NDArray[np.uint8]:
    """Convert a decoded image to 8-bit greyscale.

    Args:
        image: a Pillow image, decoded, after `fix_transparency`.
        samples: the sample format of its file.

    Returns:
        uint8 `[height, width]`, 0 black and 255 white.

    Raises:
        UnsupportedFormat: the mode is unsupported, or 8 bits cannot represent the values.
        BlankImage: the image is fully transparent.
    """
    if image.mode in DEEP:
        return deep_grey(image, samples)
    if image.mode in _ALPHA or (image.mode in _PLAIN and "transparency" in image.info):
        grey = _on_backdrop(image)
    elif image.mode in _PLAIN:
        grey = _plain_grey(image)
    else:
        raise UnsupportedFormat(f"an image of mode {image.mode} cannot be read: convert it to RGB")
    if samples.bits is not None and samples.bits > 8:
        _check_levels(grey, samples.bits)
    return grey ^ np.uint8(0x80) if samples.signed else grey


def _plain_grey(image: "Image.Image") -> NDArray[np.uint8]:
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    colours = image.convert("RGB")
    channel = _choose_channel(np.asarray(_averaged(colours)))
    return np.asarray(colours.convert("L") if channel == "L" else colours.getchannel(channel))


def _averaged(image: "Image.Image") -> "Image.Image":
    return image.reduce(-(-max(image.size) // CONTRAST_SIDE))


def _check_levels(grey: NDArray[np.uint8], bits: int) -> None:
    """Reject deep colours whose upper 8 bits, all that Pillow keeps, have almost no contrast.

    A picture of one level is rejected later, as blank.
    """
    levels = int(grey.max()) - int(grey.min())
    if 0 < levels < LEAST_LEVELS // 4:
        raise UnsupportedFormat(
            f"the image has {bits} bits a channel and uses {levels + 1} of their 256 upper levels: "
            "stretch its contrast, or save it in grey"
        )


def _on_backdrop(image: "Image.Image") -> NDArray[np.uint8]:
    """Composite an image with transparent pixels onto its backdrop, in grey."""
    from PIL import Image

    drawn, alpha = _layers(image)
    if alpha.getextrema()[0] == 255:
        return np.asarray(drawn)
    backdrop = find_backdrop(np.asarray(drawn), np.asarray(alpha))
    return np.asarray(Image.composite(drawn, Image.new("L", image.size, backdrop), alpha))


def _layers(image: "Image.Image") -> "tuple[Image.Image, Image.Image]":
    """Split an image into grey and alpha."""
    if image.mode in ("1", "L", "LA", "La"):
        grey_and_alpha = image.convert("LA")
        return grey_and_alpha.getchannel("L"), grey_and_alpha.getchannel("A")
    colours = image.convert("RGBA")
    small = np.array(_averaged(colours))
    solid = small[..., 3] >= SOLID * small[..., 3].max()
    small[~solid] = np.median(small[solid], axis=0)  # invisible colours must not add contrast
    channel = _choose_channel(small[..., :3])
    drawn = colours.convert("L") if channel == "L" else colours.getchannel(channel)
    return drawn, colours.getchannel("A")


def _choose_channel(colours: NDArray[np.uint8]) -> Literal["L", "R", "G", "B"]:
    """Choose the channel with enough contrast, by its name in Pillow; "L" is luma.

    Args:
        colours: uint8 `[height, width, 3]`, RGB, averaged down to `CONTRAST_SIDE`.
    """
    luma = _contrast(colours @ _LUMA)
    if luma < _LOW_CONTRAST:
        contrasts = [_contrast(colours[..., place].astype(float)) for place in range(3)]
        most = max(contrasts)
        if most >= max(_CLEAR, 2 * luma):
            return ("R", "G", "B")[contrasts.index(most)]
    return "L"


def _contrast(band: NDArray[np.float64]) -> float:
    """Return the largest range of values within one of the squares."""
    missing = [(0, -side % _SQUARE) for side in band.shape]
    rows, columns = (side // _SQUARE for side in np.add(band.shape, np.sum(missing, 1)))
    squares = np.pad(band, missing, "edge").reshape(rows, _SQUARE, columns, _SQUARE)
    return float(np.ptp(squares, axis=(1, 3)).max())
