"""Errors of pictures, one class for each kind, so that a server can map them to status codes."""


class ImageError(ValueError):
    """A picture that cannot be used; the message is one line in plain words."""


class NotAnImage(ImageError):  # noqa: N818  (the name says all without "Error")
    """Not an image, or a damaged one. HTTP: 400."""


class UnsupportedFormat(ImageError):  # noqa: N818  (as above)
    """An image in an unsupported format or variant. HTTP: 415."""


class ImageTooLarge(ImageError):  # noqa: N818  (as above)
    """More pixels, bytes, memory or decoding time than allowed. HTTP: 413."""


class BlankImage(ImageError):  # noqa: N818  (as above)
    """Nothing recognisable is drawn on it. HTTP: 422."""
