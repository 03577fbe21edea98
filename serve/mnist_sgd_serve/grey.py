"""From the pixels of a decoded image, of any mode, to grey bytes.

Colours become grey as `colour` says, samples of more than 8 bits become bytes as `depth` says, and
what is transparent becomes the paper that `transparency` finds.
"""

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.colour import LOOKED_AT, choose_channel
from mnist_sgd_serve.depth import LEAST_LEVELS, to_bytes
from mnist_sgd_serve.image_errors import UnsupportedFormat
from mnist_sgd_serve.transparency import SOLID, find_paper_under

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["sample_bits", "to_grey"]

_DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_PLAIN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")

_BITS, _PHOTOMETRIC, _FORMAT = 258, 262, 339
_MIN_IS_WHITE, _SIGNED = 0, 2
"""Tags of TIFF 6.0, and some of their values."""


def sample_bits(image: "Image.Image") -> int | None:
    """The bits of a sample in the file of an image that is not decoded yet; None if not known."""
    bits = _tag(image, _BITS)
    if bits is not None:
        return bits
    tile = getattr(image, "tile", None)
    depth = re.search(r";(\d+)", str(tile[0][3])) if tile else None  # as in "RGB;16B"
    return int(depth[1]) if depth else None


def to_grey(image: "Image.Image", bits: int | None = None) -> NDArray[np.uint8]:
    """Make grey bytes of a decoded image.

    Args:
        image: of Pillow, decoded.
        bits: of a sample in its file, if that is known.

    Returns:
        uint8 `[height, width]`, 0 black and 255 white.

    Raises:
        UnsupportedFormat: it has a mode that is not read, or values that bytes cannot show.
        NoInk: it is transparent everywhere.
    """
    if image.mode in _DEEP:
        return _deep_grey(image, bits)
    if image.mode in _ALPHA or (image.mode in _PLAIN and "transparency" in image.info):
        grey = _on_paper(image, bits)
    elif image.mode in _PLAIN:
        grey = _plain_grey(image)
    else:
        raise UnsupportedFormat(f"an image of mode {image.mode} cannot be read: convert it to RGB")
    if bits is not None and bits > 8:
        _check_levels(grey, bits)
    return grey ^ np.uint8(0x80) if _tag(image, _FORMAT) == _SIGNED else grey


def _tag(image: "Image.Image", number: int) -> int | None:
    """The first value of a tag of an image that was read from a TIFF."""
    value = getattr(image, "tag_v2", {}).get(number)
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, int) else None


def _plain_grey(image: "Image.Image") -> NDArray[np.uint8]:
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    colours = image.convert("RGB")
    channel = choose_channel(np.asarray(_averaged(colours)))
    return np.asarray(colours.convert("L") if channel == "L" else colours.getchannel(channel))


def _averaged(image: "Image.Image") -> "Image.Image":
    return image.reduce(-(-max(image.size) // LOOKED_AT))


def _check_levels(grey: NDArray[np.uint8], bits: int) -> None:
    """Refuse deep colours of which the upper 8 bits, all that Pillow gives, show next to nothing.

    A blank picture has one level, and is told later that it is blank.
    """
    levels = int(grey.max()) - int(grey.min())
    if 0 < levels < LEAST_LEVELS // 4:
        raise UnsupportedFormat(
            f"the image has {bits} bits a channel and uses {levels + 1} of their 256 upper levels: "
            "stretch its contrast, or save it in grey"
        )


def _deep_grey(image: "Image.Image", bits: int | None) -> NDArray[np.uint8]:
    """Bytes of samples with more bits, one value of which may stand for what is transparent."""
    values: NDArray[Any] = np.asarray(image)
    signed = _tag(image, _FORMAT) == _SIGNED
    if image.mode == "I" and bits == 32 and not signed:
        values = values.view(np.uint32)  # for which Pillow has no mode
    key = image.info.get("transparency")
    clear = values == key if isinstance(key, int) else np.zeros((), np.bool_)
    if clear.any():
        values = np.where(clear, values[~clear].max(initial=0), values)
    grey = to_bytes(values, bits - 1 if bits and signed else bits)
    if _tag(image, _PHOTOMETRIC) == _MIN_IS_WHITE:
        grey = ~grey
    if clear.any():
        grey[clear] = find_paper_under(grey, np.where(clear, 0, 255).astype(np.uint8))
    return grey


def _on_paper(image: "Image.Image", bits: int | None) -> NDArray[np.uint8]:
    """Grey bytes of an image with transparent pixels, laid on its paper."""
    from PIL import Image

    drawn, alpha = _layers(_with_scaled_key(image, bits))
    least, most = alpha.getextrema()
    if least == 255 or (most == 0 and image.format == "BMP"):  # programs leave that byte empty
        return np.asarray(drawn)
    paper = find_paper_under(np.asarray(drawn), np.asarray(alpha))
    return np.asarray(Image.composite(drawn, Image.new("L", image.size, paper), alpha))


def _layers(image: "Image.Image") -> "tuple[Image.Image, Image.Image]":
    """The grey and the alpha of an image."""
    if image.mode in ("1", "L", "LA", "La"):
        grey_and_alpha = image.convert("LA")
        return grey_and_alpha.getchannel("L"), grey_and_alpha.getchannel("A")
    colours = image.convert("RGBA")
    small = np.array(_averaged(colours))
    solid = small[..., 3] >= SOLID * small[..., 3].max()
    small[~solid] = np.median(small[solid], axis=0)  # a colour that nobody sees has no contrast
    channel = choose_channel(small[..., :3])
    drawn = colours.convert("L") if channel == "L" else colours.getchannel(channel)
    return drawn, colours.getchannel("A")


def _with_scaled_key(image: "Image.Image", bits: int | None) -> "Image.Image":
    """The image with its transparent colour in bytes, like its pixels.

    Pillow leaves it as a PNG has it: in 2 or 4 bits of grey, or in 16 bits a colour.
    """
    key = image.info.get("transparency")
    if bits in (2, 4) and image.mode == "L" and isinstance(key, int):
        scaled: Any = key * 255 // (2**bits - 1)
    elif bits == 16 and image.mode == "RGB" and isinstance(key, tuple):
        scaled = tuple(value >> 8 for value in key)
    else:
        return image
    image = image.copy()
    image.info["transparency"] = scaled
    return image
