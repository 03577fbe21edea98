"""Makes tests/fuzz/corpus/: small files, each named after what it is, from which fuzzing begins.

    python tools/make_idx_corpus.py [--out tests/fuzz/corpus]

The same files come out on every run (the gzipped ones with the same version of zlib). A fuzzer's
finding is kept by adding it here under the name of what it is.
"""

import argparse
import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "tests" / "fuzz" / "corpus"
UINT8 = 0x08
MOST = 2**32 - 1


def header(*shape: int, item_type: int = UINT8) -> bytes:
    """An IDX header that states a shape and a type of items."""
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, item_type, len(shape), *shape)


IMAGES = header(2, 3, 4) + bytes(range(24))


def plain_files() -> Iterator[tuple[str, bytes]]:
    """Files that are not gzipped, and what they are."""
    yield "empty", b""
    for dimensions in range(1, 5):
        yield f"array-of-{dimensions}-dimensions", header(*[1] * dimensions) + b"\x07"
    yield "images-2x3x4", IMAGES
    yield "labels-5", header(5) + bytes(5)
    yield "row-of-784", header(1, 784) + bytes(784)
    for kept in (1, 3, 4, 7, 8, 15, 16, 39):
        yield f"images-cut-after-{kept}-bytes", IMAGES[:kept]
    yield "images-and-a-byte-more", IMAGES + b"\0"
    for code in (0x09, 0x0B, 0x0C, 0x0D, 0x0E):
        yield f"items-of-type-{code:02x}", header(1, item_type=code) + bytes(8)
    for code in (0x00, 0x07, 0x0A, 0x0F, 0xFF):
        yield f"no-type-{code:02x}", header(1, item_type=code) + bytes(8)
    for count in (0, 5, 255):
        yield f"{count}-dimensions", header(*[1] * count) + bytes(1)
    yield "first-dimension-0", header(0, 28, 28)
    yield "last-dimension-0", header(MOST, MOST, 0)
    yield "largest-that-can-be-counted", header(2**31, 2**31 - 1, 2)
    yield "first-that-cannot-be-counted", header(2**31, 2**31, 2)
    yield "0-modulo-2-to-the-64", header(2**31, 2**31, 4)
    yield "four-dimensions-of-the-most", header(MOST, MOST, MOST, MOST)
    yield "doubles-that-cannot-be-counted", header(2**30, 2**30, item_type=0x0E)
    yield "little-endian-dimensions", struct.pack("<BBBBI", 0, 0, UINT8, 1, 2) + bytes(2)
    yield "start-of-a-png", b"\x89PNG\r\n\x1a\n"
    yield "start-of-a-jpeg", b"\xff\xd8\xff\xe0"
    yield "start-of-a-zip", b"PK\3\4"


def gzipped_files() -> Iterator[tuple[str, bytes]]:
    """Gzip streams, whole and damaged, and what they are."""
    packed = gzip.compress(IMAGES, mtime=0)
    yield "gzip-images-2x3x4", packed
    yield (
        "gzip-of-two-members",
        b"".join(gzip.compress(part, mtime=0) for part in (IMAGES[:9], IMAGES[9:])),
    )
    yield "gzip-with-zeros-after-it", packed + bytes(8)
    yield "gzip-with-a-name", gzip_with_flags(8, b"images\0")
    yield "gzip-with-an-extra-field", gzip_with_flags(4, b"\3\0abc")
    yield "gzip-with-an-extra-field-cut-short", gzip_with_flags(4, b"\xff\xff")[:20]
    yield "gzip-of-gzip", gzip.compress(packed, mtime=0)
    yield "gzip-of-nothing", gzip.compress(b"", mtime=0)
    for kept in (2, 9, len(packed) // 2, len(packed) - 8, len(packed) - 1):
        yield f"gzip-cut-after-{kept}-bytes", packed[:kept]
    yield "gzip-and-text", packed + b"more"
    yield "gzip-of-an-unknown-method", packed[:2] + b"\7" + packed[3:]
    yield "gzip-of-a-wrong-checksum", packed[:-8] + bytes(4) + packed[-4:]
    yield "gzip-of-a-wrong-length", packed[:-4] + b"\xff\xff\xff\xff"
    yield "gzip-of-a-byte-less", gzip.compress(IMAGES[:-1], mtime=0)
    yield "gzip-of-a-byte-more", gzip.compress(IMAGES + b"\0", mtime=0)
    yield "gzip-of-far-more-than-stated", gzip.compress(header(1, 1) + bytes(2**21), mtime=0)
    yield "gzip-that-states-more-than-it-can-hold", gzip.compress(header(MOST, 28, 28), mtime=0)
    yield "gzip-of-first-that-cannot-be-counted", gzip.compress(header(2**31, 2**31, 2), mtime=0)


def gzip_with_flags(flags: int, fields: bytes) -> bytes:
    """The images as a gzip member with the header's flags and the fields that they announce."""
    deflate = zlib.compressobj(wbits=-15)
    start = struct.pack("<BBBBIBB", 0x1F, 0x8B, 8, flags, 0, 0, 255)
    end = struct.pack("<II", zlib.crc32(IMAGES), len(IMAGES))
    return start + fields + deflate.compress(IMAGES) + deflate.flush() + end


def main() -> None:
    """Read the command line and write the files."""
    parser = argparse.ArgumentParser(description="Make the corpus of the IDX reader's fuzzer.")
    parser.add_argument("--out", type=Path, default=FOLDER)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, content in (*plain_files(), *gzipped_files()):
        (out / name).write_bytes(content)


if __name__ == "__main__":
    main()
