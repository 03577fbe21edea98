"""The fuzzer's kept corpus, and what hypothesis makes of it, break no promise of the reader."""

import gzip
import sys
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings, strategies as st

import make_idx_corpus
from any_file import check_any_file, unpacked

CORPUS = sorted((Path(__file__).parents[1] / "fuzz" / "corpus").iterdir())
WHOLE = [path.read_bytes() for path in CORPUS]


@pytest.fixture(scope="module")
def anywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    tracemalloc.start()
    yield tmp_path_factory.mktemp("fuzz") / "file"
    tracemalloc.stop()


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_a_file_of_the_corpus_is_an_array_or_refused(path: Path, anywhere: Path) -> None:
    check_any_file(anywhere, path.read_bytes())


def test_the_corpus_is_what_its_script_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["make_idx_corpus", "--out", str(tmp_path)])
    make_idx_corpus.main()
    assert [path.name for path in sorted(tmp_path.iterdir())] == [path.name for path in CORPUS]
    for path in CORPUS:
        if not path.name.startswith("gzip"):  # whose bytes are also those of zlib's version
            assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A file of the corpus, some bytes of it replaced, left out or put in, packed anew or not."""
    whole = draw(st.sampled_from(WHOLE))
    packed = whole[:2] == b"\x1f\x8b"
    inside = packed and draw(st.booleans())
    try:
        content = bytearray(unpacked(whole) if inside else whole)
    except (OSError, EOFError, zlib.error):
        content, inside = bytearray(whole), False
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, min(len(content), 64)) | st.integers(0, len(content)))
        removed = draw(st.integers(0, 4))
        content[place : place + removed] = draw(st.binary(max_size=4))
    return gzip.compress(content, mtime=0) if inside or draw(st.booleans()) else bytes(content)


@settings(deadline=None, max_examples=300)
@given(content=mutants())
@example(content=gzip.compress(make_idx_corpus.header(1, 1) + bytes(2**24), mtime=0))
@example(content=gzip.compress(make_idx_corpus.header(2**24) + bytes(2**24), mtime=0))
def test_any_mutant_of_the_corpus_is_an_array_or_refused(anywhere: Path, content: bytes) -> None:
    check_any_file(anywhere, content)
