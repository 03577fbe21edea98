"""The sample format of an image file, and transparency as the file means it."""

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from PIL import Image

_BITS, _PHOTOMETRIC, _FORMAT = 258, 262, 339
_MIN_IS_WHITE, _SIGNED = 0, 2
"""TIFF 6.0 tags and values."""


class SampleFormat(NamedTuple):
    """The sample format of an image file.

    Attributes:
        bits: bit depth; None if unknown.
        signed: samples are signed integers.
        min_is_white: 0 is white, and Pillow has not inverted samples of more than 8 bits.
    """

    bits: int | None = None
    signed: bool = False
    min_is_white: bool = False


def read_sample_format(image: "Image.Image") -> SampleFormat:
    """Read the sample format of an image that is opened but not yet decoded."""
    bits = _tag(image, _BITS)
    if bits is None:
        tile = getattr(image, "tile", None)
        depth = re.search(r";(\d+)", str(tile[0][3])) if tile else None  # as in "RGB;16B"
        bits = int(depth[1]) if depth else None
    signed = _tag(image, _FORMAT) == _SIGNED
    return SampleFormat(bits, signed, _tag(image, _PHOTOMETRIC) == _MIN_IS_WHITE)


def _tag(image: "Image.Image", number: int) -> int | None:
    """Return the first value of a TIFF tag, if the image has it and it is an integer."""
    value: Any = getattr(image, "tag_v2", {}).get(number)
    first = next(iter(value), None) if isinstance(value, tuple) else value
    return first if isinstance(first, int) else None


def fix_transparency(
    image: "Image.Image", samples: SampleFormat, *, in_place: bool
) -> "Image.Image":
    """Correct the transparent colour or the alpha channel of a decoded image.

    Pillow converts the samples of a 2-, 4- or 16-bit PNG to bytes, but not its transparent colour.
    Many programs write BMPs with an alpha channel of zeros, which means opaque.

    Args:
        image: decoded.
        samples: the sample format of its file.
        in_place: change `image`, which may be too large to copy.

    Returns:
        `image` itself, or a copy if it needs a correction that must not be made in place.
    """
    if image.format == "BMP" and image.mode == "RGBA" and not image.getchannel("A").getbbox():
        return image.convert("RGB")
    key = image.info.get("transparency")
    if samples.bits in (2, 4) and image.mode == "L" and isinstance(key, int):
        scaled: Any = key * 255 // (2**samples.bits - 1)
    elif samples.bits == 16 and image.mode == "RGB" and isinstance(key, tuple):
        scaled = tuple(value >> 8 for value in key)
    else:
        return image
    if not in_place:
        image = image.copy()
    image.info["transparency"] = scaled
    return image
