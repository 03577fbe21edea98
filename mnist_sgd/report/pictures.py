"""Images, weights and occlusion maps as PNG files, one pixel per value."""

from base64 import b64encode
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FOR, AGAINST = (224, 104, 10), (20, 126, 196)
"""Orange and blue, visible on white and on black, for positive and negative evidence."""


def grey_png(image: NDArray[np.uint8]) -> bytes:
    """Encode an image, uint8 `[H, W]`."""
    return _png(Image.fromarray(image))


def signed_png(
    values: NDArray[np.floating], scale: float, under: NDArray[np.uint8] | None = None
) -> bytes:
    """Encode numbers as colours that become transparent near 0.

    Args:
        values: `[H, W]`; orange for positive values, blue for negative ones.
        scale: absolute value of the full colour, above 0.
        under: image, uint8 `[H, W]`, whose ink shows through in grey.
    """
    strength = np.clip(np.abs(values) / scale, 0, 1)
    colour = np.where(values[..., None] > 0, FOR, AGAINST).astype(float)
    alpha = strength
    if under is not None:
        grey = 0.45 * (under / 255) * (1 - strength)  # where the colour is weak
        alpha = strength + grey
        weight = np.divide(strength, alpha, out=np.zeros_like(alpha), where=alpha > 0)[..., None]
        colour = colour * weight + 128 * (1 - weight)
    pixels = np.concatenate([colour, 255 * alpha[..., None]], axis=2)
    return _png(Image.fromarray(np.rint(pixels).astype(np.uint8), "RGBA"))


def _png(image: Image.Image) -> bytes:
    content = BytesIO()
    image.save(content, "PNG", optimize=True)
    return content.getvalue()


def data_uri(png: bytes) -> str:
    """Encode a PNG file as a data URI."""
    return f"data:image/png;base64,{b64encode(png).decode()}"
