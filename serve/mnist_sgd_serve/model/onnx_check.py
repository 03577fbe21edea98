"""What an ONNX file may make onnxruntime do beside computing, found before it is loaded.

onnxruntime follows a model's external data into other files, relative to the working directory
even where the model is given as bytes, and some operators of other domains open files too. This
module walks the protobuf encoding of a model, and no more of it than leads to tensors and nodes,
without the onnx package. Where it and protobuf could read bytes differently, it refuses them. It
reads each byte at most once and keeps its own stack, so it costs at most linear time.

Sources: onnx/onnx.proto3 for the field numbers; "Encoding" in protobuf's documentation.
"""

from collections.abc import Iterator

__all__ = ["WireError", "check_self_contained", "fields"]

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
"""For each message the fields, by number, that hold the messages that lead to tensors and nodes."""

_NODE_DOMAIN, _TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 7, 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """The bytes are no model, or a model that needs more than itself and standard operators."""


def check_self_contained(content: bytes) -> None:
    """Check that a model keeps all tensors inside and uses ONNX's own operators only.

    Raises:
        WireError: it does not; the message says what it holds.
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
    """Read the fields of one message: number, wire type, value, end.

    The value of a field of bytes is where they start; that of a fixed one is not read, and is 0.

    Raises:
        WireError: the bytes are not whole fields.
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
        # Protobuf drops a tag's bits above 32, so a larger one could hide a field.
        if stop > end or number == 0 or tag >= 1 << 32:
            raise WireError("it is not an ONNX model, or is damaged or cut short")
        yield number, kind, value, stop
        at = stop


def _varint(content: bytes | memoryview, at: int, end: int) -> tuple[int, int]:
    """Read a number of 7 bits a byte, lowest first, and say where it ends."""
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
