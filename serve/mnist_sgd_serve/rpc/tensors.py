"""Inference requests and answers as gRPC messages.

A request is taken to the form that it has over HTTP, a JSON header with the bytes of the images
after it, and read by the same `parse_infer`: so both sides have the same rules and say the same
sentences. What only gRPC has is checked here. That costs 10 us of a call that takes 500.
"""

import dataclasses
from collections.abc import Sized
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from mnist_sgd_serve.protocol import InferRequest, RequestError, parse_infer
from mnist_sgd_serve.protocol.requests import OUTPUT
from mnist_sgd_serve.rpc.large import Parts
from mnist_sgd_serve.rpc.messages import message_class

__all__ = ["read_infer", "write_infer"]

_MOST_ENTRIES = 64
"""Inputs, outputs or parameters in a message; each costs time to look at before it is refused."""

_MOST_DIMENSIONS = 16
"""Sizes of a shape that are looked at: with so many it is wrong anyway."""

_RESPONSE = message_class("inference.ModelInferResponse")


def read_infer(message: Any, *, max_rows: int, parts: Parts | None = None) -> InferRequest:
    """Read a request.

    Args:
        message: an inference.ModelInferRequest; its model's name and version are not looked at.
        max_rows: the most images in a request.
        parts: has the pixels, if they were taken out of the message.

    Returns:
        The request; it is `binary` if its pixels came as raw_input_contents, for then the answer
        goes out as raw_output_contents.

    Raises:
        RequestError: 413 for more than `max_rows` images, 400 for anything else.
    """
    raw = len(message.raw_input_contents) > 0
    _few(message.inputs, "inputs")
    parsed = _raw_content(message) if raw else _typed_content(message)
    content = _put_back(parsed, raw, parts)
    header = orjson.dumps(_header(message, len(content)))
    try:
        body = b"".join((header, content))
        request = parse_infer(body, str(len(header)), max_rows=max_rows)
    except RequestError as error:
        if error.reason != "bad_binary_size":  # it speaks of a parameter that HTTP alone has
            raise
        raise RequestError(
            400,
            "bad_data",
            f"an input of the shape {list(message.inputs[0].shape)} needs as many bytes in "
            f"raw_input_contents or numbers in uint_contents, got {len(content)}",
        ) from error
    fields = [field.name for field, _ in message.inputs[0].contents.ListFields()]
    if fields and fields != ["uint_contents"]:
        raise RequestError(
            400, "bad_data", f"contents of UINT8 are uint_contents alone, got {', '.join(fields)}"
        )
    return dataclasses.replace(request, binary=raw)


def write_infer(
    request: InferRequest,
    probabilities: NDArray[np.float32],
    *,
    model_name: str,
    model_version: str,
) -> bytes:
    """Write the inference.ModelInferResponse; the arguments are those of `encode_infer`."""
    message = _RESPONSE(model_name=model_name, model_version=model_version, id=request.id or "")
    shape = (len(probabilities), 1)
    output = message.outputs.add(name=OUTPUT, datatype="FP32", shape=shape)
    if request.binary:
        content = probabilities.astype("<f4", copy=False).tobytes()
        message.raw_output_contents.append(content)
    else:
        output.contents.fp32_contents.extend(probabilities.tolist())
    answer: bytes = message.SerializeToString()
    return answer


def _raw_content(message: Any) -> bytes:
    """The bytes of raw_input_contents, which must be all that is given."""
    entries, inputs = len(message.raw_input_contents), len(message.inputs)
    if entries != inputs:
        raise RequestError(
            400,
            "bad_data",
            f"raw_input_contents must have one entry an input, got {entries} for {inputs}",
        )
    if any(tensor.contents.ListFields() for tensor in message.inputs):
        raise RequestError(
            400, "bad_data", "contents must be empty where raw_input_contents is given"
        )
    content: bytes = message.raw_input_contents[0]
    return content


def _put_back(content: bytes, raw: bool, parts: Parts | None) -> bytes | memoryview:
    """The pixels, which were taken out of the message if it was large."""
    if parts is None or (pixels := parts.pixels()) is None:
        return content
    if content:
        raise RequestError(400, "bad_data", "uint_contents must be in one piece")
    if raw and parts.numbers is not None:
        raise RequestError(
            400, "bad_data", "contents must be empty where raw_input_contents is given"
        )
    return pixels


def _typed_content(message: Any) -> bytes:
    """The pixels of uint_contents as bytes."""
    if not message.inputs:
        return b""
    pixels = message.inputs[0].contents.uint_contents
    try:
        return bytes(pixels)
    except ValueError as error:
        wrong = next(pixel for pixel in pixels if pixel > 255)
        raise RequestError(
            400,
            "bad_data",
            f"data of {message.inputs[0].name[:64]!r} must be whole numbers from 0 to 255, "
            f"got {wrong}",
        ) from error


def _header(message: Any, size: int) -> dict[str, Any]:
    """The JSON of the same request over HTTP, with `size` bytes of images to follow."""
    _few(message.outputs, "outputs")
    return {
        "id": message.id or None,
        "parameters": _parameters(message),
        "inputs": [
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": tensor.shape[:_MOST_DIMENSIONS],
                "parameters": _parameters(tensor) | {"binary_data_size": size},
            }
            for tensor in message.inputs
        ],
        "outputs": [
            {"name": tensor.name, "parameters": _parameters(tensor)} for tensor in message.outputs
        ],
    }


def _parameters(holder: Any) -> dict[str, Any]:
    _few(holder.parameters, "parameters")
    values = {}
    for name, parameter in holder.parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        values[name] = None if choice is None else getattr(parameter, choice)
    return values


def _few(entries: Sized, what: str) -> None:
    if len(entries) > _MOST_ENTRIES:
        raise RequestError(
            400,
            f"bad_{what}",
            f"at most {_MOST_ENTRIES} {what} are allowed in one place, got {len(entries)}",
        )
