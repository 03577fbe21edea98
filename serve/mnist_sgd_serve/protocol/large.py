"""Parses the pixels of a large JSON request piece by piece.

Parsing a whole document at once may take forty times the memory of the text, and blocks all other
threads. So the array `data` of a large request is parsed in pieces, and the rest of the JSON, which
must be small, without it. The result is the same, in a few times the memory of the pixels.
"""

import re
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from mnist_sgd_serve.protocol import tensors
from mnist_sgd_serve.protocol.errors import Kind, RequestError
from mnist_sgd_serve.protocol.members import read_json
from mnist_sgd_serve.protocol.tensors import PIXELS, SIDE

LARGE = 256 * 2**10
"""Bytes of JSON that are parsed at once; of a larger request, those outside `data`."""

PIECE = 128 * 2**10
"""Bytes of `data` that are parsed at once; an image takes 1.6 KB, or 20 KB if indented."""

_LAST = 8 * 2**10
"""Bytes at the end of a piece that are searched first for a place to cut."""

_KEY = b'"data"'
_MOST_KEYS = 64
_BLANKS = b" \t\r\n"
_BEFORE_KEY = b"{," + _BLANKS
_OPENING = re.compile(rb"[ \t\r\n]*+:[ \t\r\n]*+\[")
_STRING = re.compile(rb'"(?:[^"\\]|\\.){0,200}+')


class LargeData:
    """The array `data` of a request, still as text.

    Attributes:
        skeleton: the JSON with an empty array in its place.
    """

    def __init__(self, text: bytes, start: int, end: int) -> None:
        self.text = text
        self.start, self.end = start, end  # what is between its brackets
        self.skeleton = (text[:start] + text[end:]).strip(_BLANKS)

    @classmethod
    def find(cls, text: bytes) -> Self:
        """Find the array in the JSON of a request.

        Raises:
            RequestError: `TOO_LARGE`, there are more than `LARGE` bytes outside of it; else it
                holds anything but numbers, or its brackets do not match.
        """
        size, error = len(text.strip(_BLANKS)), None
        places = [(len(text), len(text))]
        for start in _starts(text):
            try:
                places.append((start, _end(text, start)))
            except RequestError as wrong:  # this may be another member of that name
                error = error or wrong
        start, end = max(places, key=lambda place: place[1] - place[0])
        found, outside = cls(text, start, end), size - (end - start)
        if outside <= LARGE:
            return found
        if error is not None:
            raise error
        _check_beginning(found.skeleton)
        raise RequestError(
            f"the JSON has {outside} bytes outside the array 'data', at most {LARGE} are allowed",
            Kind.TOO_LARGE,
        )

    def images(self, rows: int) -> NDArray[np.uint8]:
        """Parse the pixels, flat or nested in any way.

        Returns:
            uint8 `[rows, 28, 28]`, C-contiguous and read-only.

        Raises:
            RequestError: it holds anything else, or has another shape.
        """
        pixels, depth = bytearray(), None
        truths = any(self.text.find(one, self.start, self.end) >= 0 for one in (b"u", b"s"))
        for values in self._values():
            flat, levels = tensors.flattened(values)
            depth = levels if depth is None else depth
            if levels != depth:
                raise RequestError("data of 'image' must be nested to the same depth everywhere")
            if len(pixels) + len(flat) > rows * PIXELS:
                raise tensors.bad_length(rows, "a longer array")
            pixels += tensors.pixel_bytes(flat, truths=truths)
        if len(pixels) != rows * PIXELS:
            raise tensors.bad_length(rows, f"an array of {len(pixels)}")
        images = np.frombuffer(pixels, np.uint8).reshape(rows, SIDE, SIDE)
        images.flags.writeable = False
        return images

    def _values(self) -> Iterator[list[Any]]:
        """Parse the elements in pieces."""
        for start, end in self._pieces():
            try:
                values = read_json(b"[%b]" % self.text[start:end])
            except orjson.JSONDecodeError as error:
                raise _unreadable(f"{error.msg}, near byte {start + error.pos - 1}") from error
            if not values and self.start < self.end:  # nothing after a comma
                raise _unreadable(f"an element is missing near byte {start}")
            yield values

    def _pieces(self) -> Iterator[tuple[int, int]]:
        """Find the start and end of each piece, which holds whole elements."""
        deep = self.text.find(b"[", self.start, self.end) >= 0
        start = self.start
        while self.end - start > PIECE:
            cut = self._cut(start, deep)
            if cut < 0:
                raise RequestError(f"an element of data is longer than {PIECE} bytes")
            yield start, cut
            start = cut + 1
        yield start, self.end

    def _cut(self, start: int, deep: bool) -> int:
        """Find the last comma between two elements of a piece; -1 if there is none."""
        if not deep:
            return self.text.rfind(b",", start, start + PIECE)
        end = start + PIECE
        for at in (end - _LAST, start):  # mostly there is one near the end
            depth = self.text.count(b"[", start, at) - self.text.count(b"]", start, at)
            part = np.frombuffer(self.text, np.uint8, end - at, at)
            inside = (part == ord("[")).astype(np.int8) - (part == ord("]"))
            depths = depth + np.cumsum(inside, dtype=np.int32)
            commas = np.flatnonzero((part == ord(",")) & (depths == 0))
            if commas.size:
                return at + int(commas[-1])
        return -1


def _starts(text: bytes) -> Iterator[int]:
    """Find where the arrays of members `data` start.

    A JSON string has no bare quote inside, so what looks like a key is one, or the text is
    invalid, which shows when the rest is parsed.
    """
    at = -1
    for _ in range(_MOST_KEYS):
        at = text.find(_KEY, at + 1)
        if at < 1:
            break
        opening = _OPENING.match(text, at + len(_KEY))
        if opening is not None and text[at - 1] in _BEFORE_KEY:
            yield opening.end()


def _end(text: bytes, start: int) -> int:
    """Find the bracket that closes an array of numbers."""
    found = [at for at in (text.find(mark, start) for mark in (b'"', b"{", b"}")) if at >= 0]
    stop = min(found, default=len(text))
    end = text.rfind(b"]", start, stop)
    closes = end >= 0 and not text[end + 1 : stop].strip(b"," + _BLANKS)
    if closes and text.count(b"[", start, end) == text.count(b"]", start, end):
        return end
    if text[stop : stop + 1] == b'"':
        string = _STRING.match(text, stop)
        assert string is not None
        raise tensors.bad_pixel(string[0][1:].decode("utf-8", "replace"))
    if text[stop : stop + 1] == b"{":
        raise tensors.bad_pixel({})
    raise _unreadable("the brackets of 'data' do not match")


def _check_beginning(text: bytes) -> None:
    """Reject invalid JSON as such, rather than as too large."""
    beginning = text[:LARGE].decode(errors="ignore")  # no character is cut
    try:
        read_json(beginning.encode())
    except orjson.JSONDecodeError as error:
        if error.pos < len(beginning) - 16:  # else it was only cut off here
            raise _unreadable(str(error)) from error


def _unreadable(why: str) -> RequestError:
    return RequestError(f"the JSON cannot be read: {why}")
