"""The JSON side of the inference protocol: what is read, what is refused, what is answered."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given, strategies as st

from mnist_sgd_serve.http.responses import STATUS
from mnist_sgd_serve.protocol import (
    InferRequest,
    InferResponse,
    RequestError,
    encode_infer,
    error_body,
    model_metadata,
    parse_infer,
    quoted,
    server_metadata,
)

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
FLAT = IMAGES[0].ravel().tolist()

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False).filter(lambda number: abs(number) != float("inf"))
    | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=9,
)


def tensor(**changes: Any) -> dict[str, Any]:
    """A valid input of one image, with members changed, or taken away by `...`."""
    given = {"name": "image", "shape": [1, 28, 28], "datatype": "UINT8", "data": FLAT} | changes
    return {name: value for name, value in given.items() if value is not ...}


def request(*inputs: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"inputs": list(inputs) or [tensor()], **others}


def parse(document: Any, max_images: int = 4) -> InferRequest:
    return parse_infer(json.dumps(document).encode(), None, max_images=max_images)


def refusal(body: bytes, header_length: str | None = None) -> tuple[int, str]:
    with pytest.raises(RequestError) as raised:
        parse_infer(body, header_length, max_images=4)
    return STATUS[raised.value.kind], str(raised.value)


def test_flat_and_nested_data_give_the_same_images() -> None:
    flat = tensor(shape=[3, 28, 28], data=IMAGES.ravel().tolist())
    nested = tensor(shape=[3, 28, 28], data=IMAGES.tolist())
    in_rows = tensor(shape=[3, 28, 28], data=IMAGES.reshape(84, 28).tolist())
    in_one = tensor(shape=[3, 28, 28], data=[IMAGES.ravel().tolist()])
    in_many = tensor(shape=[3, 28, 28], data=IMAGES.reshape(3, 4, 7, 28, 1).tolist())
    for form in (flat, nested, in_rows, in_one, in_many):
        images = parse(request(form)).images
        assert images.dtype == np.uint8
        assert images.flags.c_contiguous
        np.testing.assert_array_equal(images, IMAGES)


def test_numbers_may_be_whole_in_either_spelling() -> None:
    spelt = tensor(shape=[1.0, 28, 28.0], data=[float(pixel) for pixel in FLAT])
    np.testing.assert_array_equal(parse(request(spelt)).images, IMAGES[:1])
    np.testing.assert_array_equal(parse(request(tensor(data=[-0.0, *FLAT[1:]]))).images[0, 0, 0], 0)


def test_a_plain_request_has_no_id_no_parameters_and_a_json_answer() -> None:
    parsed = parse(request())
    assert (parsed.id, parsed.binary, parsed.parameters) == (None, False, {})


def test_members_that_are_null_count_as_absent() -> None:
    nulls = dict.fromkeys(["id", "model_name", "outputs", "parameters", "unknown"])
    parsed = parse(request(tensor(parameters=None, unknown=None), **nulls))
    assert (parsed.id, parsed.binary, parsed.parameters) == (None, False, {})
    parsed = parse(request(outputs=[{"name": "probability", "parameters": None, "shape": None}]))
    assert not parsed.binary


@pytest.mark.parametrize("none", [0, None])
def test_an_unsupported_parameter_that_asks_for_nothing_counts_as_absent(none: int | None) -> None:
    outputs = [{"name": "probability", "parameters": {"classification": none}}]
    assert not parse(request(outputs=outputs)).binary


@pytest.mark.parametrize("given", ["any", "", None])
def test_the_model_is_not_named_by_the_body(given: str | None) -> None:
    assert parse(request(model_name=given, model_version=given)).images.shape == (1, 28, 28)


def test_id_and_parameters_are_kept() -> None:
    parameters = {"a": 1, "b": "c:d", "e": True, "f": None, "priority": 0.5}
    parsed = parse(request(id="é" * 256, parameters=parameters))
    assert parsed.id == "é" * 256
    assert parsed.parameters == parameters


@pytest.mark.parametrize("default", [None, False, True])
@pytest.mark.parametrize("chosen", [..., None, False, True])
def test_an_output_chooses_its_form_and_the_request_the_default(default: Any, chosen: Any) -> None:
    changes: dict[str, Any] = {"parameters": {"binary_data_output": default}}
    if chosen is not ...:
        changes["outputs"] = [{"name": "probability", "parameters": {"binary_data": chosen}}]
    expected = default if chosen in (..., None) else chosen
    assert parse(request(**changes)).binary is bool(expected)


def test_an_empty_list_of_outputs_means_all() -> None:
    assert parse(request(outputs=[], parameters={"binary_data_output": True})).binary is True


@given(order=st.permutations(["name", "shape", "datatype", "data", "parameters"]), data=st.data())
def test_members_may_come_in_any_order(order: list[str], data: st.DataObject) -> None:
    members = tensor(parameters={"content_type": "np"})
    document = request({name: members[name] for name in order}, id="7", outputs=[], parameters={})
    names = data.draw(st.permutations(sorted(document)))
    parsed = parse({name: document[name] for name in names})
    np.testing.assert_array_equal(parsed.images, IMAGES[:1])
    assert parsed.id == "7"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"inputs":', "the JSON cannot be read: "),
        (b"\xff{}", "the JSON cannot be read: "),
        (b"\xef\xbb\xbf{}", "the JSON cannot be read: "),
        (b'{"inputs": NaN}', "the JSON cannot be read: "),
        (b'{"inputs": -Infinity}', "the JSON cannot be read: "),
        (b'{"inputs": 1e999}', "the JSON cannot be read: "),
        (b'{"inputs": 1%s}' % (b"0" * 9999), "the JSON cannot be read: "),
        (b'{"id": "\\ud800"}', "the JSON cannot be read: "),
        (b'{"id": "\xed\xa0\x80"}', "the JSON cannot be read: "),
        (b"{} {}", "the JSON cannot be read: "),
        (b"[" * 250_000, "the JSON cannot be read: "),
        (b'{"a":' * 250_000, "the JSON cannot be read: "),
        (b"[" * 120 + b"]" * 120, "the request must be a JSON object, got [[...]]"),
        (b"[]", "the request must be a JSON object, got []"),
        (b"null", "the request must be a JSON object, got null"),
        (b"true", "the request must be a JSON object, got true"),
        (b'"text"', "the request must be a JSON object, got 'text'"),
        (b" 7 ", "the request must be a JSON object, got 7"),
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes, message: str) -> None:
    status, text = refusal(body)
    assert status == 400
    assert text.startswith(message)
    assert len(text) < 200


def test_an_empty_body_is_refused() -> None:
    expected = (400, "the body is empty, an inference request is needed")
    assert refusal(b"") == refusal(b"", "0") == refusal(b"", "7") == expected


ONLY_INPUT = "inputs must be an array of one object, for 'image', got "
ONLY_OUTPUT = "outputs must be an array of one object, for 'probability', got "
SHAPE = "shape of 'image' must be [N, 28, 28] with N at least 1, got "
PIXEL = "data of 'image' must be whole numbers from 0 to 255, got "
COUNT = "data of the shape [1, 28, 28] must be an array of 784 numbers, flat or nested, got "
EITHER = "input 'image' needs data or the parameter binary_data_size, "

NO_PIXELS: list[tuple[Any, str]] = [
    (256, "256"),
    (-1, "-1"),
    (1.5, "1.5"),
    (255.5, "255.5"),
    (-0.5, "-0.5"),
    (2**64 - 1, "18446744073709551615"),
    (2**64, "1.8446744073709552e+19"),
    (10**300, "1e+300"),
    (True, "true"),
    (False, "false"),
    (None, "null"),
    ("7", "'7'"),
    ([7], "[7]"),
    ({}, "{...}"),
]

REFUSED: list[tuple[Any, str]] = [
    ({}, ONLY_INPUT + "null"),
    (request(inputs=[]), ONLY_INPUT + "[]"),
    (request(inputs={}), ONLY_INPUT + "{...}"),
    (request(inputs=[1]), "an input must be a JSON object, got 1"),
    (request(tensor(), tensor()), "input 'image' is given 2 times, must be once"),
    (
        request(tensor(), tensor(name="mask")),
        "input 'mask' is unknown, the only one is 'image'",
    ),
    (
        request(tensor(name=...)),
        "input null is unknown, the only one is 'image'",
    ),
    (request(tensor(name=[])), "input [] is unknown, the only one is 'image'"),
    (
        request(output=[]),
        "the request has no member 'output', "
        "it may have: id, inputs, model_name, model_version, outputs, parameters",
    ),
    (
        request(tensor(dtype="UINT8")),
        "an input has no member 'dtype', it may have: data, datatype, name, parameters, shape",
    ),
    (
        request(tensor(datatype="FP32")),
        "datatype of 'image' must be 'UINT8', got 'FP32'",
    ),
    (
        request(tensor(datatype=...)),
        "datatype of 'image' must be 'UINT8', got null",
    ),
    (
        request(tensor(datatype=["UINT8"])),
        "datatype of 'image' must be 'UINT8', got ['UINT8']",
    ),
    (request(tensor(shape=...)), SHAPE + "null"),
    (request(tensor(shape="1,28,28")), SHAPE + "'1,28,28'"),
    (request(tensor(shape=[28, 28])), SHAPE + "[28, 28]"),
    (request(tensor(shape=[1, 784])), SHAPE + "[1, 784]"),
    (request(tensor(shape=[1, 1, 28, 28])), SHAPE + "[1, 1, 28, 28]"),
    (request(tensor(shape=[784, 1, 1])), SHAPE + "[784, 1, 1]"),
    (request(tensor(shape=[0, 28, 28])), SHAPE + "[0, 28, 28]"),
    (request(tensor(shape=[-1, 28, 28])), SHAPE + "[-1, 28, 28]"),
    (request(tensor(shape=[1, -28, -28])), SHAPE + "[1, -28, -28]"),
    (request(tensor(shape=[1.5, 28, 28])), SHAPE + "[1.5, 28, 28]"),
    (request(tensor(shape=["1", 28, 28])), SHAPE + "['1', 28, 28]"),
    (request(tensor(shape=[True, 28, 28])), SHAPE + "[true, 28, 28]"),
    (request(tensor(shape=[None, 28, 28])), SHAPE + "[null, 28, 28]"),
    (request(tensor(shape=[[1], 28, 28])), SHAPE + "[[...], 28, 28]"),
    (
        request(tensor(shape=[2**63 // 784 + 1, 28, 28])),
        SHAPE + "[11764505149049459, 28, 28]",
    ),
    (request(tensor(shape=[1e300, 28, 28])), SHAPE + "[1e+300, 28, 28]"),
    (request(tensor(data=...)), EITHER + "neither is given"),
    (request(tensor(data=None)), EITHER + "neither is given"),
    (
        request(tensor(parameters={"binary_data_size": 784})),
        EITHER + "both are given",
    ),
    (request(tensor(data=FLAT[1:])), COUNT + "an array of 783"),
    (request(tensor(data=[*FLAT, 0])), COUNT + "an array of 785"),
    (request(tensor(data=[])), COUNT + "an array of 0"),
    (request(tensor(data=IMAGES[0, :27].tolist())), COUNT + "an array of 756"),
    (request(tensor(data=[[]])), COUNT + "an array of 1"),
    (request(tensor(data="AAAA")), COUNT + "'AAAA'"),
    (request(tensor(data=0)), COUNT + "0"),
    (request(tensor(data={"0": 1})), COUNT + "{...}"),
    (request(tensor(data=[[*IMAGES[0, 1:].tolist(), FLAT[:27]]])), COUNT + "an array of 783"),
    (request(tensor(data=[[*IMAGES[0, 1:].tolist(), 7]])), COUNT + "an array of 28"),
    (request(tensor(data=[7])), COUNT + "an array of 1"),
    (request(tensor(data=[[*FLAT[1:], [7]]])), PIXEL + "[7]"),
    (request(tensor(data=[1.0, True, *FLAT[2:]])), PIXEL + "true"),
    (request(outputs={}), ONLY_OUTPUT + "{...}"),
    (request(outputs=0), ONLY_OUTPUT + "0"),
    (request(outputs=[None]), "an output must be a JSON object, got null"),
    (
        request(outputs=[{"name": "logits"}]),
        "output 'logits' is unknown, the only one is 'probability'",
    ),
    (
        request(outputs=[{"name": "probability"}] * 3),
        "output 'probability' is given 3 times, must be once",
    ),
    (
        request(outputs=[{"name": "probability", "shape": [1]}]),
        "an output has no member 'shape', it may have: name, parameters",
    ),
    (
        request(outputs=[{"name": "probability", "parameters": {"binary_data": 1}}]),
        "parameter 'binary_data' must be true or false, got 1",
    ),
    (
        request(outputs=[{"name": "probability", "parameters": {"classification": 2}}]),
        "parameter 'classification' of output 'probability' is not supported",
    ),
    (
        request(tensor(data=..., parameters={"shared_memory_region": "a"})),
        "parameter 'shared_memory_region' of input 'image' is not supported",
    ),
    (
        request(parameters={"binary_data_output": "true"}),
        "parameter 'binary_data_output' must be true or false, got 'true'",
    ),
    (
        request(parameters=[]),
        "parameters of the request must be an object, got []",
    ),
    (
        request(tensor(parameters="a")),
        "parameters of input 'image' must be an object, got 'a'",
    ),
    (
        request(parameters={"headers": {}}),
        "parameter 'headers' of the request must be a string, a number or a boolean, got {...}",
    ),
    (request(id=7), "id must be a string, got 7"),
    (request(id=["7"]), "id must be a string, got ['7']"),
    (request(model_name={}), "model_name must be a string, got {...}"),
    (request(model_version=7), "model_version must be a string, got 7"),
]


@pytest.mark.parametrize(("document", "message"), REFUSED)
def test_what_breaks_a_rule_is_refused(document: Any, message: str) -> None:
    assert refusal(json.dumps(document).encode()) == (400, message)


@pytest.mark.parametrize(("pixel", "text"), NO_PIXELS)
@pytest.mark.parametrize("place", [0, 783])
def test_what_is_no_pixel_is_refused(pixel: Any, text: str, place: int) -> None:
    pixels: list[Any] = FLAT.copy()
    pixels[place] = pixel
    body = json.dumps(request(tensor(data=pixels))).encode()
    assert refusal(body) == (400, PIXEL + text)


def test_more_images_than_allowed_are_refused_by_their_shape_alone() -> None:
    message = "the request has 5 images, at most 4 are allowed"
    body = json.dumps(request(tensor(shape=[5, 28, 28], data=[]))).encode()
    assert refusal(body) == (413, message)


@pytest.mark.parametrize(
    "place",
    [
        '{"inputs": [{"data": %s}]}',
        '{"id": %s, "inputs": %s}',
        '{"x": %s}',
        '{"inputs": %s}',
        '{"inputs": [{"name": "image", "shape": %s, "datatype": "UINT8"}]}',
        '{"inputs": [%s]}',
    ],
)
def test_nesting_is_refused_wherever_it_stands(place: str) -> None:
    deep = "[" * 120 + "]" * 120
    assert refusal(place.replace("%s", deep).encode())[0] == 400


@pytest.mark.parametrize("member", ["id", "model_name", "parameters", "outputs"])
def test_a_nested_member_of_a_good_request_is_refused(member: str) -> None:
    body = orjson.dumps(request())[:-1] + b',"%s":%s}' % (member.encode(), b"[" * 500 + b"]" * 500)
    assert refusal(body)[0] == 400


@pytest.mark.parametrize(
    "text",
    [
        '{"inputs": [%s], "inputs": [%s]}',
        '{"id": "a", "inputs": [%s], "id": "b"}',
        '{"inputs": [%s], "parameters": {"a": 1, "a": 1}}',
        '{"inputs": [%s], "outputs": [{"name": "probability", "name": "probability"}]}',
    ],
)
def test_a_member_given_twice_is_refused(text: str) -> None:
    body = text.replace("%s", json.dumps(tensor())).encode()
    assert refusal(body) == (400, "the JSON has a member twice in one object")


def test_data_given_twice_is_refused() -> None:
    body = json.dumps(request()).replace('"data":', '"data": [], "data":').encode()
    assert refusal(body) == (400, "the JSON has a member twice in one object")


def test_colons_in_strings_are_no_members() -> None:
    parsed = parse(request(id="::", parameters={"a:": ":"}))
    assert (parsed.id, parsed.parameters) == ("::", {"a:": ":"})
    escaped = json.dumps(request(id="X")).replace("X", "\\u003a").encode()
    assert parse_infer(escaped, None, max_images=1).id == ":"


def outcome(body: bytes, header_length: str | None = None) -> InferRequest | None:
    """Parse; what is refused must be refused in one bounded line that is valid JSON."""
    try:
        parsed = parse_infer(body, header_length, max_images=4)
    except RequestError as error:
        assert STATUS[error.kind] in (400, 413)
        assert str(error).isprintable()
        assert len(str(error)) < 300
        assert json.loads(error_body(str(error))) == {"error": str(error)}
        return None
    assert parsed.images.dtype == np.uint8
    assert parsed.images.shape == (len(parsed.images), 28, 28)
    assert 1 <= len(parsed.images) <= 4
    return parsed


@given(body=st.binary(max_size=99))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    outcome(body)


@given(value=json_values)
def test_any_json_is_read_or_refused(value: Any) -> None:
    outcome(orjson.dumps(value))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path to a value inside a JSON document, but for single pixels only the first few."""
    yield path
    if isinstance(value, dict):
        for name in value:
            yield from places(value[name], (*path, name))
    elif isinstance(value, list):
        for index in range(min(len(value), 3)):
            yield from places(value[index], (*path, index))


FULL = request(
    tensor(parameters={"content_type": "np"}),
    id="7",
    model_name="a",
    parameters={"binary_data_output": False},
    outputs=[{"name": "probability", "parameters": {"binary_data": True}}],
)


@given(path=st.sampled_from(list(places(FULL))[1:]), value=json_values)
@example(path=("inputs", 0, "shape", 0), value=float(2**70))
def test_a_good_request_with_one_value_replaced_is_read_or_refused(
    path: tuple[Any, ...], value: Any
) -> None:
    document = orjson.loads(orjson.dumps(FULL))
    holder = document
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    outcome(orjson.dumps(document))


def test_a_good_request_cut_short_anywhere_is_refused() -> None:
    body = orjson.dumps(FULL)
    for end in range(len(body)):
        assert outcome(body[:end]) is None
    assert outcome(body) is not None


@given(value=json_values | st.text(alphabet=st.characters(), max_size=99))
def test_what_is_shown_of_any_value_is_short_and_printable(value: Any) -> None:
    text = quoted(value)
    assert text.isprintable()
    assert len(text) <= 64


def test_what_is_shown_of_a_value_is_recognised() -> None:
    assert quoted("FP32") == "'FP32'"
    assert quoted("a\x1b[0m\u202e\ud800") == r"'a\x1b[0m\u202e\ud800'"
    assert quoted("a" * 99) == f"'{'a' * 60}..."
    assert quoted([1, [2], {"a": 3}, None, True, 1.5, 7, 8]) == (
        "[1, [...], {...}, null, true, 1.5, ...]"
    )


def answer(given: InferRequest, probabilities: list[float]) -> dict[str, Any]:
    values = np.array(probabilities, np.float32)
    response = InferResponse("digits", "1", given.id, values)
    body, length = encode_infer(response, binary=given.binary)
    assert length is None
    parsed: dict[str, Any] = json.loads(body)
    return parsed


def test_an_answer_in_json_says_what_the_protocol_asks() -> None:
    assert answer(parse(request(id="7")), [0.25]) == {
        "model_name": "digits",
        "model_version": "1",
        "id": "7",
        "outputs": [
            {"name": "probability", "shape": [1, 1], "datatype": "FP32", "data": [0.25]},
        ],
    }
    assert "id" not in answer(parse(request()), [0.25])
    assert answer(parse(request(id="")), [0.25])["id"] == ""


@given(probabilities=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=4))
def test_probabilities_in_json_are_the_float32_exactly(probabilities: list[float]) -> None:
    (output,) = answer(parse(request()), probabilities)["outputs"]
    assert output["shape"] == [len(probabilities), 1]
    assert output["data"] == probabilities


@pytest.mark.parametrize(
    "text", ['"\\/é😀', "<script>", "", " ", "a\tb\r\n", "\x00\x7f\u2028", "a" * 10_000]
)
def test_an_id_is_sent_back_as_it_was(text: str) -> None:
    assert answer(parse(request(id=text)), [0.5])["id"] == text


def test_the_metadata_is_that_of_the_protocol() -> None:
    assert server_metadata("0.1.0") == {
        "name": "mnist_sgd_serve",
        "version": "0.1.0",
        "extensions": [
            "binary_tensor_data",
            "model_configuration",
            "model_repository",
            "statistics",
        ],
    }
    assert model_metadata("digits", "1") == {
        "name": "digits",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]}],
        "outputs": [{"name": "probability", "datatype": "FP32", "shape": [-1, 1]}],
    }
    assert error_body('a "b"') == b'{"error":"a \\"b\\""}'
