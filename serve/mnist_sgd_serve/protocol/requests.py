"""Parses inference requests of the Open Inference Protocol v2.

A request has one of three forms: JSON; a JSON header followed by the bytes of the images; those
bytes alone. Whatever is sent, the result is an `InferRequest` or a `RequestError`, in linear time.
Bytes of images are used in place, without a copy.

Sources: the REST specification of kserve/open-inference-protocol, and Triton's "binary tensor
data extension".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from mnist_sgd_serve.protocol import members, tensors
from mnist_sgd_serve.protocol.errors import RequestError, quoted
from mnist_sgd_serve.protocol.large import LARGE, LargeData
from mnist_sgd_serve.protocol.tensors import INPUT, PIXELS, SIDE

OUTPUT = "probability"

_HEADER_LENGTH = "Inference-Header-Content-Length"
_CACHED_LENGTH = 512

# KServe's client names the model in the body too; the path decides.
_REQUEST_MEMBERS = frozenset(
    {"id", "inputs", "model_name", "model_version", "outputs", "parameters"}
)
_INPUT_MEMBERS = frozenset({"data", "datatype", "name", "parameters", "shape"})
_OUTPUT_MEMBERS = frozenset({"name", "parameters"})


@dataclass(slots=True, eq=False)
class InferRequest:
    """A parsed inference request.

    Attributes:
        images: uint8 `[N, 28, 28]`, C-contiguous and read-only, N from 1 to the limit.
        id: for the response to repeat.
        binary: whether the response has the probabilities as bytes.
        parameters: the request's. Read-only: requests with the same JSON may share them.
    """

    images: NDArray[np.uint8]
    id: str | None
    binary: bool
    parameters: Mapping[str, Any]


@dataclass(slots=True, eq=False)
class _Json:
    """A request's JSON; the images are in it, or in the `size` bytes after it."""

    rows: int
    size: int
    images: NDArray[np.uint8] | None
    id: str | None
    binary: bool
    parameters: Mapping[str, Any]


def parse_infer(body: bytes, header_length: str | None, *, max_images: int) -> InferRequest:
    """Parse the body of an inference request.

    Args:
        body: as sent, after decompression.
        header_length: the value of the HTTP header Inference-Header-Content-Length, or None
            without one. If it is 0, the body is nothing but images of 784 bytes.
        max_images: the most images in a request.

    Raises:
        RequestError: `TOO_LARGE` for more than `max_images` images, else `BAD_REQUEST`.
    """
    if not body:
        raise RequestError("the body is empty, an inference request is needed")
    end = len(body) if header_length is None else _json_end(header_length, len(body))
    if end == 0:
        rows = _raw_rows(len(body), max_images)
        return InferRequest(np.ndarray((rows, SIDE, SIDE), np.uint8, body), None, True, {})
    read = _read_cached if end <= _CACHED_LENGTH else _read
    said = read(body[:end], max_images)
    if len(body) - end != said.size:
        raise RequestError(
            f"{said.size} bytes of inputs must follow the JSON, there are {len(body) - end}; "
            f"{_HEADER_LENGTH} says where the JSON ends"
        )
    images = said.images
    if images is None:
        images = np.ndarray((said.rows, SIDE, SIDE), np.uint8, body, end)
    return InferRequest(images, said.id, said.binary, said.parameters)


def _json_end(header_length: str, size: int) -> int:
    if not (header_length.isascii() and header_length.isdigit() and len(header_length) < 20):
        raise RequestError(
            f"{_HEADER_LENGTH} must be the length of the JSON, got {quoted(header_length)}"
        )
    end = int(header_length)
    if end > size:
        raise RequestError(f"{_HEADER_LENGTH} is {end}, the body has {size} bytes only")
    return end


def _raw_rows(size: int, max_images: int) -> int:
    rows, rest = divmod(size, PIXELS)
    if rest:
        raise RequestError(
            f"the body must hold images of {SIDE} x {SIDE} bytes, got {size} bytes, "
            f"no multiple of {PIXELS}"
        )
    return tensors.check_rows(rows, max_images)


def _read(text: bytes, max_images: int) -> _Json:
    """Parse and validate the JSON of a request."""
    large = LargeData.find(text) if len(text) > LARGE else None
    if large is not None:
        text = large.skeleton
    try:
        document = members.read_json(text)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the JSON cannot be read: {error}") from error
    request = members.json_object(document, "the request", _REQUEST_MEMBERS)
    tensor = members.single_tensor(request.get("inputs"), "input", INPUT, _INPUT_MEMBERS)
    if tensor.get("datatype") != "UINT8":
        raise RequestError(
            f"datatype of {INPUT!r} must be 'UINT8', got {quoted(tensor.get('datatype'))}"
        )
    rows = tensors.shape_rows(tensor.get("shape"), max_images)
    size = tensors.binary_size(tensor, rows)
    images = None
    if not size:
        images = tensors.images(tensor["data"], rows) if large is None else large.images(rows)
    parameters = members.parameters(request, "the request")
    binary = _binary(
        request.get("outputs"), members.bool_parameter(parameters, "binary_data_output")
    )
    identity, *_ = [_text(request, member) for member in ("id", "model_name", "model_version")]
    if images is not None:
        tensor["data"] = None  # numbers have no colons
    members.reject_duplicate_keys(text, request)
    return _Json(rows, size, images, identity, binary, parameters)


_read_cached = lru_cache(maxsize=64)(_read)
"""With a cache, as a client's headers are mostly equal."""


def _binary(outputs: Any, default: bool | None) -> bool:
    """Whether the output is wanted as bytes; naming no output means all."""
    if outputs is None or outputs == []:
        return bool(default)
    output = members.single_tensor(outputs, "output", OUTPUT, _OUTPUT_MEMBERS)
    chosen = members.bool_parameter(members.parameters(output, f"output {OUTPUT!r}"), "binary_data")
    return bool(default if chosen is None else chosen)


def _text(request: dict[str, Any], member: str) -> str | None:
    value = request.get(member)
    if not isinstance(value, str | None):
        raise RequestError(f"{member} must be a string, got {quoted(value)}")
    return value
