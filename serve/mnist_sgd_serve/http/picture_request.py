"""From the body of a POST to /predict to the model's image: all that a stranger's picture costs.

It runs in a process of its own, see `decoder`: unpacking, taking the file out of a form, decoding
and preprocessing are bounded there in time and memory, all together.
"""

from dataclasses import dataclass

from mnist_sgd_serve.http.compression import decompress
from mnist_sgd_serve.http.multipart import image_part
from mnist_sgd_serve.images.decode import decode
from mnist_sgd_serve.images.errors import BlankImage, ImageError, ImageTooLarge, UnsupportedFormat
from mnist_sgd_serve.images.preprocessing import Preprocessed, preprocess
from mnist_sgd_serve.protocol.errors import RequestError

__all__ = ["PictureLimits", "read_picture"]

_STATUS = {
    ImageTooLarge: (413, "too_large"),
    BlankImage: (422, "no_ink"),
    UnsupportedFormat: (415, "unsupported"),
}


@dataclass(frozen=True)
class PictureLimits:
    """What a picture may have and cost.

    Attributes:
        body: bytes of the body, unpacked.
        pixels: width times height.
        memory: bytes that it may take to read it.
        seconds: of processor time.
    """

    body: int
    pixels: int
    memory: int
    seconds: float


def read_picture(
    body: bytes, encoding: str | None, content_type: str, preprocessing: str, limits: PictureLimits
) -> Preprocessed:
    """Make a model's image of a body.

    Args:
        body: as received.
        encoding: the value of Content-Encoding, if there is one.
        content_type: the value of Content-Type.
        preprocessing: that the model's artifact names.
        limits: of the picture; the time is for others to watch.

    Raises:
        RequestError: the body gives no image; the status says whose fault it is, and the message
            what to do.
    """
    content = decompress(body, encoding, limit=limits.body)
    if content_type.lower().startswith("multipart/form-data"):
        content = image_part(content, content_type)
    # The caller still holds what was received.
    held = 0 if content is body else len(body)
    try:
        grey = decode(
            content,
            max_pixels=limits.pixels,
            max_bytes=limits.body,
            max_memory=limits.memory - held,
            reduce=True,
        )
        return preprocess(grey, preprocessing)
    except ImageError as error:
        status, reason = _STATUS.get(type(error), (400, "bad_image"))
        raise RequestError(status, reason, str(error)) from error
