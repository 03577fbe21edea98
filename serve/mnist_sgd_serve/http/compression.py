"""Decompresses request bodies, gzip and deflate, in bounded memory and time.

A malicious body can take long without becoming large: an empty deflate block takes 11 bytes, but
its code table takes time to set up. Compressors never write such blocks. So a body is decompressed
in steps, and is rejected when a step yields next to nothing, or when all of it takes several times
the processor time of the slowest legitimate body.

Sources: RFC 9110, section 8.4.1, for the names; RFC 1950 to 1952 for the formats.
"""

import io
import time
import zlib
from collections.abc import Iterator

from mnist_sgd_serve.protocol.errors import Kind, RequestError, quoted

SMALL = 16 * 2**10
"""Bytes of a compressed body that take little time in any case, if the result is small too."""

STEP = 64 * 2**10
"""Bytes of the body in a step."""

PIECE = 256 * 2**10
"""Bytes of output at a time."""

LEAST = STEP // 16
"""Bytes that a step must yield. Even a client that flushes after each byte sends only 7 for one."""

SECONDS_PER_BYTE = 0.5 / (16 * 2**20)
"""Of processor time per byte of the limit, several times what zlib takes."""

LEAST_SECONDS = 0.1
"""The least limit of processor time, as clocks are coarse."""

_GZIP, _ZLIB, _RAW = 31, 15, -15
"""The window bits by which zlib knows the format."""


def decompress(body: bytes, encoding: str | None, *, limit: int) -> bytes:
    """Undo the Content-Encoding of a body.

    A gzip file of several members is rejected, as the bytes after the first could be anything.

    Args:
        body: as received.
        encoding: the value of the header: gzip, x-gzip, deflate, identity, in any case; or None.
        limit: the most bytes after decompression; no more are kept in memory.

    Raises:
        RequestError: `DECOMPRESSED_TOO_LARGE`, it is larger; `UNSUPPORTED`, the encoding is
            another one, or several; else it is damaged, cut short, followed by other bytes, or
            takes too long.
    """
    name = (encoding or "identity").strip().lower()
    if name == "identity":
        content = body
    elif name in ("gzip", "x-gzip"):
        content = _decompress(body, name, _GZIP, limit)
    elif name == "deflate":
        content = _decompress(body, name, _deflate_format(body), limit)
    else:
        raise RequestError(
            f"Content-Encoding must be gzip, deflate or identity, got {quoted(encoding)}",
            Kind.UNSUPPORTED,
        )
    if len(content) > limit:
        raise RequestError(f"the body is larger than {limit} bytes", Kind.DECOMPRESSED_TOO_LARGE)
    return content


def _deflate_format(body: bytes) -> int:
    """Tell a deflated body with the required zlib wrapper from one without.

    Some clients send bare streams, as RFC 9110, section 8.4.1.2, notes. A wrapper starts with
    method 8; a bare stream that did would be a stored block with nonzero padding.
    """
    return _ZLIB if body[:1] and body[0] & 15 == 8 else _RAW


def _decompress(body: bytes, name: str, window_bits: int, limit: int) -> bytes:
    unpacker = zlib.decompressobj(window_bits)
    content = io.BytesIO()
    latest = time.thread_time() + max(LEAST_SECONDS, SECONDS_PER_BYTE * limit)
    try:
        for piece in _pieces(unpacker, body, name):
            content.write(piece[: limit + 1 - content.tell()])
            if content.tell() > limit:
                return content.getvalue()
            if time.thread_time() > latest:
                raise RequestError(
                    f"the {name} body takes too long to unpack: send it uncompressed"
                )
    except zlib.error as error:
        raise RequestError(f"the {name} body is damaged") from error
    return content.getvalue()


def _pieces(unpacker: "zlib._Decompress", body: bytes, name: str) -> Iterator[bytes]:
    """Decompress a body in pieces."""
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
                raise RequestError(f"{after} bytes follow the {name} body, nothing may")
            return
        if given < LEAST and start + STEP < len(body):
            raise RequestError(
                f"{STEP} bytes of the {name} body unpack to {given}, at least {LEAST} are "
                "expected: send it uncompressed"
            )
    raise RequestError(f"the {name} body is cut short")
