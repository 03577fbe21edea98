"""Deflate streams that no compressor writes. Source: RFC 1951, sections 3.2.3 to 3.2.7."""

__all__ = ["END", "blocks"]

END = b"\x03\x00"
"""The last block of a stream: it holds nothing."""

_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
"""In which the lengths of the codes for code lengths are sent."""


def blocks(literals: int, size: int) -> bytes:
    """Blocks that each have a code table of their own and hold so many zeros.

    They begin and end with whole bytes and are not the end of a stream.

    Args:
        literals: bytes that a block holds.
        size: of the stream, in bytes, about.
    """
    lengths = "".join(_number(int(code in (1, 18)), 3) for code in _ORDER[:18])
    # Codes of one bit for a zero and for the end of the block: a 1, 255 times 0, and a 1; the last
    # 1 is for a distance. Of the lengths themselves, 1 is sent as 0 and "some zeros" as 1.
    table = "0" + "1" + _number(138 - 11, 7) + "1" + _number(117 - 11, 7) + "0" + "0"
    head = "0" + _number(2, 2) + _number(0, 5) + _number(0, 5) + _number(18 - 4, 4)
    bits = 8 * (head + lengths + table + "0" * literals + "1")
    some = int(bits[::-1], 2).to_bytes(len(bits) // 8, "little")
    return some * (size // len(some))


def _number(value: int, bits: int) -> str:
    """A number in so many bits, the lowest first."""
    return f"{value:0{bits}b}"[::-1]
