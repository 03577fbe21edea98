"""IDX files are read as they were written, and anything else is refused by name."""

import gzip
import math
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from memory import traced
from mnist_sgd.data import IdxError, read_idx, write_idx

IMAGES = np.arange(3 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(3, 28, 28)


def header(*shape: int, item_type: int = 8) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, item_type, len(shape), *shape)


PLAIN = header(*IMAGES.shape) + IMAGES.tobytes()
PACKED = gzip.compress(PLAIN, mtime=0)


def refusal(path: Path, content: bytes) -> str:
    """Write the content, read it, and give the error's text after the path it must start with."""
    path.write_bytes(content)
    with pytest.raises(IdxError) as caught:
        read_idx(path)
    name, _, text = str(caught.value).partition(": ")
    assert name == str(path)
    assert "\n" not in text
    return text


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("idx")


@settings(deadline=None)
@given(
    array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, max_side=9)),
    name=st.sampled_from(["a.idx", "a.gz"]),
)
def test_any_array_comes_back_as_it_was_written(folder: Path, array: np.ndarray, name: str) -> None:
    write_idx(folder / name, array)
    back = read_idx(folder / name)
    assert back.dtype == np.uint8
    assert back.flags.c_contiguous
    assert not back.flags.writeable
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("array", [IMAGES[:, ::2, ::3], IMAGES.transpose(2, 1, 0)])
def test_an_array_of_any_layout_is_written_in_row_major_order(
    tmp_path: Path, array: np.ndarray
) -> None:
    write_idx(tmp_path / "a.idx", array)
    assert (tmp_path / "a.idx").read_bytes() == header(*array.shape) + array.tobytes()


def test_a_plain_file_is_mapped_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    path.write_bytes(header(2**20, 28, 28))
    with path.open("r+b") as file:
        file.truncate(16 + 2**20 * 28 * 28)
    with traced() as peak:
        images = read_idx(path)
        assert peak() < 2**20
    assert images.shape == (2**20, 28, 28)


def test_gzip_is_known_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "packed").write_bytes(PACKED)
    (tmp_path / "plain.gz").write_bytes(PLAIN)
    np.testing.assert_array_equal(read_idx(tmp_path / "packed"), IMAGES)
    np.testing.assert_array_equal(read_idx(tmp_path / "plain.gz"), IMAGES)


def test_a_gzip_file_of_several_members_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(PLAIN[:100]) + gzip.compress(PLAIN[100:]))
    np.testing.assert_array_equal(read_idx(tmp_path / "a"), IMAGES)


def test_the_same_array_is_written_as_the_same_gzip_bytes(tmp_path: Path) -> None:
    write_idx(tmp_path / "a.gz", IMAGES)
    write_idx(tmp_path / "b.gz", IMAGES)
    content = (tmp_path / "a.gz").read_bytes()
    assert content == (tmp_path / "b.gz").read_bytes()
    assert content[3:8] == bytes(5)  # no name, no time
    assert gzip.decompress(content) == PLAIN


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.idx"
    write_idx(path, IMAGES)
    with pytest.raises(IdxError):
        write_idx(path, np.zeros((0, 28, 28), np.uint8))
    np.testing.assert_array_equal(read_idx(path), IMAGES)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((2, 2)), "is written from uint8 in 1 to 4 dimensions, got float64 in 2"),
        (np.uint8(3), "is written from uint8 in 1 to 4 dimensions, got uint8 in 0"),
        (np.zeros((1,) * 5, np.uint8), "got uint8 in 5"),
        (np.zeros((0, 28), np.uint8), "each dimension must be 1 to 2**32 - 1, got [0, 28]"),
        (np.broadcast_to(np.uint8(0), (2**32,)), "got [4294967296]"),
    ],
)
def test_an_array_that_idx_cannot_hold_is_not_written(
    tmp_path: Path, array: np.ndarray, text: str
) -> None:
    path = tmp_path / "a.idx"
    with pytest.raises(IdxError) as caught:
        write_idx(path, array)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith(text)
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "its header ends after 0 bytes, that of an IDX file has 8 or more"),
        (PLAIN[:3], "its header ends after 3 bytes, that of an IDX file has 8 or more"),
        (PLAIN[:15], "its header ends after 15 of 16 bytes"),
        (
            b"\x89PNG\r\n\x1a\n",
            "it starts with the bytes 89 50, an IDX file with 00 00; it looks like a PNG image",
        ),
        (
            b"\xff\xd8\xff\xe0",
            "it starts with the bytes FF D8, an IDX file with 00 00; it looks like a JPEG image",
        ),
        (b"a,b,c", "it starts with the bytes 61 2C, an IDX file with 00 00"),
        (
            header(1, item_type=7),
            "its type code is 0x07, an IDX file has 0x08, 0x09, 0x0B, 0x0C, 0x0D or 0x0E",
        ),
        (header(), "its header states 0 dimensions, 1 to 4 are read"),
        (header(1, 1, 1, 1, 1), "its header states 5 dimensions, 1 to 4 are read"),
        (
            header(1, 1, item_type=0x0C) + bytes(4),
            "its items are of IDX type 0x0C, only unsigned bytes, type 0x08, are read",
        ),
    ],
)
def test_a_file_that_is_not_idx_is_refused_by_name(
    tmp_path: Path, content: bytes, text: str
) -> None:
    assert refusal(tmp_path / "images", content) == text


def test_every_truncation_of_a_header_is_refused_by_its_length(tmp_path: Path) -> None:
    for dimensions in range(1, 5):
        whole = header(*[7] * dimensions)
        for kept in range(len(whole)):
            stated = f"of {len(whole)} bytes" if kept >= 4 else "bytes, that of an IDX file has 8"
            text = refusal(tmp_path / "images", whole[:kept])
            assert text.startswith(f"its header ends after {kept} {stated}")


OTHER_FORMATS = {
    0x1F8B: "; it looks like gzip data",
    0x8950: "; it looks like a PNG image",
    0xFFD8: "; it looks like a JPEG image",
    0x504B: "; it looks like a zip archive",
}


@pytest.mark.parametrize("pair", [1, 255, 256, 0x1F00, 0x8B1F, 0x5089, 0xFFFF, *OTHER_FORMATS])
def test_other_first_bytes_are_refused_by_their_values(tmp_path: Path, pair: int) -> None:
    first, second = divmod(pair, 256)
    inside = gzip.compress(bytes([first, second]) + header(1)[2:])
    guess = OTHER_FORMATS.get(pair, "")
    assert refusal(tmp_path / "images", inside) == (
        f"it starts with the bytes {first:02X} {second:02X}, an IDX file with 00 00{guess}"
    )


def test_every_other_type_code_is_refused_by_its_number(tmp_path: Path) -> None:
    known = {8: 1, 9: 1, 11: 2, 12: 4, 13: 4, 14: 8}
    for code in set(range(256)) - set(known):
        assert refusal(tmp_path / "images", header(1, item_type=code)) == (
            f"its type code is 0x{code:02X}, an IDX file has 0x08, 0x09, 0x0B, 0x0C, 0x0D or 0x0E"
        )
    for code in set(known) - {8}:
        assert refusal(tmp_path / "images", header(1, item_type=code)) == (
            f"its items are of IDX type 0x{code:02X}, only unsigned bytes, type 0x08, are read"
        )


def test_every_other_number_of_dimensions_is_refused(tmp_path: Path) -> None:
    for dimensions in {0, *range(5, 256)}:
        text = refusal(tmp_path / "images", header(*[1] * dimensions))
        assert text == f"its header states {dimensions} dimensions, 1 to 4 are read"


def test_a_dimension_of_zero_is_refused_by_its_place(tmp_path: Path) -> None:
    for dimensions in range(1, 5):
        for place in range(dimensions):
            shape = [2**32 - 1] * dimensions
            shape[place] = 0
            text = refusal(tmp_path / "images", header(*shape))
            assert text == f"it holds nothing: dimension {place} is 0"


SIDES = st.integers(1, 2**32 - 1) | st.integers(2**31 - 2, 2**31 + 2) | st.integers(1, 9)


@settings(deadline=None)
@given(shape=st.lists(SIDES, min_size=1, max_size=4), code=st.sampled_from([8, 9, 11, 12, 13, 14]))
@example(shape=[2**31, 2**31 - 1, 2], code=8)
@example(shape=[2**31, 2**31, 2], code=8)
@example(shape=[2**31, 2**31, 4], code=8)  # 0 modulo 2**64
@example(shape=[2**30, 2**30], code=14)
def test_dimensions_are_refused_from_the_first_product_that_no_address_can_count(
    folder: Path, shape: list[int], code: int
) -> None:
    size = {8: 1, 9: 1, 11: 2, 12: 4, 13: 4, 14: 8}[code]
    text = refusal(folder / "images", header(*shape, item_type=code))
    stated = " x ".join(map(str, shape))
    beyond = f"its header states {stated} items, more than any file can hold"
    assert (text == beyond) == (math.prod(shape) * size >= 2**63)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_of_zero_images_is_refused_by_name(tmp_path: Path, pack: type[bytes]) -> None:
    text = refusal(tmp_path / "images", pack(header(0, 28, 28)))
    assert text == "it holds nothing: dimension 0 is 0"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_dimensions_whose_product_overflows_are_refused_by_name(
    tmp_path: Path, pack: type[bytes]
) -> None:
    most = 2**32 - 1
    text = refusal(tmp_path / "images", pack(header(most, most, most)))
    shape = "4294967295 x 4294967295 x 4294967295"
    assert text == f"its header states {shape} items, more than any file can hold"
    wrapped = refusal(tmp_path / "images", pack(header(2**31, 2**31, 4)))  # 0 modulo 2**64
    assert wrapped.endswith("2147483648 x 2147483648 x 4 items, more than any file can hold")


def test_dimensions_beyond_a_plain_file_are_refused_by_name(tmp_path: Path) -> None:
    assert refusal(tmp_path / "images", PLAIN[:-1]) == (
        "it has 2,367 bytes, but its header states 2,368: "
        "16 for itself and [3, 28, 28] for the data"
    )


def test_trailing_bytes_of_a_plain_file_are_refused_by_name(tmp_path: Path) -> None:
    assert refusal(tmp_path / "images", PLAIN + b"\0").startswith(
        "it has 2,369 bytes, but its header states 2,368"
    )


def test_dimensions_beyond_a_gzipped_file_are_refused_by_name(tmp_path: Path) -> None:
    text = refusal(tmp_path / "images.gz", gzip.compress(PLAIN[:-1]))
    assert text == "its header states 2,352 bytes of data, but it holds only 2,351"


def test_trailing_bytes_inside_a_gzipped_file_are_refused_by_name(tmp_path: Path) -> None:
    text = refusal(tmp_path / "images.gz", gzip.compress(PLAIN + b"\0"))
    assert text == "its header states 2,352 bytes of data, but it holds more"


def test_trailing_bytes_after_a_gzip_stream_are_refused_by_name(tmp_path: Path) -> None:
    text = refusal(tmp_path / "images.gz", PACKED + b"more")
    assert text.startswith("its gzip stream is damaged: Not a gzipped file")


@pytest.mark.parametrize("kept", [2, 12, len(PACKED) // 2, len(PACKED) - 8, len(PACKED) - 1])
def test_a_truncated_gzip_is_refused_by_name(tmp_path: Path, kept: int) -> None:
    assert refusal(tmp_path / "images.gz", PACKED[:kept]) == "its gzip stream is cut short"


def test_a_gzip_of_a_wrong_checksum_is_refused_by_name(tmp_path: Path) -> None:
    wrong = PACKED[:-8] + bytes([PACKED[-8] ^ 1]) + PACKED[-7:]
    text = refusal(tmp_path / "images.gz", wrong)
    assert text.startswith("its gzip stream is damaged: CRC check failed")


def test_a_gzip_bomb_is_refused_by_name_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header(1, 28, 28))
        for _ in range(64):
            file.write(bytes(2**20))
    bomb = path.read_bytes()
    with traced() as peak:
        text = refusal(path, bomb)
        assert peak() < 2**20
    assert text == "its header states 784 bytes of data, but it holds more"


def test_a_header_that_no_gzip_stream_can_fulfil_is_refused_before_memory_is_taken(
    tmp_path: Path,
) -> None:
    text = refusal(tmp_path / "images.gz", gzip.compress(header(2**32 - 1, 28, 28), mtime=0))
    assert text.startswith("its header states 3,367,254,359,280 bytes of data, more than ")


def test_a_folder_and_a_missing_file_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(IdxError) as caught:
        read_idx(tmp_path)
    assert str(caught.value) == f"{tmp_path}: it is not a regular file; an IDX file is needed"
    with pytest.raises(IdxError) as caught:
        read_idx(tmp_path / "none")
    missing = tmp_path / "none"
    assert str(caught.value) == f"{missing}: it cannot be read: No such file or directory"


def usable_or_refused(path: Path, content: bytes) -> None:
    """Read the content: the outcome is an IdxError that names the file, or all that it holds."""
    path.write_bytes(content)
    try:
        array = read_idx(path)
    except IdxError:
        refusal(path, content)
    else:
        plain = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        assert header(*array.shape) + array.tobytes() == plain


def headers_of_any_kind() -> st.SearchStrategy[bytes]:
    sizes = st.integers(0, 3) | st.integers(0, 2**32 - 1)
    dimensions = st.lists(sizes, max_size=6).map(lambda shape: header(*shape))
    return dimensions | st.binary(max_size=24)


@settings(deadline=None)
@given(start=headers_of_any_kind(), rest=st.binary(max_size=40), pack=st.booleans())
def test_any_bytes_are_an_array_or_an_idx_error(
    folder: Path, start: bytes, rest: bytes, pack: bool
) -> None:
    content = gzip.compress(start + rest) if pack else start + rest
    usable_or_refused(folder / "garbage", content)


@settings(deadline=None)
@given(whole=st.sampled_from([PLAIN, PACKED]), data=st.data())
def test_any_truncation_of_a_valid_file_is_an_idx_error(
    folder: Path, whole: bytes, data: st.DataObject
) -> None:
    kept = data.draw(st.integers(0, len(whole) - 1))
    refusal(folder / "truncated", whole[:kept])


@settings(deadline=None, max_examples=300)
@given(whole=st.sampled_from([PLAIN, PACKED]), data=st.data())
def test_any_flipped_bit_of_a_valid_file_leaves_an_array_or_an_idx_error(
    folder: Path, whole: bytes, data: st.DataObject
) -> None:
    early = st.integers(0, 8 * 20 - 1)  # the headers, where a bit means most
    bit = data.draw(early | st.integers(0, 8 * len(whole) - 1))
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8
    usable_or_refused(folder / "flipped", bytes(flipped))


def test_importing_the_data_package_does_not_import_torch() -> None:
    code = "import sys, mnist_sgd.data; print('torch' in sys.modules, 'torchvision' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
