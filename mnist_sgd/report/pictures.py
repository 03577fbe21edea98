"""Images, weights and maps as PNG, one pixel for each of theirs; who shows them scales them."""

from base64 import b64encode
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["data_uri", "grey_png", "signed_png"]

FOR, AGAINST = (224, 104, 10), (20, 126, 196)
"""An orange and a blue that read on white and on black, for what speaks for and against."""


def grey_png(image: NDArray[np.uint8]) -> bytes:
    """An image, uint8 `[H, W]`, as it is: light ink on dark paper."""
    return _png(Image.fromarray(image))


def signed_png(
    values: NDArray[np.floating], scale: float, under: NDArray[np.uint8] | None = None
) -> bytes:
    """Numbers as colours that fade into the paper, whatever its own colour, where they are near 0.

    Args:
        values: `[H, W]`; orange where above 0, blue where below.
        scale: the absolute value of full colour, above 0.
        under: an image uint8 `[H, W]` whose ink shows through in grey.
    """
    strength = np.clip(np.abs(values) / scale, 0, 1)
    colour = np.where(values[..., None] > 0, FOR, AGAINST).astype(float)
    alpha = strength
    if under is not None:
        grey = 0.45 * (under / 255) * (1 - strength)  # how much of the ink the colour leaves
        alpha = strength + grey
        share = np.divide(strength, alpha, out=np.zeros_like(alpha), where=alpha > 0)[..., None]
        colour = colour * share + 128 * (1 - share)
    pixels = np.concatenate([colour, 255 * alpha[..., None]], axis=2)
    return _png(Image.fromarray(np.rint(pixels).astype(np.uint8), "RGBA"))


def _png(image: Image.Image) -> bytes:
    content = BytesIO()
    image.save(content, "PNG", optimize=True)
    return content.getvalue()


def data_uri(png: bytes) -> str:
    """The picture as an address that holds it."""
    return f"data:image/png;base64,{b64encode(png).decode()}"
