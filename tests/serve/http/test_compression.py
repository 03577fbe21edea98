"""Compressed bodies come out as they went in, bounded, or are refused."""

import gzip
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, strategies as st

from deflate import blocks
from memory import traced
from mnist_sgd_serve.http.compression import STEP, decompress
from mnist_sgd_serve.http.responses import STATUS
from mnist_sgd_serve.protocol import Kind, RequestError

TEXT = bytes(range(256)) * 40


def bare(content: bytes, level: int = -1) -> bytes:
    """A deflate stream without the zlib wrapper."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}


def refusal(body: bytes, encoding: str, limit: int = 100_000) -> tuple[int, str]:
    with pytest.raises(RequestError) as raised:
        decompress(body, encoding, limit=limit)
    return STATUS[raised.value.kind], str(raised.value)


@given(content=st.binary(max_size=2000), level=st.integers(0, 9))
def test_what_was_packed_comes_out_again(content: bytes, level: int) -> None:
    assert decompress(gzip.compress(content, level, mtime=0), "gzip", limit=2000) == content
    assert decompress(zlib.compress(content, level), "deflate", limit=2000) == content
    assert decompress(bare(content, level), "deflate", limit=2000) == content
    assert decompress(content, "identity", limit=2000) == content


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", " Gzip\t", "X-GZip"])
def test_the_name_of_an_encoding_may_be_in_any_case(encoding: str) -> None:
    assert decompress(gzip.compress(TEXT, mtime=0), encoding, limit=100_000) == TEXT


@pytest.mark.parametrize("encoding", [None, "", "identity", "IDENTITY"])
def test_a_body_without_encoding_stays_as_it_is(encoding: str | None) -> None:
    assert decompress(TEXT, encoding, limit=len(TEXT)) is TEXT
    with pytest.raises(RequestError) as raised:
        decompress(TEXT, encoding, limit=len(TEXT) - 1)
    assert raised.value.kind is Kind.DECOMPRESSED_TOO_LARGE


@pytest.mark.parametrize(
    "encoding", ["br", "zstd", "compress", "gzip, gzip", "gzip,deflate", "identity, gzip", "*"]
)
def test_other_encodings_and_several_are_refused(encoding: str) -> None:
    message = f"Content-Encoding must be gzip, deflate or identity, got '{encoding}'"
    assert refusal(b"", encoding) == (415, message)


def test_a_long_or_odd_encoding_is_not_echoed() -> None:
    _, message = refusal(b"", "\x1b" * 10_000)
    assert message.isprintable()
    assert len(message) < 130


@pytest.mark.parametrize("encoding", PACKERS)
def test_the_limit_is_exact(encoding: str) -> None:
    packed = PACKERS[encoding](TEXT)
    assert decompress(packed, encoding, limit=len(TEXT)) == TEXT
    message = f"the body is larger than {len(TEXT) - 1} bytes"
    assert refusal(packed, encoding, len(TEXT) - 1) == (413, message)


@pytest.mark.parametrize("encoding", PACKERS)
def test_a_bomb_is_refused_in_little_memory(encoding: str) -> None:
    bomb = PACKERS[encoding](bytes(50_000_000))
    with traced() as peak:
        message = "the body is larger than 1000000 bytes"
        assert refusal(bomb, encoding, 1_000_000) == (413, message)
        assert peak() < 3_000_000


@pytest.mark.parametrize("encoding", PACKERS)
def test_a_body_cut_short_anywhere_is_refused_by_its_encoding(encoding: str) -> None:
    packed = PACKERS[encoding](TEXT)
    for end in range(len(packed)):
        expected = (400, f"the {encoding} body is cut short")
        assert refusal(packed[:end], encoding) == expected


@pytest.mark.parametrize("encoding", PACKERS)
def test_a_body_with_a_wrong_checksum_is_damaged(encoding: str) -> None:
    packed = bytearray(PACKERS[encoding](TEXT))
    packed[-6 if "gzip" in encoding else -1] ^= 1
    expected = (400, f"the {encoding} body is damaged")
    assert refusal(bytes(packed), encoding) == expected


@pytest.mark.parametrize("encoding", PACKERS)
def test_a_body_that_is_not_packed_is_damaged(encoding: str) -> None:
    expected = (400, f"the {encoding} body is damaged")
    assert refusal(b'{"inputs": []}', encoding) == expected


@pytest.mark.parametrize(
    "after", [b"\0", b"garbage", gzip.compress(b"second", mtime=0), zlib.compress(b"")]
)
@pytest.mark.parametrize("encoding", PACKERS)
def test_bytes_after_the_body_are_refused(encoding: str, after: bytes) -> None:
    message = f"{len(after)} bytes follow the {encoding} body, nothing may"
    body = PACKERS[encoding](TEXT) + after
    assert refusal(body, encoding) == (400, message)


@given(body=st.binary(max_size=99), encoding=st.sampled_from(list(PACKERS)))
def test_any_bytes_are_unpacked_or_refused(body: bytes, encoding: str) -> None:
    try:
        assert len(decompress(body, encoding, limit=50)) <= 50
    except RequestError as error:
        assert STATUS[error.kind] in (400, 413)


MIB = 2**20


def flushed(content: bytes, count: int) -> bytes:
    """A deflate stream of a client that flushes after every `count` bytes."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    parts = (content[at : at + count] for at in range(0, len(content), count))
    return (
        b"".join(packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH) for part in parts)
        + packer.flush()
    )


@pytest.mark.parametrize("before", [b"", bytes(9 * MIB)], ids=["at once", "after 9 MiB"])
def test_a_body_of_blocks_that_hold_nothing_is_refused(before: bytes) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(before) + packer.flush(zlib.Z_FULL_FLUSH)
    body = start + blocks(0, 2 * MIB) + bare(b"the end")
    assert zlib.decompressobj(-15).decompress(body) == before + b"the end"
    said = (
        "65536 bytes of the deflate body unpack to 0, at least 4096 are expected: "
        "send it uncompressed"
    )
    assert refusal(body, "deflate", 16 * MIB) == (400, said)


def test_a_body_that_takes_many_times_as_long_as_others_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the processor's time, which here goes on by 10 ms whenever somebody looks."""
    body = zlib.compress(bytes(range(256)) * 256 * 160, 0)  # 10 MiB
    seconds = iter(range(10_000))
    monkeypatch.setattr(
        "mnist_sgd_serve.http.compression.time.thread_time", lambda: next(seconds) / 100
    )
    assert len(decompress(body, "deflate", limit=100 * MIB)) == 10 * MIB
    said = "the deflate body takes too long to unpack: send it uncompressed"
    assert refusal(body, "deflate", 10 * MIB) == (400, said)


@pytest.mark.parametrize("level", [0, 1, 6, 9])
@pytest.mark.parametrize("memory", [1, 9])
@pytest.mark.parametrize("values", [1, 16, 200, 256])
def test_no_body_that_a_compressor_writes_is_refused(level: int, memory: int, values: int) -> None:
    content = bytes(byte % values for byte in random_bytes(3 * STEP))
    packer = zlib.compressobj(level, zlib.DEFLATED, 31, memory)
    packed = packer.compress(content) + packer.flush()
    assert decompress(packed, "gzip", limit=MIB) == content


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_a_client_may_flush_as_often_as_it_likes(count: int) -> None:
    content = random_bytes(STEP)
    packed = flushed(content, count)
    assert decompress(packed, "deflate", limit=MIB) == content


def random_bytes(count: int) -> bytes:
    return bytes(np.random.default_rng(3).integers(0, 256, count, np.uint8))
