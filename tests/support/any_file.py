"""What holds for `read_idx` and a file of any bytes, whoever made them up."""

import gzip
import io
import math
import tracemalloc
import zlib
from pathlib import Path

import numpy as np

from mnist_sgd.data import IdxError, read_idx

# What reading takes beside the data: zlib's window, buffers, the error and its traceback.
BESIDE = 512 * 2**10


def check_any_file(path: Path, content: bytes) -> None:
    """Read a file of these bytes: an array of what it holds, or an IdxError in one line by name.

    Whatever comes of it, no more memory is taken than the data that the header states; a plain
    file's data takes none, for it is mapped. tracemalloc must be tracing; to start it for each file
    would cost a kilobyte that it never gives back.
    """
    path.write_bytes(content)
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    try:
        array = read_idx(path)
        peak = tracemalloc.get_traced_memory()[1]
    except IdxError as error:
        peak = tracemalloc.get_traced_memory()[1]
        assert str(error).startswith(f"{path}: ")
        assert str(error).isprintable()
    else:
        assert idx_of(array) == unpacked(content)
    assert tracemalloc.is_tracing()
    assert peak - before <= stated_to_be_held(content) + BESIDE


def idx_of(array: np.ndarray) -> bytes:
    """The IDX file of an array of unsigned bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def unpacked(content: bytes) -> bytes:
    """The bytes of a file, inflated if it is gzipped."""
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def stated_to_be_held(content: bytes) -> int:
    """How many bytes of data a gzipped file's header states, 0 if there is none to be read."""
    if content[:2] != b"\x1f\x8b":
        return 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            head = stream.read(20)
    except (OSError, EOFError, zlib.error):
        return 0
    sizes = [int.from_bytes(head[i : i + 4], "big") for i in range(4, len(head) - 3, 4)]
    dimensions = head[3] if len(head) > 3 else 0
    return math.prod(sizes[:dimensions]) if 1 <= dimensions <= len(sizes) else 0
