"""From the body of a POST to /predict to the model's input.

It runs in a process of its own, see `decoder`, which bounds time and memory of all steps together:
decompressing, parsing a form, decoding and preprocessing.
"""

from dataclasses import dataclass

from mnist_sgd_serve.http.compression import decompress
from mnist_sgd_serve.http.multipart import image_part
from mnist_sgd_serve.images.decode import decode
from mnist_sgd_serve.images.errors import BlankImage, ImageError, ImageTooLarge, UnsupportedFormat
from mnist_sgd_serve.images.preprocessing import Preprocessed, preprocess
from mnist_sgd_serve.protocol.errors import Kind, RequestError

_KINDS = {
    ImageTooLarge: Kind.TOO_LARGE,
    BlankImage: Kind.NO_INK,
    UnsupportedFormat: Kind.UNSUPPORTED,
}


@dataclass(frozen=True)
class PictureLimits:
    """Limits of one picture.

    Attributes:
        body: bytes of the body after decompression.
        pixels: width times height.
        memory: bytes of memory for decoding.
        seconds: of processor time.
    """

    body: int
    pixels: int
    memory: int
    seconds: float


def read_picture(
    body: bytes, encoding: str | None, content_type: str, preprocessing: str, limits: PictureLimits
) -> Preprocessed:
    """Decode a request body, as received, to the model's input.

    Raises:
        RequestError: the body is no usable picture; the message says what to do.
    """
    content = decompress(body, encoding, limit=limits.body)
    if content_type.lower().startswith("multipart/form-data"):
        content = image_part(content, content_type)
    held = 0 if content is body else len(body)  # the caller keeps the body
    try:
        grey = decode(
            content,
            max_pixels=limits.pixels,
            max_bytes=limits.body,
            max_memory=limits.memory - held,
            tiff=True,
            reduce=True,
        )
        return preprocess(grey, preprocessing)
    except ImageError as error:
        kind = _KINDS.get(type(error), Kind.BAD_REQUEST)
        raise RequestError(str(error), kind) from error
