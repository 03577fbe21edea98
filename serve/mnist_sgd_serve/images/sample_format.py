"""What the samples of a file mean, beyond what Pillow says of them."""

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from PIL import Image

_BITS, _PHOTOMETRIC, _FORMAT = 258, 262, 339
_MIN_IS_WHITE, _SIGNED = 0, 2
"""Tags of TIFF 6.0, and some of their values."""


class SampleFormat(NamedTuple):
    """What the samples of an image's file are.

    Attributes:
        bits: of each; None if not known.
        signed: they are signed integers.
        min_is_white: the least is white, and Pillow has not inverted those of more than 8 bits.
    """

    bits: int | None = None
    signed: bool = False
    min_is_white: bool = False


def read_sample_format(image: "Image.Image") -> SampleFormat:
    """Find what the samples are, of an image that was opened and is not decoded yet."""
    bits = _tag(image, _BITS)
    if bits is None:
        tile = getattr(image, "tile", None)
        depth = re.search(r";(\d+)", str(tile[0][3])) if tile else None  # as in "RGB;16B"
        bits = int(depth[1]) if depth else None
    signed = _tag(image, _FORMAT) == _SIGNED
    return SampleFormat(bits, signed, _tag(image, _PHOTOMETRIC) == _MIN_IS_WHITE)


def _tag(image: "Image.Image", number: int) -> int | None:
    """The first value of a tag of an image that was read from a TIFF."""
    value: Any = getattr(image, "tag_v2", {}).get(number)
    first = next(iter(value), None) if isinstance(value, tuple) else value
    return first if isinstance(first, int) else None


def fix_transparency(
    image: "Image.Image", samples: SampleFormat, *, in_place: bool
) -> "Image.Image":
    """The image with its transparency as the file means it.

    Pillow leaves the transparent colour of a PNG in 2 or 4 bits of grey, or in 16 bits a channel,
    where its pixels have become bytes. And programs leave the alpha of a BMP 0, which means none.

    Args:
        image: decoded.
        samples: of its file.
        in_place: change `image`, which may be too large to be copied.

    Returns:
        `image` itself, or where something is fix_transparency and must not be in place, a copy.
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
