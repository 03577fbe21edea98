"""Unpacks request bodies: gzip and deflate, never into more memory than allowed.

Sources: RFC 9110, section 8.4.1, for the names; RFC 1950 to 1952 for the formats.
"""

import zlib

from mnist_sgd_serve.protocol.errors import RequestError, shown

__all__ = ["decompress"]

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
        RequestError: 413, it is larger; 400, it is damaged, cut short, or followed by something;
            415, the encoding is another one, or several.
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
    try:
        content = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise RequestError(400, "bad_compression", f"the {name} body is damaged") from error
    if len(content) <= limit and not unpacker.eof:
        raise RequestError(400, "bad_compression", f"the {name} body is cut short")
    if unpacker.unused_data:
        after = len(unpacker.unused_data)
        raise RequestError(
            400, "bad_compression", f"{after} bytes follow the {name} body, nothing may"
        )
    return content
