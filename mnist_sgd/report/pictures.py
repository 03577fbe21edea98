"""Pictures on a page: what the model sees, next to the original, as data URIs."""

import warnings
from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mnist_sgd_serve.images.decode import decode_own

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mnist_sgd.data import ImageSet
    from mnist_sgd.report.predictions import Predictions

FOR, AGAINST = (224, 104, 10), (20, 126, 196)
"""Orange and blue, visible on white and on black, for positive and negative evidence."""

SIDE = 160
"""Longer side of an original on a page, in pixels."""

_COLOURS = ("RGB", "RGBA", "P", "CMYK", "YCbCr")
"""Pillow's modes of pictures that are shown in colour; others are shown as they are read."""


@dataclass(frozen=True)
class Picture:
    """A picture with its prediction, for `macros.html` and for `mistakes.json`.

    Attributes:
        name: its file, relative to the folder of the data; or its number.
        actual: its class.
        predicted: the class that the model predicts.
        positive: whether that is the positive class.
        confidence: probability of the predicted class, as text.
        prepared: what the model sees, as a data URI.
        original: the picture file, as a data URI; "" if there is none.
        overlay: a map of what the model relies on, as a data URI; "" without.
        note: about the overlay.
    """

    name: str
    actual: str
    predicted: str
    positive: bool
    confidence: str
    prepared: str
    original: str = ""
    overlay: str = ""
    note: str = ""

    @property
    def is_right(self) -> bool:
        """Whether it is classified correctly."""
        return self.actual == self.predicted


def pictures(
    predictions: "Predictions", chosen: "Iterable[int]", originals: int = 0
) -> list[Picture]:
    """Make pictures of images of a set.

    Args:
        predictions: of the set.
        chosen: indices in the set.
        originals: how many of the first get their originals, which must be decoded.
    """
    return [
        picture(predictions, index, with_original=place < originals)
        for place, index in enumerate(chosen)
    ]


def picture(
    predictions: "Predictions",
    index: int,
    overlay: str = "",
    note: str = "",
    *,
    with_original: bool = False,
) -> Picture:
    """Make a picture of an image of a set; see `Picture` for the arguments."""
    data, is_positive = predictions.dataset, bool(predictions.predicted[index])
    probability = float(predictions.probabilities[index])
    return Picture(
        name=name_of(data, index),
        actual=data.classes[int(data.labels[index])],
        predicted=data.classes[is_positive],
        positive=is_positive,
        confidence=percent(probability if is_positive else 1 - probability),
        prepared=data_uri(grey_png(data.images[index])),
        original=_original(data, index) if with_original else "",
        overlay=overlay,
        note=note,
    )


def name_of(data: "ImageSet", index: int) -> str:
    """The file of an image; or its number, from 0, in the file or the set that it is from."""
    return data.files[index] if data.files else f"no. {data.row_of(index)[1]:,}"


def percent(probability: float) -> str:
    """Format a probability, never rounded to 0 or 1."""
    if probability > 0.999:
        return "over 99.9 %"
    return f"{100 * probability:.1f} %" if probability > 0.001 else "under 0.1 %"


def _original(data: "ImageSet", index: int) -> str:
    if not (data.files and data.folder):
        return ""
    jpeg = thumbnail(Path(data.folder) / data.files[index])
    return "" if jpeg is None else data_uri(jpeg, "jpeg")


def thumbnail(path: Path) -> bytes | None:
    """Shrink a picture file to a JPEG, upright, in colour if it has colours; None if unreadable."""
    try:
        content = path.read_bytes()
        small = _in_colour(content) or Image.fromarray(decode_own(content))
    except (OSError, ValueError):
        return None
    small.thumbnail((SIDE, SIDE))
    out = BytesIO()
    small.save(out, "JPEG", quality=85)
    return out.getvalue()


def _in_colour(content: bytes) -> Image.Image | None:
    """Decode a picture that has colours, on white where it is transparent; None for others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(BytesIO(content)) as opened:
                if opened.mode not in _COLOURS:
                    return None
                opened.draft("RGB", (2 * SIDE, 2 * SIDE))
                upright = ImageOps.exif_transpose(opened)
                upright.thumbnail((2 * SIDE, 2 * SIDE))
                rgba = upright.convert("RGBA")
        except Exception:  # the package's own decoder reads more, and says what is wrong
            return None
    paper = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(paper, rgba).convert("RGB")


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


def data_uri(content: bytes, kind: str = "png") -> str:
    """Encode a picture file as a data URI."""
    return f"data:image/{kind};base64,{b64encode(content).decode()}"
