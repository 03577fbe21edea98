"""Requests that are built to cost time or memory, inside every limit on bytes.

`BOMBS` has what makes each by its name, so that only those that are wanted are made. Those that
compress well are sent with gzip: the limit is on what they unpack to.
"""

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from deflate import END, blocks
from server import INFER, RAW

__all__ = ["BOMBS", "MOST", "Bomb"]

MIB = 2**20
MOST = 16 * MIB
"""Bytes of a body: the server's default."""

HTTP, GRPC = "http", "grpc"


@dataclass(frozen=True)
class Bomb:
    """A request.

    Attributes:
        body: as it is sent; over gRPC, a ModelInferRequest.
        headers: that go with it over HTTP.
        path: over HTTP.
        over: HTTP or gRPC.
        head: sent in place of what the other fields say, if it is not empty.
    """

    body: bytes = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict)
    path: str = INFER
    over: str = HTTP
    head: bytes = field(default=b"", repr=False)


def filled(start: bytes, repeated: bytes, end: bytes, size: int = MOST) -> bytes:
    """As many repetitions between a start and an end as fit."""
    return start + repeated * ((size - len(start) - len(end)) // len(repeated)) + end


def packed(content: bytes, **headers: str) -> Bomb:
    """A body sent with gzip."""
    return Bomb(gzip.compress(content, 9), {"Content-Encoding": "gzip"} | headers)


# JSON.


def start(rows: int) -> bytes:
    shape = b"[%d,28,28]" % rows
    return b'{"inputs":[{"name":"image","datatype":"UINT8","shape":' + shape + b',"data":['


def data(rows: int, repeated: bytes, last: bytes = b"0", end: bytes = b"]}]}") -> bytes:
    """A request whose data is one thing again and again."""
    return filled(start(rows), repeated, last + end)


def images(rows: int, number: bytes) -> bytes:
    """A good request of so many images."""
    return start(rows) + b",".join([number] * (784 * rows)) + b"]}]}"


def nested(rows: int) -> bytes:
    row = b"[" + b",".join([b"0"] * 28) + b"]"
    image = b"[" + b",".join([row] * 28) + b"]"
    return start(rows) + b",".join([image] * rows) + b"]}]}"


DEPTH = b"[" * 1000 + b"]" * 1000 + b","

# Forms.

FORM = {"Content-Type": "multipart/form-data; boundary=x"}
PART = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
LAST = b"\r\n--x--"


def form(content: bytes) -> Bomb:
    return Bomb(content, FORM, "/predict")


# gRPC.


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 128:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def part(number: int, content: bytes) -> bytes:
    """A field of bytes, of text or of a message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(rows: int, more: bytes = b"") -> bytes:
    shape = b"".join(map(varint, (rows, 28, 28)))
    return part(1, b"image") + part(2, b"UINT8") + part(3, shape) + more


def message(rows: int, *, inside: bytes = b"", after: bytes = b"") -> Bomb:
    """A request with something more in its tensor, or behind it."""
    body = part(1, b"mnist_sgd") + part(5, tensor(rows, inside)) + after
    return Bomb(body, over=GRPC)


def after_json() -> Bomb:
    size = 16_384 * 784
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": "image",
                    "datatype": "UINT8",
                    "shape": [16_384, 28, 28],
                    "parameters": {"binary_data_size": size},
                }
            ]
        }
    ).encode()
    return Bomb(header + bytes(size), {"Inference-Header-Content-Length": str(len(header))})


def chunks(size: int) -> Bomb:
    """Images in chunks of so many bytes."""
    head = f"POST {INFER} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n"
    head += "Inference-Header-Content-Length: 0\r\nConnection: close\r\n\r\n"
    sent = (b"%x\r\n%b\r\n" % (size, bytes(size))) * (16_384 * 784 // size)
    return Bomb(b"", head=head.encode() + sent + b"0\r\n\r\n")


def requests() -> Bomb:
    """So many that a connection reads at once, the last of which ends it."""
    one = b"GET /v2/health/live HTTP/1.1\r\nHost:a\r\n\r\n"
    last = one.replace(b"\r\n\r\n", b"\r\nConnection:close\r\n\r\n")
    return Bomb(b"", head=one * (2**18 // len(one) - 2) + last)


ROOM = MOST - 200
"""Bytes that a part of a message may have, with what is around it."""

BOMBS: dict[str, Callable[[], Bomb]] = {
    "json, zeros": lambda: packed(data(1, b"0,")),
    "json, zeros of a larger shape": lambda: packed(data(16_384, b"0,")),
    "json, 10,000 images": lambda: packed(images(10_000, b"0")),
    "json, 10,000 images in nested arrays": lambda: packed(nested(10_000)),
    "json, 4,900 images as fractions": lambda: packed(images(4_900, b"0.0")),
    "json, 4,900 images as powers": lambda: packed(images(4_900, b"0e0")),
    "json, large numbers": lambda: packed(data(16_384, b"1000,")),
    "json, truths": lambda: packed(data(16_384, b"true,")),
    "json, arrays": lambda: packed(data(16_384, b"[],")),
    "json, objects": lambda: packed(data(16_384, b"{},")),
    "json, texts": lambda: packed(data(16_384, b'"",')),
    "json, one long text": lambda: packed(data(1, b"x", b'"', b"]}]}").replace(b"[x", b'["x')),
    "json, one long number": lambda: packed(data(1, b"9")),
    "json, blanks": lambda: packed(data(1, b" ")),
    "json, depth": lambda: packed(b"[" * MOST),
    "json, depth again and again": lambda: packed(data(16_384, DEPTH)),
    "json, members": lambda: packed(filled(b"{", b'"a":1,', b'"b":1}')),
    "json, members named data": lambda: packed(filled(b"{", b'"data":[],', b'"b":1}')),
    "json, objects in an array": lambda: packed(filled(b"[", b"{},", b"0]")),
    "json, 250 KB of objects": lambda: packed(filled(b"[", b"{},", b"0]", 250_000)),
    "json, 250 KB of members": lambda: packed(filled(b"[", b'{"a":0},', b"0]", 250_000)),
    "json, one long parameter": lambda: packed(filled(b'{"parameters":{"a":"', b"x", b'"}}')),
    "json, not compressed": lambda: Bomb(data(16_384, b"0,")),
    "gzip, 16,384 images": lambda: packed(bytes(16_384 * 784), **RAW),
    "gzip, 1 GiB": lambda: packed(bytes(1024 * MIB), **RAW),
    "gzip, empty blocks": lambda: Bomb(
        b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\0\0\0\xff\xff" * (MOST // 5 - 10),
        {"Content-Encoding": "gzip"} | RAW,
    ),
    "deflate, blocks of nothing": lambda: Bomb(
        blocks(0, MOST - 100) + END, {"Content-Encoding": "deflate"} | RAW
    ),
    "deflate, blocks of 13 zeros": lambda: Bomb(
        blocks(13, MOST - 100) + END, {"Content-Encoding": "deflate"} | RAW
    ),
    "deflate, 16,384 images": lambda: Bomb(
        zlib.compress(bytes(16_384 * 784), 9), {"Content-Encoding": "deflate"} | RAW
    ),
    "16,384 images": lambda: Bomb(bytes(16_384 * 784), RAW),
    "16,384 images after JSON": after_json,
    "form, carriage returns": lambda: form(filled(PART, b"\r", LAST)),
    "form, almost boundaries": lambda: form(filled(PART, b"\r\n--y", LAST)),
    "form, dashes": lambda: form(filled(PART, b"-", LAST)),
    "form, lines before": lambda: form(filled(b"", b"\r\n", PART + LAST)),
    "form, lines after": lambda: form(filled(PART + LAST, b"\r\n", b"")),
    "form, headers": lambda: form(filled(b"--x\r\n", b"a:b\r\n", b"\r\n" + LAST)),
    "form, a long header": lambda: form(filled(b"--x\r\na:", b"b", b"\r\n\r\n" + LAST)),
    "form, options": lambda: form(filled(PART[:-4], b";a=b", b"\r\n\r\n" + LAST)),
    "form, parts": lambda: form(filled(b"", PART + b"\r\n", LAST)),
    "http, chunks of 7 bytes": lambda: chunks(7),
    "http, chunks of 32 bytes": lambda: chunks(32),
    "http, 256 KiB of requests": requests,
    "protobuf, 16,384 images": lambda: message(16_384, after=part(7, bytes(16_384 * 784))),
    "protobuf, 16,384 images as numbers": lambda: message(
        16_384, inside=part(5, part(4, bytes(16_384 * 784)))
    ),
    "protobuf, 10,000 images of long numbers": lambda: message(
        10_000, inside=part(5, part(4, b"\x80\x01" * 7_840_000))
    ),
    "protobuf, 5,000 images of padded numbers": lambda: message(
        5_000, inside=part(5, part(4, b"\x80\x80\0" * 3_920_000))
    ),
    "protobuf, numbers that are no pixels": lambda: message(
        16_384, inside=part(5, part(4, b"\xff\xff\xff\xff\x0f" * (ROOM // 5)))
    ),
    "protobuf, numbers one by one": lambda: message(
        16_384, inside=part(5, b"\x20\0" * (ROOM // 2))
    ),
    "protobuf, numbers of another type": lambda: message(
        16_384, inside=part(5, part(3, bytes(ROOM)))
    ),
    "protobuf, truths": lambda: message(16_384, inside=part(5, part(1, bytes(ROOM)))),
    "protobuf, empty texts": lambda: message(16_384, inside=part(5, b"\x42\0" * (ROOM // 2))),
    "protobuf, a long shape": lambda: message(1, inside=part(3, bytes(ROOM))),
    "protobuf, parameters": lambda: message(1, inside=b"\x22\0" * (ROOM // 2)),
    "protobuf, empty tensors": lambda: message(1, after=b"\x2a\0" * (ROOM // 2)),
    "protobuf, empty contents": lambda: message(1, inside=b"\x2a\0" * (ROOM // 2)),
    "protobuf, empty raw contents": lambda: message(1, after=b"\x3a\0" * (ROOM // 2)),
    "protobuf, unknown fields": lambda: message(1, after=b"\xa2\1\0" * (ROOM // 3)),
    "protobuf, a long name": lambda: Bomb(part(1, b"x" * ROOM), over=GRPC),
    "protobuf, 250 KB of empty tensors": lambda: message(1, after=b"\x2a\0" * 125_000),
}
