"""Inference requests and responses as gRPC messages.

A request is converted to its form over HTTP, a JSON header followed by the bytes of the images, and
parsed by the same `parse_infer`, so both have the same rules and error messages. What only gRPC has
is checked here.
"""

import dataclasses
from collections.abc import Sized
from typing import Any

import orjson

from mnist_sgd_serve.protocol import InferRequest, InferResponse, RequestError, parse_infer
from mnist_sgd_serve.protocol.requests import OUTPUT
from mnist_sgd_serve.protocol.tensors import WrongBinarySize
from mnist_sgd_serve.rpc.large import Parts
from mnist_sgd_serve.rpc.messages import message_class

_MAX_ENTRIES = 64
"""The most inputs, outputs or parameters in one place; each costs time before it is rejected."""

_MAX_DIMENSIONS = 16
"""How many sizes of a shape are checked: with so many it is wrong anyway."""

_RESPONSE = message_class("inference.ModelInferResponse")


def read_infer(message: Any, *, max_images: int, parts: Parts | None = None) -> InferRequest:
    """Convert a message to a request.

    Args:
        message: an inference.ModelInferRequest; its model's name and version are ignored.
        max_images: the most images in a request.
        parts: the pixels, if they were taken out of the message.

    Returns:
        The request; it is `binary` if its pixels came as raw_input_contents, as then the response
        has raw_output_contents.

    Raises:
        RequestError: `TOO_LARGE` for more than `max_images` images, else `BAD_REQUEST`.
    """
    raw = len(message.raw_input_contents) > 0
    _few(message.inputs, "inputs")
    parsed = _raw_content(message) if raw else _typed_content(message)
    content = _put_back(parsed, raw, parts)
    header = orjson.dumps(_header(message, len(content)))
    try:
        body = b"".join((header, content))
        request = parse_infer(body, str(len(header)), max_images=max_images)
    except WrongBinarySize as error:  # its message names a parameter that only HTTP has
        raise RequestError(
            f"an input of the shape {list(message.inputs[0].shape)} needs as many bytes in "
            f"raw_input_contents or numbers in uint_contents, got {len(content)}"
        ) from error
    fields = [field.name for field, _ in message.inputs[0].contents.ListFields()]
    if fields and fields != ["uint_contents"]:
        raise RequestError(f"contents of UINT8 are uint_contents alone, got {', '.join(fields)}")
    return dataclasses.replace(request, binary=raw)


def write_infer(response: InferResponse, *, binary: bool) -> bytes:
    """Encode an inference.ModelInferResponse; `binary` means raw_output_contents."""
    message = _RESPONSE(
        model_name=response.model_name,
        model_version=response.model_version,
        id=response.id or "",
    )
    probabilities = response.probabilities
    output = message.outputs.add(name=OUTPUT, datatype="FP32", shape=(len(probabilities), 1))
    if binary:
        content = probabilities.astype("<f4", copy=False).tobytes()
        message.raw_output_contents.append(content)
    else:
        output.contents.fp32_contents.extend(probabilities.tolist())
    encoded: bytes = message.SerializeToString()
    return encoded


def _raw_content(message: Any) -> bytes:
    """Return the bytes of raw_input_contents, which must be the only pixels."""
    entries, inputs = len(message.raw_input_contents), len(message.inputs)
    if entries != inputs:
        raise RequestError(
            f"raw_input_contents must have one entry an input, got {entries} for {inputs}"
        )
    if any(tensor.contents.ListFields() for tensor in message.inputs):
        raise RequestError("contents must be empty where raw_input_contents is given")
    content: bytes = message.raw_input_contents[0]
    return content


def _put_back(content: bytes, raw: bool, parts: Parts | None) -> bytes | memoryview:
    """Return the pixels, which were taken out of the message if it was large."""
    if parts is None or (pixels := parts.pixels()) is None:
        return content
    if content:
        raise RequestError("uint_contents must be in one piece")
    if raw and parts.numbers is not None:
        raise RequestError("contents must be empty where raw_input_contents is given")
    return pixels


def _typed_content(message: Any) -> bytes:
    """Convert the pixels of uint_contents to bytes."""
    if not message.inputs:
        return b""
    pixels = message.inputs[0].contents.uint_contents
    try:
        return bytes(pixels)
    except ValueError as error:
        wrong = next(pixel for pixel in pixels if pixel > 255)
        raise RequestError(
            f"data of {message.inputs[0].name[:64]!r} must be whole numbers from 0 to 255, "
            f"got {wrong}"
        ) from error


def _header(message: Any, size: int) -> dict[str, Any]:
    """Make the JSON of the same request over HTTP, which `size` bytes of images follow."""
    _few(message.outputs, "outputs")
    return {
        "id": message.id or None,
        "parameters": _parameters(message),
        "inputs": [
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": tensor.shape[:_MAX_DIMENSIONS],
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
    if len(entries) > _MAX_ENTRIES:
        raise RequestError(
            f"at most {_MAX_ENTRIES} {what} are allowed in one place, got {len(entries)}"
        )
