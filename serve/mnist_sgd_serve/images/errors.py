"""Why a picture gives no answer: a class for each kind, so that a server can give it a status."""


class ImageError(ValueError):
    """A picture that gives no answer; the message is one line in plain words."""


class NotAnImage(ImageError):  # noqa: N818  (these four say all without "Error")
    """Not an image, or a damaged one. HTTP: 400."""


class UnsupportedFormat(ImageError):  # noqa: N818  (as above)
    """An image, of a format or a kind that is not read. HTTP: 415."""


class ImageTooLarge(ImageError):  # noqa: N818  (as above)
    """More pixels or bytes than are allowed. HTTP: 413."""


class BlankImage(ImageError):  # noqa: N818  (as above)
    """Nothing is drawn on it. HTTP: 422."""
