"""The binary side of the inference protocol: bytes after a JSON header, and bytes alone."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, strategies as st
from numpy.typing import NDArray

from mnist_sgd_serve.http.responses import STATUS
from mnist_sgd_serve.protocol import (
    InferRequest,
    InferResponse,
    RequestError,
    encode_infer,
    parse_infer,
)

HEADER = "Inference-Header-Content-Length"
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)

counts = st.integers(1, 3)


def header(rows: int = 1, size: Any = None, **others: Any) -> bytes:
    """The JSON of a request whose images follow it."""
    tensor = {
        "name": "image",
        "shape": [rows, 28, 28],
        "datatype": "UINT8",
        "parameters": {"binary_data_size": rows * 784 if size is None else size},
    }
    return json.dumps({"inputs": [tensor], **others}).encode()


def binary(images: NDArray[np.uint8], **others: Any) -> tuple[bytes, str]:
    """A good request, with the value of the header that goes with it."""
    text = header(len(images), **others)
    return text + images.tobytes(), str(len(text))


def parse(body: bytes, header_length: str | None) -> InferRequest:
    return parse_infer(body, header_length, max_images=3)


def refusal(body: bytes, header_length: str | None) -> tuple[int, str]:
    with pytest.raises(RequestError) as raised:
        parse(body, header_length)
    return STATUS[raised.value.kind], str(raised.value)


@given(rows=counts, seed=st.integers(0, 99))
def test_all_three_forms_give_the_same_images(rows: int, seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (rows, 28, 28), np.uint8)
    tensor = {"name": "image", "shape": [rows, 28, 28], "datatype": "UINT8"}
    text = json.dumps({"inputs": [tensor | {"data": images.tolist()}]}).encode()
    for parsed in (
        parse(*binary(images)),
        parse(images.tobytes(), "0"),
        parse(text, None),
        parse(text, str(len(text))),
    ):
        assert parsed.images.dtype == np.uint8
        np.testing.assert_array_equal(parsed.images, images)


def test_bytes_are_used_where_they_lie() -> None:
    for body, length in (binary(IMAGES), (IMAGES.tobytes(), "0")):
        images = parse(body, length).images
        assert np.shares_memory(images, np.frombuffer(body, np.uint8))
        assert images.flags.c_contiguous
        assert not images.flags.writeable


def test_bytes_alone_are_answered_in_binary_and_have_no_id() -> None:
    parsed = parse(IMAGES.tobytes(), "0")
    assert (parsed.id, parsed.binary, parsed.parameters) == (None, True, {})


@given(
    identity=st.none() | st.text(st.characters(exclude_categories=["C", "Z"]), max_size=9),
    default=st.none() | st.booleans(),
    chosen=st.none() | st.booleans(),
)
def test_what_the_json_says_is_kept(identity: Any, default: Any, chosen: Any) -> None:
    output = {"name": "probability", "parameters": {"binary_data": chosen}}
    others = {"id": identity, "outputs": [output], "parameters": {"binary_data_output": default}}
    parsed = parse(*binary(IMAGES, **others))
    assert parsed.id == identity
    assert parsed.binary is bool(default if chosen is None else chosen)
    assert parsed.parameters == {"binary_data_output": default}


def test_requests_with_the_same_json_keep_their_own_images() -> None:
    first, second = (parse(*binary(IMAGES[i : i + 1])) for i in (0, 1))
    np.testing.assert_array_equal(first.images, IMAGES[:1])
    np.testing.assert_array_equal(second.images, IMAGES[1:2])


def test_the_limit_holds_for_json_that_was_seen_under_another() -> None:
    body, length = binary(IMAGES)
    assert len(parse_infer(body, length, max_images=3).images) == 3
    with pytest.raises(RequestError, match=r"^the request has 3 images, at most 2 are allowed$"):
        parse_infer(body, length, max_images=2)


@pytest.mark.parametrize(
    "given_length",
    ["", "a", "-1", "+7", " 7", "7 ", "1.0", "1e2", "0x10", "1_0", "٣", "²", "9" * 20, "1" * 9999],
)
def test_a_header_length_that_is_no_number_is_refused(given_length: str) -> None:
    status, message = refusal(binary(IMAGES)[0], given_length)
    assert status == 400
    assert message.startswith(f"{HEADER} must be the length of the JSON, got '{given_length[:9]}")
    assert len(message) < 200


def test_a_header_length_beyond_the_body_is_refused() -> None:
    body, _ = binary(IMAGES)
    for length in (len(body) + 1, 10**18):
        message = f"{HEADER} is {length}, the body has {len(body)} bytes only"
        assert refusal(body, str(length)) == (400, message)


def test_a_header_length_may_have_leading_zeros() -> None:
    body, length = binary(IMAGES)
    assert len(parse(body, f"00{length}").images) == 3
    assert len(parse(IMAGES.tobytes(), "00").images) == 3


@pytest.mark.parametrize("off", [-1, 1])
def test_a_header_length_off_by_one_is_refused(off: int) -> None:
    body, length = binary(IMAGES)
    status, message = refusal(body, str(int(length) + off))
    assert status == 400
    assert message.startswith("the JSON cannot be read: ")


SIZE = "binary_data_size of the shape [1, 28, 28] must be 784, got "


@pytest.mark.parametrize(
    ("size", "given"),
    [
        (0, "0"),
        (-784, "-784"),
        (783, "783"),
        (784.5, "784.5"),
        (2**64, "1.8446744073709552e+19"),
        ("784", "'784'"),
        (True, "true"),
    ],
)
def test_a_size_other_than_that_of_the_shape_is_refused(size: Any, given: str) -> None:
    text = header(size=size)
    body = text + IMAGES[0].tobytes()
    assert refusal(body, str(len(text))) == (400, SIZE + given)


def test_a_size_may_be_whole_in_either_spelling() -> None:
    text = header(size=784.0)
    parsed = parse(text + IMAGES[0].tobytes(), str(len(text)))
    np.testing.assert_array_equal(parsed.images, IMAGES[:1])


def test_bytes_missing_or_left_over_are_refused() -> None:
    where = f"; {HEADER} says where the JSON ends"
    text = header()
    for count in (0, 783, 785, 2 * 784):
        message = f"784 bytes of inputs must follow the JSON, there are {count}{where}"
        body = text + bytes(count)
        assert refusal(body, str(len(text))) == (400, message)
    missing = f"784 bytes of inputs must follow the JSON, there are 0{where}"
    assert refusal(text, None) == (400, missing)


def test_bytes_after_json_that_holds_the_data_are_refused() -> None:
    tensor = {"name": "image", "shape": [1, 28, 28], "datatype": "UINT8", "data": [0] * 784}
    text = json.dumps({"inputs": [tensor]}).encode()
    message = f"0 bytes of inputs must follow the JSON, there are 3; {HEADER} says where"
    status, given = refusal(text + b"abc", str(len(text)))
    assert status == 400
    assert given.startswith(message)


@pytest.mark.parametrize("size", [1, 783, 785, 3 * 784 + 1])
def test_bytes_alone_that_are_no_whole_images_are_refused(size: int) -> None:
    message = f"the body must hold images of 28 x 28 bytes, got {size} bytes, no multiple of 784"
    assert refusal(bytes(size), "0") == (400, message)


def test_more_images_than_allowed_are_refused() -> None:
    expected = (413, "the request has 4 images, at most 3 are allowed")
    assert refusal(bytes(4 * 784), "0") == expected
    assert refusal(*binary(np.zeros((4, 28, 28), np.uint8))) == expected


def test_a_member_given_twice_is_refused() -> None:
    for member in (b'"name": "image"', b'"shape": [1, 28, 28]'):
        text = header().replace(member, member + b", " + member)
        assert refusal(text + bytes(784), str(len(text))) == (
            400,
            "the JSON has a member twice in one object",
        )


def test_a_bad_header_is_refused_every_time() -> None:
    text = header(id=7)
    first, second = (refusal(text + bytes(784), str(len(text))) for _ in range(2))
    assert first == second
    assert first[0] == 400
    assert first[1] == "id must be a string, got 7"


def test_a_good_request_cut_short_anywhere_is_refused() -> None:
    body, length = binary(IMAGES[:1])
    for end in range(len(body)):
        assert refusal(body[:end], length)[0] == 400


@given(length=st.none() | st.text(max_size=5) | st.integers(-1, 2000).map(str))
@example(length="0")
def test_any_header_length_is_read_or_refused(length: str | None) -> None:
    body, right = binary(IMAGES[:1])
    try:
        parsed = parse(body, length)
    except RequestError as error:
        assert STATUS[error.kind] == 400
        assert str(error).isprintable()
    else:
        assert length is not None
        assert int(length) == int(right)
        np.testing.assert_array_equal(parsed.images, IMAGES[:1])


@given(body=st.binary(max_size=999), length=st.integers(0, 999).map(str))
def test_any_bytes_are_read_or_refused(body: bytes, length: str) -> None:
    try:
        parsed = parse(body, length)
    except RequestError as error:
        assert STATUS[error.kind] == 400
    else:
        assert (length, len(body)) == ("0", 784)
        assert parsed.images.tobytes() == body


def encoded(request: InferRequest, values: Any) -> tuple[bytes, int | None]:
    """The answer to a request."""
    response = InferResponse("digits", "1", request.id, values)
    return encode_infer(response, binary=request.binary)


@given(probabilities=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=3))
def test_an_answer_is_its_json_and_little_endian_float32(probabilities: list[float]) -> None:
    parsed = parse(*binary(IMAGES, id="é", parameters={"binary_data_output": True}))
    values = np.array(probabilities, np.float32)
    for given_values in (values, values.astype(">f4"), np.repeat(values, 2)[::2]):
        body, length = encoded(parsed, given_values)
        assert length is not None
        size = 4 * len(values)
        assert json.loads(body[:length]) == {
            "model_name": "digits",
            "model_version": "1",
            "id": "é",
            "outputs": [
                {
                    "name": "probability",
                    "shape": [len(values), 1],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": size},
                }
            ],
        }
        assert len(body) == length + size
        np.testing.assert_array_equal(np.frombuffer(body, "<f4", offset=length), values)


def test_binary_and_json_may_be_mixed() -> None:
    into_json, _ = encoded(parse(*binary(IMAGES[:1])), np.array([0.5], np.float32))
    assert json.loads(into_json)["outputs"][0]["data"] == [0.5]
    tensor = {"name": "image", "shape": [1, 28, 28], "datatype": "UINT8", "data": [0] * 784}
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    body, length = encoded(parse(text, None), np.array([0.5], np.float32))
    assert length is not None
    assert body[length:] == b"\x00\x00\x00\x3f"
