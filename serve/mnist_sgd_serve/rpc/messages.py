"""The messages of inference.proto and health.proto, made at import from messages.protoset.

There is no generated code: that of protoc refuses to run with a protobuf package older than itself,
while the protoset, which is the compiled form of the two files, is read by any. (It is also what
`grpcurl -protoset` takes.) The messages live in a pool of their own, so that a client library with
its own copy of the protocol can be in the same process.
"""

from importlib.resources import files
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from mnist_sgd_serve.http.compression import LITTLE, decompress
from mnist_sgd_serve.protocol import RequestError

__all__ = [
    "POOL",
    "MessageTooLarge",
    "is_packed",
    "message_class",
    "parse",
    "parse_small",
    "unpacked",
]

MOST_BYTES = 64 * 2**10
"""Of a message that is a name or two."""

_GZIP, _DEFLATE = b"\x1f\x8b", 8
"""How what is compressed begins: the first bytes; the lowest four bits of the first."""

POOL = DescriptorPool()
for _file in FileDescriptorSet.FromString(
    files(__package__).joinpath("messages.protoset").read_bytes()
).file:
    POOL.Add(_file)


class MessageTooLarge(RequestError):  # noqa: N818  (it says all without "Error")
    """A compressed message is larger than gRPC would let it be without compression."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, "too_large", f"Decompressed message larger than max ({limit})")


def message_class(name: str) -> Any:
    """The class of a message by its full name, such as inference.ModelInferRequest."""
    return GetMessageClass(POOL.FindMessageTypeByName(name))


def parse(kind: Any, content: bytes) -> Any:
    """Read a message of a class.

    Raises:
        RequestError: 400, the bytes are no such message.
    """
    try:
        return kind.FromString(content)
    except DecodeError as error:
        name = kind.DESCRIPTOR.full_name
        raise RequestError(400, "bad_message", f"the bytes are no message {name}") from error


def is_packed(content: bytes) -> bool:
    """Whether the bytes of a message are those of gzip or zlib.

    gRPC hands messages over as they came and does not say which are compressed. But all fields of
    our messages have the wire type 2, the lowest three bits of their first byte; gzip begins with a
    byte that has 7 there, which is none, and zlib with one that has 0.
    """
    return content[:2] == _GZIP or (content[:1] != b"" and content[0] & 15 == _DEFLATE)


def unpacked(content: bytes, limit: int) -> bytes:
    """The bytes of a message without its compression.

    Raises:
        MessageTooLarge: they are more than `limit`.
        RequestError: 400, what was compressed is damaged, or takes long to unpack.
    """
    if not is_packed(content):
        return content
    try:
        return decompress(content, "gzip" if content[:2] == _GZIP else "deflate", limit=limit)
    except RequestError as error:
        if error.status == 413:
            raise MessageTooLarge(limit) from error
        raise


def parse_small(kind: Any, content: bytes) -> Any:
    """Read a message of a class whose messages are small.

    Raises:
        RequestError: 400, as `parse`; 413, it is longer than any such message.
    """
    if len(content) > LITTLE and is_packed(content):
        raise RequestError(
            413,
            "too_large",
            f"the compressed message {kind.DESCRIPTOR.full_name} has {len(content)} bytes, at most "
            f"{LITTLE} are allowed",
        )
    content = unpacked(content, MOST_BYTES)
    if len(content) > MOST_BYTES:
        raise RequestError(
            413,
            "too_large",
            f"the message {kind.DESCRIPTOR.full_name} has {len(content)} bytes, at most "
            f"{MOST_BYTES} are allowed",
        )
    return parse(kind, content)
