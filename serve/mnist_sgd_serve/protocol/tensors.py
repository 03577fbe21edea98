"""Validates the input tensor of a request: its shape, its size in bytes, its pixels as JSON.

Every function raises a `RequestError` for what it rejects.
"""

from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from mnist_sgd_serve.protocol.errors import Kind, RequestError, quoted
from mnist_sgd_serve.protocol.members import parameters

INPUT = "image"
SIDE = 28
PIXELS = SIDE * SIDE

_MAX_ROWS = (2**63 - 1) // PIXELS
"""With more, the number of pixels would not be a 64-bit integer."""


class WrongBinarySize(RequestError):  # noqa: N818  (it says all without "Error")
    """The parameter binary_data_size does not match the shape."""


def check_rows(rows: int, max_images: int) -> int:
    """Return `rows` if it is allowed."""
    if rows > max_images:
        raise RequestError(
            f"the request has {rows} images, at most {max_images} are allowed", Kind.TOO_LARGE
        )
    return rows


def shape_rows(shape: Any, max_images: int) -> int:
    """Return N of the shape [N, 28, 28]."""
    if isinstance(shape, list) and len(shape) == 3:
        rows, *sides = map(_whole, shape)
        if rows is not None and 0 < rows <= _MAX_ROWS and sides == [SIDE, SIDE]:
            return check_rows(rows, max_images)
    raise RequestError(
        f"shape of {INPUT!r} must be [N, {SIDE}, {SIDE}] with N at least 1, got {quoted(shape)}"
    )


def binary_size(tensor: dict[str, Any], rows: int) -> int:
    """Return how many bytes of the tensor follow the JSON; 0 if its data is in the JSON."""
    given = parameters(tensor, f"input {INPUT!r}").get("binary_data_size")
    if (given is None) == (tensor.get("data") is None):
        count = "neither is" if given is None else "both are"
        raise RequestError(
            f"input {INPUT!r} needs data or the parameter binary_data_size, {count} given"
        )
    if given is None:
        return 0
    if _whole(given) != rows * PIXELS:
        raise WrongBinarySize(
            f"binary_data_size of the shape [{rows}, {SIDE}, {SIDE}] must be {rows * PIXELS}, "
            f"got {quoted(given)}"
        )
    return rows * PIXELS


def images(data: Any, rows: int) -> NDArray[np.uint8]:
    """Convert the pixels of a JSON array, flat or nested in any way.

    A pixel is a whole number from 0 to 255, in JSON 7 or 7.0.

    Returns:
        uint8 `[rows, 28, 28]`, C-contiguous and read-only.
    """
    return np.frombuffer(pixel_bytes(_flat(data, rows)), np.uint8).reshape(rows, SIDE, SIDE)


def pixel_bytes(pixels: list[Any], *, truths: bool = True) -> bytes:
    """Convert a list of pixels from JSON to bytes.

    Args:
        pixels: the elements of an array.
        truths: whether booleans may be among them, which bytes() would accept.
    """
    try:
        values = bytes(pixels)
    except (TypeError, ValueError):  # something is not an int, or outside of 0 to 255
        values = _whole_numbers(pixels)
    # As JSON, numbers of this range have no letter; this is faster than checking each type.
    if truths and b"e" in orjson.dumps(pixels):
        raise bad_pixel(next(pixel for pixel in pixels if isinstance(pixel, bool)))
    return values


def _flat(data: Any, rows: int) -> list[Any]:
    if not isinstance(data, list):
        raise bad_length(rows, quoted(data))
    values, _ = flattened(data)
    if len(values) != rows * PIXELS:
        raise bad_length(rows, f"an array of {len(values)}")
    return values


def bad_length(rows: int, given: str) -> RequestError:
    """Make the error for data that is too long, too short, or not an array."""
    return RequestError(
        f"data of the shape [{rows}, {SIDE}, {SIDE}] must be an array of {rows * PIXELS} numbers, "
        f"flat or nested, got {given}"
    )


def flattened(values: list[Any]) -> tuple[list[Any], int]:
    """Flatten an array; what is an array at some places only is left as it is.

    Returns:
        The elements, and how many levels of nesting they had.
    """
    levels = 0
    while values and all(isinstance(value, list) and value for value in values):
        values, levels = list(chain.from_iterable(values)), levels + 1
    return values, levels


def _whole_numbers(pixels: list[Any]) -> bytes:
    """Like bytes(), for whole numbers of any type."""
    if not {int, float}.issuperset(map(type, pixels)):
        raise bad_pixel(next(p for p in pixels if type(p) not in (int, float)))
    numbers = np.array(pixels, np.float64)
    values = numbers.clip(0, 255).astype(np.uint8)
    wrong = np.flatnonzero(values != numbers)
    if wrong.size:
        raise bad_pixel(pixels[wrong[0]])
    return values.tobytes()


def bad_pixel(value: Any) -> RequestError:
    """Make the error for a value that is not a pixel."""
    return RequestError(
        f"data of {INPUT!r} must be whole numbers from 0 to 255, got {quoted(value)}"
    )


def _whole(value: Any) -> int | None:
    """Convert a whole number, 7 or 7.0; None for anything else, such as true."""
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) is int else None
