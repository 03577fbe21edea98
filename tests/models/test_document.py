"""A state file is read back to the last bit, or refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from safetensors.torch import save

from mnist_sgd._state_file import DocumentError, dump, parse
from values import same

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
TENSORS = st.builds(
    lambda shape, dtype: torch.arange(shape.numel()).reshape(shape).to(dtype),
    st.lists(st.integers(0, 3), max_size=3).map(torch.Size),
    st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool]),
)
VALUES = st.recursive(
    SCALARS | TENSORS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_any_value_comes_back_unchanged(value: dict[str, Any]) -> None:
    assert same(parse(dump(value)), value)


def test_tensors_are_named_by_where_they_are_and_names_that_meet_are_kept_apart() -> None:
    value = {"a": {"b": torch.zeros(1)}, "a.b": torch.ones(1), "state": {0: [torch.ones(2)]}}
    content = dump(value)
    assert b'"a.b"' in content
    assert b'"state.0.0"' in content
    assert same(parse(content), value)


def test_tensors_that_share_memory_or_are_strided_are_written_each_by_itself() -> None:
    rows = torch.arange(6.0).reshape(2, 3)
    read = parse(dump({"rows": rows, "columns": rows.T, "again": rows}))
    assert torch.equal(read["columns"], rows.T)
    read["rows"].zero_()
    assert torch.equal(read["again"], rows)


WEIGHTS = torch.arange(15.0).reshape(3, 5).sin()
CONTENT = dump({"weights": WEIGHTS, "epoch": 2**64 - 1, "average": (0.1, {0: None})})


@pytest.mark.parametrize("change", [lambda byte: byte ^ 1, lambda byte: byte ^ 128], ids="lh")
def test_a_change_of_any_byte_is_seen(change: Callable[[int], int]) -> None:
    for position in range(len(CONTENT)):
        damaged = bytearray(CONTENT)
        damaged[position] = change(damaged[position])
        with pytest.raises(DocumentError):
            parse(bytes(damaged))


def test_a_part_of_a_document_is_none() -> None:
    for size in range(len(CONTENT)):
        with pytest.raises(DocumentError, match=r"^not a safetensors file: "):
            parse(CONTENT[:size])
    with pytest.raises(DocumentError, match=r"^not a safetensors file: "):
        parse(CONTENT + b"\0")


@given(st.binary(max_size=200))
def test_other_bytes_are_no_document(content: bytes) -> None:
    with pytest.raises(DocumentError):
        parse(content)


def test_another_safetensors_file_is_refused() -> None:
    with pytest.raises(DocumentError, match=r"^a safetensors file of another kind$"):
        parse(save({"weights": torch.ones(2)}, {"format": "pt"}))


def test_what_cannot_be_written_is_named() -> None:
    message = r"^optimizer\.state\.0 is a set, which a file of tensors cannot hold$"
    with pytest.raises(DocumentError, match=message):
        dump({"optimizer": {"state": [{1, 2}]}})
