"""Takes the pixels out of a large inference message before the rest is parsed.

protobuf makes an object of each part of a message: an empty part of two bytes takes a hundred in
memory, and a number of one byte takes four or eight. So the pixels of a large message are taken out
and used in place; the rest must be small, and is parsed as usual.

Source: "Encoding" in protobuf's documentation.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mnist_sgd_serve.model.onnx_check import WireError, fields
from mnist_sgd_serve.protocol import Kind, RequestError
from mnist_sgd_serve.protocol.large import LARGE
from mnist_sgd_serve.rpc.messages import message_class

PIECE = 64 * 2**10
"""Bytes of packed numbers that are decoded at once."""

_MAX_FIELDS = 1000
"""The most fields of a large message; it needs about ten."""

_BYTES = 2
_RAW, _NUMBERS = "raw_input_contents", "uint_contents"
_INSIDE: dict[str, dict[int, str]] = {
    "request": {5: "input", 7: _RAW},
    "input": {5: "contents"},
    "contents": {4: _NUMBERS},
}
"""For each message, the fields by number that contain pixels, or messages with pixels."""

_CONTENTS = message_class("inference.InferTensorContents")


@dataclass(frozen=True)
class Parts:
    """A message in two parts.

    Attributes:
        rest: the bytes of the message, without its pixels if they were taken out.
        raw: the pixels of raw_input_contents, or None.
        numbers: the pixels of uint_contents, packed, or None.
    """

    rest: bytes
    raw: memoryview | None = None
    numbers: memoryview | None = None

    def pixels(self) -> bytes | memoryview | None:
        """Decode the pixels to bytes; None if they are in the rest.

        Raises:
            RequestError: a number is not a pixel.
        """
        if self.numbers is None:
            return self.raw
        pixels = bytearray()  # joining all pieces would take twice the memory
        for piece in _pieces(self.numbers):
            pixels += _decoded(bytes(piece))
        return memoryview(pixels)


def split_pixels(content: bytes) -> Parts:
    """Take the pixels out of the bytes of an inference.ModelInferRequest, if they are large.

    Raises:
        RequestError: the rest is larger than `LARGE` or has too many fields, the bytes are no
            message, or the pixels are in several pieces.
    """
    if len(content) <= LARGE:
        return Parts(content)
    found: list[tuple[str, int, int]] = []
    try:
        kept = _without_pixels(memoryview(content), 0, len(content), "request", found)
    except WireError as error:
        raise RequestError("the bytes are no message inference.ModelInferRequest") from error
    size = sum(map(len, kept))
    if size > LARGE:
        raise _too_large(f"{size} bytes", f"{LARGE}")
    if len(found) > 1:
        raise RequestError(f"{_RAW} or {_NUMBERS} must be in one piece")
    views = {name: memoryview(content)[start:end] for name, start, end in found}
    return Parts(b"".join(kept), views.get(_RAW), views.get(_NUMBERS))


def _without_pixels(
    content: memoryview, start: int, end: int, message: str, found: list[tuple[str, int, int]]
) -> list[bytes | memoryview]:
    """Collect a message in pieces, without large fields of pixels, which go to `found`."""
    kept: list[bytes | memoryview] = []
    at = start
    for count, (number, kind, value, stop) in enumerate(fields(content, start, end)):
        if count == _MAX_FIELDS:
            raise _too_large(f"more than {_MAX_FIELDS} fields", f"{_MAX_FIELDS}")
        inside = _INSIDE[message].get(number) if kind == _BYTES and stop - value > LARGE else None
        if inside is None:
            kept.append(content[at:stop])
        elif inside in _INSIDE:
            part = _without_pixels(content, value, stop, inside, found)
            kept += [bytes([number << 3 | _BYTES]) + _varint(sum(map(len, part))), *part]
        else:
            found.append((inside, value, stop))
            kept.append(bytes([number << 3 | _BYTES, 0]))
        at = stop
    return kept


def _pieces(numbers: memoryview) -> Iterator[memoryview]:
    """Cut packed numbers into pieces of whole numbers."""
    start = 0
    while start < len(numbers):
        end = min(start + PIECE, len(numbers))
        while end < len(numbers) and end > start and numbers[end - 1] >= 128:  # within a number
            end -= 1
        if end == start:
            raise RequestError(f"{_NUMBERS} holds what is no number")
        yield numbers[start:end]
        start = end


def _decoded(piece: bytes) -> bytes:
    """Decode packed numbers from 0 to 255.

    A number of 128 or more is encoded as that byte followed by a 1.
    """
    encoded = np.frombuffer(piece, np.uint8)
    large = np.flatnonzero(encoded >= 128)
    if large.size and (large[-1] + 1 == len(encoded) or not (encoded[large + 1] == 1).all()):
        return _decoded_by_protobuf(piece)
    kept = np.ones(len(encoded), np.bool_)
    kept[large + 1] = False
    return encoded[kept].tobytes()


def _decoded_by_protobuf(piece: bytes) -> bytes:
    """Decode packed numbers that are not all in their shortest form, or not all pixels."""
    try:
        numbers = _CONTENTS.FromString(bytes([4 << 3 | _BYTES]) + _varint(len(piece)) + piece)
    except Exception as error:  # DecodeError, which is a class of each implementation
        raise RequestError(f"{_NUMBERS} holds what is no number") from error
    try:
        return bytes(numbers.uint_contents)
    except ValueError as error:
        wrong = next(number for number in numbers.uint_contents if number > 255)
        raise RequestError(
            f"data of 'image' must be whole numbers from 0 to 255, got {wrong}"
        ) from error


def _varint(value: int) -> bytes:
    """Encode a length."""
    encoded = bytearray()
    while value >= 128:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _too_large(given: str, most: str) -> RequestError:
    return RequestError(
        f"the message has {given} outside {_RAW} or {_NUMBERS}, at most {most} are allowed",
        Kind.TOO_LARGE,
    )
