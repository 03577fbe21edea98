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

from mnist_sgd_serve.protocol import RequestError

__all__ = ["POOL", "message_class", "parse", "parse_small"]

MOST_BYTES = 64 * 2**10
"""Of a message that is a name or two."""

POOL = DescriptorPool()
for _file in FileDescriptorSet.FromString(
    files(__package__).joinpath("messages.protoset").read_bytes()
).file:
    POOL.Add(_file)


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


def parse_small(kind: Any, content: bytes) -> Any:
    """Read a message of a class whose messages are small.

    Raises:
        RequestError: 400, as `parse`; 413, it is longer than any such message.
    """
    if len(content) > MOST_BYTES:
        raise RequestError(
            413,
            "too_large",
            f"the message {kind.DESCRIPTOR.full_name} has {len(content)} bytes, at most "
            f"{MOST_BYTES} are allowed",
        )
    return parse(kind, content)
