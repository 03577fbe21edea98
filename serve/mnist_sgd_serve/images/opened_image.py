"""Images that a caller has opened with Pillow, read as their files are.

What Pillow has not decoded yet is decoded as `images` would; what it has decoded stays as it is.
"""

from io import BytesIO
from typing import TYPE_CHECKING

from mnist_sgd_serve.images.bmp_runs import unpack_runs

if TYPE_CHECKING:
    from PIL import Image


def file_content(image: "Image.Image") -> bytes:
    """The file of an image whose first frame Pillow has opened and not decoded; else nothing."""
    file = getattr(image, "fp", None)
    if not getattr(image, "tile", None) or file is None or image.tell():
        return b""
    at = file.tell()
    file.seek(0)
    content: bytes = file.read()
    file.seek(at)
    return content


def reopened(image: "Image.Image", content: bytes) -> "Image.Image":
    """An image that Pillow has opened so that it is decoded rightly, or itself."""
    if image.format == "TIFF" and getattr(image, "tile", None):
        from mnist_sgd_serve.images.tiff import open_given

        return open_given(image, content)
    if image.format == "BMP" and content:
        image = type(image)(BytesIO(content))  # type: ignore[call-arg]
        unpack_runs(image, content)
    return image
