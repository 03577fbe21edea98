"""A large JSON request is read as a small one is, in little memory whatever it holds."""

import json
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, strategies as st

from memory import traced
from mnist_sgd_serve.http.responses import STATUS
from mnist_sgd_serve.protocol import InferRequest, RequestError, parse_infer
from mnist_sgd_serve.protocol.large import LARGE, PIECE

MIB = 2**20
IMAGES = np.random.default_rng(3).integers(0, 256, (600, 28, 28), np.uint8)


def document(data: Any, rows: int, **others: Any) -> dict[str, Any]:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [rows, 28, 28], "data": data}
    return {"id": "seven", "inputs": [tensor | others], "outputs": [{"name": "probability"}]}


def text(start: bytes, repeated: bytes, size: int, end: bytes = b"") -> bytes:
    return start + repeated * ((size - len(start) - len(end)) // len(repeated)) + end


def refusal(body: bytes) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        parse_infer(body, None, max_images=16_384)
    return STATUS[caught.value.kind], str(caught.value)


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("nested", [True, False])
def test_every_spelling_of_many_images_is_read(nested: bool, indent: int | None) -> None:
    data = IMAGES.tolist() if nested else IMAGES.ravel().tolist()
    body = json.dumps(document(data, len(IMAGES)), indent=indent).encode()
    assert len(body) > LARGE + 4 * PIECE
    request = parse_infer(body, None, max_images=600)
    assert np.array_equal(request.images, IMAGES)
    assert (request.id, request.binary) == ("seven", False)
    assert not request.images.flags.writeable


def test_whole_numbers_may_be_written_as_fractions() -> None:
    body = json.dumps(document(IMAGES.ravel().astype(float).tolist(), len(IMAGES))).encode()
    assert np.array_equal(parse_infer(body, None, max_images=600).images, IMAGES)


START = b'{"inputs":[{"name":"image","datatype":"UINT8","shape":[16000,28,28],"data":['
END = b"]}]}"
DEEP = (16 * MIB - len(START + END)) // 2
END += b" " * ((16 * MIB - len(START + END)) % 2)
PIXELS = "data of 'image' must be whole numbers from 0 to 255, got "
BOMBS = {
    "zeros": (START, b"0,", b"0]}]}", 400, "data of the shape [16000, 28, 28] must be an array of"),
    "fractions": (START, b"1.0,", b"0]}]}", 400, "data of the shape [16000, 28, 28] must be an ar"),
    "lists": (START, b"[],", b"0]}]}", 400, PIXELS + "[]"),
    "objects": (START, b"{},", b"0]}]}", 400, PIXELS + "{...}"),
    "texts": (START, b'"",', b"0]}]}", 400, PIXELS + "''"),
    "a long text": (START + b'"', b"x", b'"]}]}', 400, PIXELS + "'xxx"),
    "large numbers": (START, b"1000,", b"0]}]}", 400, PIXELS + "1000"),
    "truths": (START, b"true,", b"0]}]}", 400, PIXELS + "true"),
    "one number": (START, b"9", b"]}]}", 400, f"an element of data is longer than {PIECE} bytes"),
    "blanks": (START, b" ", b"0]}]}", 400, f"an element of data is longer than {PIECE} bytes"),
    "depth": (START, b"[", b"", 400, "the JSON cannot be read: the brackets of 'data' do not mat"),
    "depth that ends": (START + b"[" * DEEP, b"]", END, 400, "an element of data is longer than"),
    "no object": (b"[", b"[],", b"0]", 413, "the JSON has "),
    "members": (b"{", b'"a":1,', b'"b":2}', 413, "the JSON has "),
    "data members": (b"{", b'"data":1,', b'"b":2}', 413, "the JSON has "),
    "data that is elsewhere": (
        b'{"data":[',
        b"0,",
        b"0]}",
        400,
        "the request has no member 'data'",
    ),
    "blanks after a key": (b'{"data"', b" ", b"}", 413, "the JSON has "),
    "commas": (START, b",", b"]}]}", 400, "the JSON cannot be read: "),
    "cut short": (START, b"0,", b"", 400, "the JSON cannot be read: the brackets of 'data' do not"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_no_json_of_16_mib_takes_more_memory_than_twice_its_length(kind: str) -> None:
    """Lists in lists took forty times of it."""
    start, repeated, end, status, says = BOMBS[kind]
    body = text(start, repeated, 16 * MIB, end)
    with traced() as most:
        given_status, given_text = refusal(body)
        assert most() < 32 * MIB
    assert given_status == status
    assert given_text.startswith(says)
    assert len(given_text) < 250


def test_a_parameter_that_is_large_is_refused() -> None:
    body = json.dumps(document(IMAGES[:1].tolist(), 1) | {"parameters": {"a": "x" * LARGE}})
    status, says = refusal(body.encode())
    assert status == 413
    assert says.endswith(f"bytes outside the array 'data', at most {LARGE} are allowed")


def test_false_is_no_pixel() -> None:
    body = text(START, b"0,", 2 * LARGE) + b"false]}]}"
    assert refusal(body) == (400, PIXELS + "false")


@pytest.mark.parametrize("rows", [2, 600])
@pytest.mark.parametrize("start", [b"{\n ", b"{", b"\n\t{ \r\n"])
def test_blanks_after_the_first_bracket_say_nothing_of_the_others(rows: int, start: bytes) -> None:
    """orjson would take the document for indented."""
    zeros = b"[\n  %b]" % b",".join([b"0"] * (784 * rows))
    body = json.dumps(document(None, rows)).encode().replace(b"null", zeros)
    request = parse_infer(start + body[1:], None, max_images=600)
    assert not request.images.any()


def test_another_array_of_that_name_may_precede_the_pixels() -> None:
    body = json.dumps({"parameters": {"data": [1, 2]}} | document(IMAGES.tolist(), 600))
    message = "parameter 'data' of the request must be a string, a number or a boolean, got [1, 2]"
    assert refusal(body.encode()) == (400, message)


def test_a_character_of_several_bytes_may_be_anywhere() -> None:
    body = json.dumps(document(IMAGES[:1].tolist(), 1), ensure_ascii=False)
    for shift in range(3):
        status, _ = refusal(body.replace("seven", " " * shift + "\u20ac" * LARGE).encode())
        assert status == 413


def test_the_place_of_what_is_no_json_is_said() -> None:
    body = text(START, b"0,", 2 * LARGE) + b"0 0,0]}]}"
    status, says = refusal(body)
    assert status == 400
    near = int(says.rpartition("near byte ")[2])
    assert abs(near - len(body)) < 20


# What is small otherwise is read as if it were large, and must give the same.

elements = st.sampled_from(
    [
        0,
        7,
        255,
        7.0,
        256,
        -1,
        0.5,
        True,
        False,
        None,
        "x",
        'a"b',
        "data",
        [],
        [1],
        {},
        {"data": [1]},
    ]
)
spaces = st.sampled_from(["", " ", "\n\t", " " * 40])


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Requests of some images, with some changes that make most of them wrong."""
    rows = draw(st.integers(1, 5))
    images = IMAGES[:rows]
    data: Any = images.tolist() if draw(st.booleans()) else images.ravel().tolist()
    place = data
    for _ in range(draw(st.integers(0, 2))):
        if isinstance(place[0], list):
            place = place[draw(st.integers(0, len(place) - 1))]
        place[draw(st.integers(0, len(place) - 1))] = draw(elements)
        if draw(st.booleans()):
            place.append(draw(elements))
    made = document(data, draw(st.sampled_from([rows, rows, rows, 1, 28])))
    if draw(st.booleans()):
        made["parameters"] = {"data": 3, ',"data": [': 4}
    separators = ("," + draw(spaces), ":" + draw(spaces))
    body = json.dumps(made, separators=separators).encode()
    if draw(st.booleans()):
        at = draw(st.integers(0, len(body) - 1))
        changed = draw(st.sampled_from([b"", b",", b"]", b"[", b'"', b"}", b"1", b'"data":[1],']))
        body = body[:at] + changed + body[at + draw(st.integers(0, 1)) :]
    return body


def outcome(body: bytes) -> InferRequest | None:
    try:
        return parse_infer(body, None, max_images=28)
    except RequestError as error:
        assert 400 <= STATUS[error.kind] < 500
        return None


@given(bodies())
def test_what_is_read_in_pieces_is_what_is_read_at_once(body: bytes) -> None:
    whole = outcome(body)
    module = "mnist_sgd_serve.protocol"
    with (
        mock.patch(f"{module}.large.LARGE", 1000),
        mock.patch(f"{module}.requests.LARGE", 1000),
        mock.patch(f"{module}.large.PIECE", 40_000),
    ):
        pieces = outcome(body)
    if whole is None or pieces is None:
        assert whole is pieces, body
    else:
        assert np.array_equal(whole.images, pieces.images)
        assert (whole.id, whole.parameters) == (pieces.id, pieces.parameters)
