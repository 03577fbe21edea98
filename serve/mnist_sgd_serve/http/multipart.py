"""Extracts the image of an HTML form, multipart/form-data, in linear time.

Source: RFC 7578, and RFC 2046, section 5.1, for boundaries.
"""

import logging

from python_multipart.multipart import MultipartParser, parse_options_header

from mnist_sgd_serve.protocol.errors import Kind, RequestError, quoted

_NAMES = (b"image", b"file")
_MAX_BOUNDARY = 70

_QUIET = logging.Logger(__name__, logging.CRITICAL)
"""Silences the parser, which would log a line for each malformed body."""


def image_part(body: bytes, content_type: str, *, max_parts: int = 16) -> bytes:
    """Return the content of the first part that is a file, or is named `image` or `file`.

    Args:
        body: of the request.
        content_type: the value of its header Content-Type.
        max_parts: the most parts.

    Raises:
        RequestError: there are more parts, the content type is another, or the body is malformed,
            cut short, or has no such part.
    """
    boundary = _boundary(content_type)
    delimiter = b"\r\n--" + boundary
    parts = body.count(delimiter) + body.startswith(delimiter[2:]) - 1
    if parts > max_parts:  # counted before the parser spends time on each
        raise RequestError(
            f"the form has {parts} parts, at most {max_parts} are allowed", Kind.TOO_LARGE
        )
    # Blanks after a boundary, which no sender may write, cost the parser much time.
    if delimiter + b" " in body or delimiter + b"\t" in body:
        raise RequestError("the form has blanks after a boundary")
    image = _parse(body, boundary).image
    if image is None:
        raise RequestError(
            "the form has no file: send the image as a file, or a part named 'image'"
        )
    return image


def _parse(body: bytes, boundary: bytes) -> "_Form":
    form = _Form()
    try:
        parser = form.parser(boundary)
        parser.write(body)
    except ValueError as error:
        raise RequestError(f"the form is malformed: {error}") from error
    if not form.ended:
        raise RequestError("the form is cut short: its last boundary is missing")
    return form


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type.encode("latin-1", "replace"))
    if kind.lower() != b"multipart/form-data":
        raise RequestError(
            f"Content-Type must be multipart/form-data, got {quoted(content_type)}",
            Kind.UNSUPPORTED,
        )
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= _MAX_BOUNDARY:
        raise RequestError(
            f"Content-Type must have a boundary of 1 to {_MAX_BOUNDARY} characters, "
            f"got {quoted(content_type)}"
        )
    return boundary


class _Form:
    """The parser's callbacks; they set `image`, if a part has it, and `ended`."""

    def __init__(self) -> None:
        self.image: bytes | None = None
        self.ended = False
        self._name = self._value = b""
        self._wanted = False
        self._content: list[bytes] = []

    def parser(self, boundary: bytes) -> MultipartParser:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_to_name,
                "on_header_value": self._add_to_value,
                "on_header_end": self._end_header,
                "on_part_data": self._add_content,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )
        parser.logger = _QUIET
        return parser

    def _begin_part(self) -> None:
        self._wanted = False

    def _add_to_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._name.lower() == b"content-disposition" and self.image is None:
            _, options = parse_options_header(self._value)
            self._wanted = b"filename" in options or options.get(b"name") in _NAMES
        self._name = self._value = b""

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        if self._wanted:
            self._content.append(data[start:end])

    def _end_part(self) -> None:
        if self._wanted:
            self.image = b"".join(self._content)

    def _end(self) -> None:
        self.ended = True
