"""The image comes out of a form whole, whatever is around it, or the form is refused."""

import logging

import pytest
from hypothesis import given, strategies as st

from mnist_sgd_serve.http.multipart import image_part
from mnist_sgd_serve.http.responses import STATUS
from mnist_sgd_serve.protocol import RequestError

BOUNDARY = "----form7MA4YWxk"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"
IMAGE = bytes(range(256)) * 3 + b"\r\n--\r\n----form\r\n"


def part(disposition: str, content: bytes, *headers: str) -> bytes:
    head = "\r\n".join([f"Content-Disposition: form-data{disposition}", *headers])
    return head.encode() + b"\r\n\r\n" + content


def form(*parts: bytes, boundary: str = BOUNDARY) -> bytes:
    line = f"--{boundary}".encode()
    return b"".join(line + b"\r\n" + one + b"\r\n" for one in parts) + line + b"--\r\n"


FILE = part('; name="picture"; filename="seven.png"', IMAGE, "Content-Type: image/png")
TEXT = part('; name="note"', b"a seven")


def refusal(body: bytes, content_type: str = TYPE) -> tuple[int, str]:
    with pytest.raises(RequestError) as raised:
        image_part(body, content_type)
    return STATUS[raised.value.kind], str(raised.value)


@given(content=st.binary(max_size=2000).filter(lambda it: BOUNDARY.encode() not in it))
def test_the_file_comes_out_as_it_went_in(content: bytes) -> None:
    assert image_part(form(part('; name="a"; filename="b"', content)), TYPE) == content


@pytest.mark.parametrize("name", ["image", "file"])
def test_a_part_of_that_name_needs_no_filename(name: str) -> None:
    assert image_part(form(TEXT, part(f'; name="{name}"', IMAGE)), TYPE) == IMAGE


def test_the_first_file_is_taken_and_other_parts_are_passed_over() -> None:
    second = part('; name="image"; filename="two"', b"second")
    assert image_part(form(TEXT, FILE, TEXT, second), TYPE) == IMAGE
    assert image_part(form(second, FILE), TYPE) == b"second"


@pytest.mark.parametrize(
    "disposition",
    [
        '; filename="b"; name="a"',
        '; name="a"; filename="b;c=\\"d\\".png"',
        ";name=a;filename=b",
        '; name="a"; filename=""',
        '; NAME="a"; FILENAME="b"',
    ],
)
def test_a_filename_is_found_however_it_is_written(disposition: str) -> None:
    assert image_part(form(part(disposition, IMAGE)), TYPE) == IMAGE


def test_names_of_headers_may_be_in_any_case_and_have_company() -> None:
    head = b'X-A: 1\r\nCONTENT-disposition: form-data; name="image"\r\nX-B: 2\r\n\r\n'
    assert image_part(form(head + IMAGE), TYPE) == IMAGE


@pytest.mark.parametrize(
    "content_type",
    [
        f'multipart/form-data; boundary="{BOUNDARY}"',
        f"Multipart/Form-Data;charset=utf-8;Boundary={BOUNDARY}",
    ],
)
def test_the_boundary_is_found_however_it_is_written(content_type: str) -> None:
    assert image_part(form(FILE), content_type) == IMAGE


def test_lines_before_and_after_the_form_are_allowed() -> None:
    assert image_part(b"\r\n" + form(FILE) + b"and more", TYPE) == IMAGE


@pytest.mark.parametrize("content_type", ["image/png", "multipart/mixed; boundary=a", "", "é€"])
def test_another_type_of_content_is_refused(content_type: str) -> None:
    message = f"Content-Type must be multipart/form-data, got '{content_type}'"
    assert refusal(form(FILE), content_type) == (415, message)


@pytest.mark.parametrize("rest", ["", "; boundary", "; boundary=", '; boundary=""', "; bound=a"])
def test_a_form_without_a_boundary_is_refused(rest: str) -> None:
    content_type = f"multipart/form-data{rest}"
    message = f"Content-Type must have a boundary of 1 to 70 characters, got '{content_type}'"
    assert refusal(form(FILE), content_type) == (400, message)


def test_a_boundary_that_is_too_long_is_refused() -> None:
    status, message = refusal(form(FILE), "multipart/form-data; boundary=" + "a" * 71)
    assert status == 400
    assert message.startswith("Content-Type must have a boundary of 1 to 70 characters, got 'multi")
    longest = "b" * 70
    body = form(FILE, boundary=longest)
    assert image_part(body, f"multipart/form-data; boundary={longest}") == IMAGE


@pytest.mark.parametrize("body", [form(TEXT), form(), form(part("", IMAGE)), form(b"\r\n" + IMAGE)])
def test_a_form_without_a_file_is_refused(body: bytes) -> None:
    message = "the form has no file: send the image as a file, or a part named 'image'"
    assert refusal(body) == (400, message)


def test_a_form_cut_short_anywhere_is_refused() -> None:
    body = form(TEXT, FILE)
    for end in range(len(body) - 2):
        status, message = refusal(body[:end])
        assert status == 400
        assert message == "the form is cut short: its last boundary is missing"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"no form at all", "the form is malformed: "),
        (form(FILE, boundary="another"), "the form is malformed: "),
        (form(b"no colon\r\n\r\n"), "the form is malformed: "),
        (form(b"A: " + b"a" * 9999 + b"\r\n\r\n"), "the form is malformed: "),
        (form(b"A: a\r\n" * 99 + b"\r\n"), "the form is malformed: "),
        (form(FILE).replace(b"--\r\n", b" --\r\n"), "the form has blanks after a boundary"),
    ],
)
def test_a_malformed_form_is_refused(body: bytes, message: str) -> None:
    status, text = refusal(body)
    assert status == 400
    assert text.startswith(message)


def test_sixteen_parts_are_allowed_and_no_more() -> None:
    assert image_part(form(*[TEXT] * 15, FILE), TYPE) == IMAGE
    for parts in (17, 10_000, 200_000):
        message = f"the form has {parts} parts, at most 16 are allowed"
        assert refusal(form(FILE, *[TEXT] * (parts - 1))) == (413, message)
    assert image_part(form(FILE, TEXT), TYPE, max_parts=2) == IMAGE
    with pytest.raises(RequestError, match=r"^the form has 2 parts, at most 1 are allowed$"):
        image_part(form(FILE, TEXT), TYPE, max_parts=1)


def test_what_looks_like_many_boundaries_is_refused_before_it_is_parsed() -> None:
    line = f"\r\n--{BOUNDARY}".encode()
    message = "the form has 200001 parts, at most 16 are allowed"
    assert refusal(form(FILE + (line + b"x") * 200_000)) == (413, message)
    blanks = form(FILE)[:-4] + b" " * 5_000_000
    message = "the form has blanks after a boundary"
    assert refusal(blanks) == (400, message)


def test_a_malformed_form_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        refusal(b"no form at all")
    assert caplog.records == []


@given(body=st.binary(max_size=99), content_type=st.text(max_size=30))
def test_any_bytes_are_read_or_refused(body: bytes, content_type: str) -> None:
    for given_type in (content_type, f"multipart/form-data; boundary={content_type}", TYPE):
        with pytest.raises(RequestError) as raised:
            image_part(body, given_type)
        assert STATUS[raised.value.kind] in (400, 413, 415)
        assert str(raised.value).isprintable()


@given(
    start=st.integers(0, 400),
    length=st.integers(0, 20),
    garbage=st.binary(max_size=20) | st.just(f"\r\n--{BOUNDARY}\r\n".encode()),
)
def test_a_damaged_form_is_read_or_refused(start: int, length: int, garbage: bytes) -> None:
    body = form(TEXT, FILE)
    try:
        content = image_part(body[:start] + garbage + body[start + length :], TYPE)
    except RequestError as error:
        assert STATUS[error.kind] == 400
    else:
        assert isinstance(content, bytes)
