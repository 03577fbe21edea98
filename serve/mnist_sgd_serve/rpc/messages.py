"""The messages of inference.proto and health.proto, made at import from messages.protoset.

protoc's generated code refuses to run with a protobuf package older than itself. The protoset, the
compiled form of the two files, works with any, and is also what `grpcurl -protoset` takes. The
messages have a descriptor pool of their own, so that a client library with its own copy of the
protocol can be in the same process.
"""

from importlib.resources import files
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from mnist_sgd_serve.http.compression import SMALL, decompress
from mnist_sgd_serve.protocol import Kind, RequestError

MAX_SMALL = 64 * 2**10
"""Bytes of a message that has a name or two."""

_GZIP, _DEFLATE = b"\x1f\x8b", 8
"""How compressed data begins: the first bytes; the lowest four bits of the first."""

POOL = DescriptorPool()
for _file in FileDescriptorSet.FromString(
    files(__package__).joinpath("messages.protoset").read_bytes()
).file:
    POOL.Add(_file)


def message_class(name: str) -> Any:
    """Return the class of a message by its full name, such as inference.ModelInferRequest."""
    return GetMessageClass(POOL.FindMessageTypeByName(name))


def parse(kind: Any, content: bytes) -> Any:
    """Parse a message of a class.

    Raises:
        RequestError: the bytes are not such a message.
    """
    try:
        return kind.FromString(content)
    except DecodeError as error:
        name = kind.DESCRIPTOR.full_name
        raise RequestError(f"the bytes are no message {name}") from error


def is_compressed(content: bytes) -> bool:
    """Whether the bytes of a message are gzip or zlib data.

    gRPC passes messages on as they came, without saying which are compressed. But all fields of
    these messages have wire type 2, in the lowest three bits of their first byte, or a tag of 16;
    gzip data has 7 there, which is no wire type, and zlib data has 0 and begins with another byte.
    """
    return content[:2] == _GZIP or (content[:1] != b"" and content[0] & 15 == _DEFLATE)


def decompressed(content: bytes, limit: int) -> bytes:
    """Decompress the bytes of a message, if they are compressed.

    Raises:
        RequestError: the result is larger than `limit` bytes, or the data is damaged, or takes
            too long.
    """
    if not is_compressed(content):
        return content
    try:
        return decompress(content, "gzip" if content[:2] == _GZIP else "deflate", limit=limit)
    except RequestError as error:
        if error.kind is Kind.DECOMPRESSED_TOO_LARGE:
            text = f"Decompressed message larger than max ({limit})"  # as gRPC says it
            raise RequestError(text, error.kind) from error
        raise


def parse_small(kind: Any, content: bytes) -> Any:
    """Parse a message of a class whose messages are small.

    Raises:
        RequestError: as `parse`, or it is larger than any such message.
    """
    if len(content) > SMALL and is_compressed(content):
        raise RequestError(
            f"the compressed message {kind.DESCRIPTOR.full_name} has {len(content)} bytes, at most "
            f"{SMALL} are allowed",
            Kind.TOO_LARGE,
        )
    content = decompressed(content, MAX_SMALL)
    if len(content) > MAX_SMALL:
        raise RequestError(
            f"the message {kind.DESCRIPTOR.full_name} has {len(content)} bytes, at most "
            f"{MAX_SMALL} are allowed",
            Kind.TOO_LARGE,
        )
    return parse(kind, content)
