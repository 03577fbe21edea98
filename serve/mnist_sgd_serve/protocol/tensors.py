"""Reads the input tensor of a request: its shape, its size in bytes, its pixels given as JSON."""

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from mnist_sgd_serve.protocol.errors import RequestError, shown
from mnist_sgd_serve.protocol.members import parameters

__all__ = [
    "INPUT",
    "PIXELS",
    "SIDE",
    "bad_length",
    "bad_pixel",
    "binary_size",
    "check_rows",
    "images",
    "pixel_bytes",
    "shape_rows",
    "unnested",
]

INPUT = "image"
SIDE = 28
PIXELS = SIDE * SIDE

_MOST_ROWS = (2**63 - 1) // PIXELS
"""With more, the number of pixels would not be a 64-bit integer: no shape at all."""


def check_rows(rows: int, max_rows: int) -> int:
    """Give `rows` back if it is allowed.

    Raises:
        RequestError: 413, there are more.
    """
    if rows > max_rows:
        raise RequestError(
            413, "too_many_images", f"the request has {rows} images, at most {max_rows} are allowed"
        )
    return rows


def shape_rows(shape: Any, max_rows: int) -> int:
    """Read N of the shape [N, 28, 28].

    Raises:
        RequestError: 400, it is another shape; 413, N is above `max_rows`.
    """
    if isinstance(shape, list) and len(shape) == 3:
        rows, *sides = map(_whole, shape)
        if rows is not None and 0 < rows <= _MOST_ROWS and sides == [SIDE, SIDE]:
            return check_rows(rows, max_rows)
    raise RequestError(
        400,
        "bad_shape",
        f"shape of {INPUT!r} must be [N, {SIDE}, {SIDE}] with N at least 1, got {shown(shape)}",
    )


def binary_size(tensor: dict[str, Any], rows: int) -> int:
    """Say how many bytes the tensor takes after the JSON; 0 if its data is in the JSON.

    Raises:
        RequestError: 400, it gives both or neither, or another size than its shape.
    """
    given = parameters(tensor, f"input {INPUT!r}").get("binary_data_size")
    if (given is None) == (tensor.get("data") is None):
        count = "neither is" if given is None else "both are"
        raise RequestError(
            400,
            "bad_data",
            f"input {INPUT!r} needs data or the parameter binary_data_size, {count} given",
        )
    if given is None:
        return 0
    if _whole(given) != rows * PIXELS:
        raise RequestError(
            400,
            "bad_binary_size",
            f"binary_data_size of the shape [{rows}, {SIDE}, {SIDE}] must be {rows * PIXELS}, "
            f"got {shown(given)}",
        )
    return rows * PIXELS


def images(data: Any, rows: int) -> NDArray[np.uint8]:
    """Read the pixels of a JSON array, flat or nested as the shape.

    A pixel is a whole number from 0 to 255, of which JSON has two spellings, 7 and 7.0.

    Returns:
        uint8 `[rows, 28, 28]`, C-contiguous and read-only.

    Raises:
        RequestError: 400, it holds something else, or is of another shape.
    """
    return np.frombuffer(pixel_bytes(_flat(data, rows)), np.uint8).reshape(rows, SIDE, SIDE)


def pixel_bytes(pixels: list[Any], *, truths: bool = True) -> bytes:
    """Take a list of pixels as JSON has them to bytes.

    Args:
        pixels: the elements of an array.
        truths: whether true may be among them, which bytes() takes as 1.

    Raises:
        RequestError: 400, one of them is no whole number from 0 to 255.
    """
    try:
        values = bytes(pixels)
    except (TypeError, ValueError):  # something is not an int, or outside of 0 to 255
        values = _whole_numbers(pixels)
    # Written as JSON, numbers of this range have no letter, and this is five times as fast as
    # asking each for its type.
    if truths and b"e" in orjson.dumps(pixels):
        raise bad_pixel(next(pixel for pixel in pixels if isinstance(pixel, bool)))
    return values


def _flat(data: Any, rows: int) -> list[Any]:
    if isinstance(data, list):
        if len(data) == rows * PIXELS:
            return data
        if len(data) == rows:
            return unnested(unnested(data))
    raise bad_length(rows, f"an array of {len(data)}" if isinstance(data, list) else shown(data))


def bad_length(rows: int, given: str) -> RequestError:
    """What to say of data that is too long, too short, or no array."""
    return RequestError(
        400,
        "bad_data",
        f"data of the shape [{rows}, {SIDE}, {SIDE}] must be an array of {rows * PIXELS} numbers, "
        f"or nested as the shape, got {given}",
    )


def unnested(values: list[Any]) -> list[Any]:
    """Take one level of nesting away; below it all must be arrays of 28.

    Raises:
        RequestError: 400, something else is there.
    """
    joined: list[Any] = []
    for value in values:
        if not isinstance(value, list) or len(value) != SIDE:
            given = f"an array of {len(value)}" if isinstance(value, list) else shown(value)
            raise RequestError(
                400,
                "bad_data",
                f"nested data must hold arrays of {SIDE} at each level, got {given}",
            )
        joined += value
    return joined


def _whole_numbers(pixels: list[Any]) -> bytes:
    """Do as bytes(), for whole numbers of any type."""
    if not {int, float}.issuperset(map(type, pixels)):
        raise bad_pixel(next(p for p in pixels if type(p) not in (int, float)))
    numbers = np.array(pixels, np.float64)
    values = numbers.clip(0, 255).astype(np.uint8)
    wrong = np.flatnonzero(values != numbers)
    if wrong.size:
        raise bad_pixel(pixels[wrong[0]])
    return values.tobytes()


def bad_pixel(value: Any) -> RequestError:
    """What to say of a value that is no pixel."""
    return RequestError(
        400,
        "bad_data",
        f"data of {INPUT!r} must be whole numbers from 0 to 255, got {shown(value)}",
    )


def _whole(value: Any) -> int | None:
    """Read a whole number; JSON spells it 7 or 7.0, and true is none."""
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) is int else None
