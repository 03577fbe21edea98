"""Rejects ONNX files that would make onnxruntime open other files, before they are loaded.

onnxruntime follows a model's external data into other files, relative to the working directory even
for a model given as bytes, and some operators of other domains open files too. This module walks
the protobuf encoding of a model as far as its tensors and nodes, without the onnx package. Bytes
that it and protobuf could interpret differently are rejected. It takes linear time.

Sources: onnx/onnx.proto3 for the field numbers; "Encoding" in protobuf's documentation.
"""

from collections.abc import Iterator

_DOMAINS = (b"", b"ai.onnx")

_TENSORS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""For each message, the fields by number that contain, or lead to, tensors and nodes."""

_NODE_DOMAIN, _TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 7, 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """The bytes are not a model, or a model that needs other files or custom operators."""


def check_self_contained(content: bytes) -> None:
    """Check that a model contains all its tensors and uses only ONNX's standard operators.

    Raises:
        WireError: it does not; the message says why.
    """
    pending = [("model", 0, len(content))]
    while pending:
        message, start, end = pending.pop()
        for number, kind, value, stop in fields(content, start, end):
            if kind == _BYTES and number in _TENSORS[message]:
                pending.append((_TENSORS[message][number], value, stop))
            elif message == "tensor" and (
                number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value)
            ):
                raise WireError("it keeps tensors in other files: save it without external data")
            elif message == "node" and number == _NODE_DOMAIN and kind == _BYTES:
                domain = content[value:stop]
                if domain not in _DOMAINS:
                    shown = domain[:60].decode("utf-8", "replace")
                    raise WireError(f"it uses operators of the custom domain {shown!r}")


def fields(
    content: bytes | memoryview, start: int, end: int
) -> Iterator[tuple[int, int, int, int]]:
    """Decode the fields of one message: number, wire type, value, end.

    The value of a field of bytes is their start; that of a fixed-size field is not decoded, but 0.

    Raises:
        WireError: the bytes are not complete fields.
    """
    at = start
    while at < end:
        tag, at = _varint(content, at, end)
        number, kind = tag >> 3, tag & 7
        value, stop = 0, at
        if kind == _VARINT:
            value, stop = _varint(content, at, end)
        elif kind == _BYTES:
            length, value = _varint(content, at, end)
            stop = value + length
        elif kind == _FIXED64:
            stop = at + 8
        elif kind == _FIXED32:
            stop = at + 4
        else:  # groups, which ONNX does not use, and kinds that do not exist
            raise WireError("it is not an ONNX model")
        # protobuf drops a tag's bits above 32, so a larger one could hide a field.
        if stop > end or number == 0 or tag >= 1 << 32:
            raise WireError("it is not an ONNX model, or is damaged or cut short")
        yield number, kind, value, stop
        at = stop


def _varint(content: bytes | memoryview, at: int, end: int) -> tuple[int, int]:
    """Decode a number of 7 bits a byte, lowest first; returns it and its end."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise WireError("it is not an ONNX model, or is damaged or cut short")
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise WireError("it is not an ONNX model, or is damaged or cut short")
