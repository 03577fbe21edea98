"""Unpacks request bodies: gzip and deflate, in bounded memory and bounded time.

A body can be built to take long without becoming large: a deflate block that holds nothing, or a
few bytes, has a code table that takes 0.8 us to set up and 11 bytes to send, so 16 MiB of them take
more than a second. Compressors never write such blocks. So a body is unpacked in steps, and is
refused when a step gives next to nothing, or when all of it takes several times the processor time
of the slowest body that a compressor has written.

Sources: RFC 9110, section 8.4.1, for the names; RFC 1950 to 1952 for the formats.
"""

import io
import time
import zlib
from collections.abc import Iterator

from mnist_sgd_serve.protocol.errors import RequestError, shown

__all__ = ["LITTLE", "decompress"]

LITTLE = 16 * 2**10
"""Bytes of a compressed body that are unpacked within 2 ms, whatever they hold, if the outcome is
small; an image takes 1 KB or less."""

STEP = 64 * 2**10
"""Bytes of a body that are unpacked at once."""

PIECE = 256 * 2**10
"""Bytes that a step gives at once."""

LEAST = STEP // 16
"""Bytes that a step must give. Even a client that flushes after each byte sends only 7 for one."""

SECONDS_PER_BYTE = 0.5 / (16 * 2**20)
"""Of processor time for each byte that the body may have unpacked: 30 ns, where zlib takes 1 to 8.
"""

LEAST_SECONDS = 0.1
"""Of processor time that every body has: clocks have steps, and machines hiccups."""

_GZIP, _ZLIB, _RAW = 31, 15, -15
"""What zlib is told of the format, as its window bits."""


def decompress(body: bytes, encoding: str | None, *, limit: int) -> bytes:
    """Undo the Content-Encoding of a body.

    A gzip file of several members is refused, as the bytes after the first could be anything.

    Args:
        body: as received.
        encoding: the value of the header: gzip, x-gzip, deflate, identity, in any case; or None.
        limit: the most bytes that the body may have unpacked; not one more is kept in memory.

    Raises:
        RequestError: 413, it is larger; 400, it is damaged, cut short, followed by something, or
            built to take long; 415, the encoding is another one, or several.
    """
    name = (encoding or "identity").strip().lower()
    if name == "identity":
        content = body
    elif name in ("gzip", "x-gzip"):
        content = _unpack(body, name, _GZIP, limit)
    elif name == "deflate":
        content = _unpack(body, name, _deflate_format(body), limit)
    else:
        raise RequestError(
            415,
            "bad_encoding",
            f"Content-Encoding must be gzip, deflate or identity, got {shown(encoding)}",
        )
    if len(content) > limit:
        raise RequestError(413, "too_large", f"the body is larger than {limit} bytes")
    return content


def _deflate_format(body: bytes) -> int:
    """Say whether a deflated body has the zlib wrapper that it must have, or none.

    Bare streams are sent too, as a note in RFC 9110, section 8.4.1.2, says: .NET's DeflateStream
    makes them. A wrapper starts with method 8; a bare stream that did would be a stored block with
    padding that is not zero, which no compressor writes.
    """
    return _ZLIB if body[:1] and body[0] & 15 == 8 else _RAW


def _unpack(body: bytes, name: str, window_bits: int, limit: int) -> bytes:
    unpacker = zlib.decompressobj(window_bits)
    content = io.BytesIO()
    latest = time.thread_time() + max(LEAST_SECONDS, SECONDS_PER_BYTE * limit)
    try:
        for piece in _pieces(unpacker, body, name):
            content.write(piece[: limit + 1 - content.tell()])
            if content.tell() > limit:
                return content.getvalue()
            if time.thread_time() > latest:
                raise _refused(f"the {name} body takes too long to unpack: send it uncompressed")
    except zlib.error as error:
        raise _refused(f"the {name} body is damaged") from error
    return content.getvalue()


def _pieces(unpacker: "zlib._Decompress", body: bytes, name: str) -> Iterator[bytes]:
    """What a body holds, in pieces.

    Raises:
        RequestError: 400, it is cut short, followed by something, or a step gives too little.
    """
    for start in range(0, len(body), STEP):
        step = body[start : start + STEP]
        given, piece = 0, b""
        while step or len(piece) == PIECE:
            piece = unpacker.decompress(step, PIECE)
            given += len(piece)
            yield piece
            step = unpacker.unconsumed_tail
        if unpacker.eof:
            after = len(unpacker.unused_data) + max(0, len(body) - start - STEP)
            if after:
                raise _refused(f"{after} bytes follow the {name} body, nothing may")
            return
        if given < LEAST and start + STEP < len(body):
            raise _refused(
                f"{STEP} bytes of the {name} body unpack to {given}, at least {LEAST} are "
                "expected: send it uncompressed"
            )
    raise _refused(f"the {name} body is cut short")


def _refused(message: str) -> RequestError:
    return RequestError(400, "bad_compression", message)
