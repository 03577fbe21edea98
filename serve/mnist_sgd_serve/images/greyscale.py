"""From the pixels of a decoded image, of any mode, to grey bytes.

Colours become grey as `colour` says, samples of more than 8 bits become bytes as `depth` says, and
what is transparent becomes the paper that `transparency` finds.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.bit_depth import DEEP, LEAST_LEVELS, deep_grey
from mnist_sgd_serve.images.colour import LOOKED_AT, choose_channel
from mnist_sgd_serve.images.errors import UnsupportedFormat
from mnist_sgd_serve.images.sample_format import SampleFormat
from mnist_sgd_serve.images.transparency import SOLID, find_backdrop

if TYPE_CHECKING:
    from PIL import Image

_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_PLAIN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")


def to_grey(image: "Image.Image", samples: SampleFormat) -> NDArray[np.uint8]:
    """Make grey bytes of a decoded image.

    Args:
        image: of Pillow, decoded, and fix_transparency by `samples.fix_transparency`.
        samples: of its file.

    Returns:
        uint8 `[height, width]`, 0 black and 255 white.

    Raises:
        UnsupportedFormat: it has a mode that is not read, or values that bytes cannot show.
        BlankImage: it is transparent everywhere.
    """
    if image.mode in DEEP:
        return deep_grey(image, samples)
    if image.mode in _ALPHA or (image.mode in _PLAIN and "transparency" in image.info):
        grey = _on_paper(image)
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


def _on_paper(image: "Image.Image") -> NDArray[np.uint8]:
    """Grey bytes of an image with transparent pixels, laid on its paper."""
    from PIL import Image

    drawn, alpha = _layers(image)
    if alpha.getextrema()[0] == 255:
        return np.asarray(drawn)
    paper = find_backdrop(np.asarray(drawn), np.asarray(alpha))
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
