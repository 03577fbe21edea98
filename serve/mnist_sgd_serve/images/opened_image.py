"""Images that the caller has opened with Pillow but not yet decoded.

They are decoded like files, with this package's corrections; decoded images stay as they are.
"""

from io import BytesIO
from typing import TYPE_CHECKING

from mnist_sgd_serve.images.bmp_runs import unpack_runs

if TYPE_CHECKING:
    from PIL import Image


def file_content(image: "Image.Image") -> bytes:
    """Return the file of an image whose first frame is opened but not decoded; else b""."""
    file = getattr(image, "fp", None)
    if not getattr(image, "tile", None) or file is None or image.tell():
        return b""
    at = file.tell()
    file.seek(0)
    content: bytes = file.read()
    file.seek(at)
    return content


def reopened(image: "Image.Image", content: bytes) -> "Image.Image":
    """Reopen an image where Pillow alone would decode it wrongly; else return it unchanged."""
    if image.format == "TIFF" and getattr(image, "tile", None):
        from mnist_sgd_serve.images.tiff import open_opened

        return open_opened(image, content)
    if image.format == "BMP" and content:
        image = type(image)(BytesIO(content))  # type: ignore[call-arg]
        unpack_runs(image, content)
    return image
