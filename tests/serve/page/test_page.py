import base64
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from browser import DESK, PHONE, Fingers, OpenPage, wait_on
from hands import DRAWINGS, Drawing
from mnist_sgd_serve import Predictor
from trained import TrainedFiles

if TYPE_CHECKING:
    from playwright.sync_api import Route

DIGITS = Path(__file__).parents[3] / "mnist_sgd" / "sample" / "digits"
THREE, SEVEN = Drawing("3 round", "usual"), Drawing("7 plain", "usual")
INVITATION = "The prediction appears with the first stroke."
PREDICT = "**/predict?explain=1"


def test_threes_and_sevens_of_many_hands_are_recognised(opened: OpenPage) -> None:
    wrong = []
    for drawing in DRAWINGS:
        opened.page.keyboard.press("Delete")
        opened.settle()
        assert opened.label == ""
        opened.draw(drawing)
        if opened.label != drawing.label:
            wrong.append((drawing, opened.label, opened.detail))
    assert len(DRAWINGS) >= 20
    assert len(wrong) <= len(DRAWINGS) / 10, wrong


def test_the_page_asks_for_the_classes_of_the_model_at_once(opened: OpenPage) -> None:
    assert opened.page.locator("h1").inner_text() == "3 or 7?"
    assert opened.page.title() == "3 or 7?"
    assert (opened.label, opened.detail) == ("", INVITATION)
    assert opened.page.locator("#ghost").inner_text() == "Draw 3 or 7 here"
    assert "The model knows only 3 and 7" in opened.page.locator("#knows").inner_text()
    assert not [one for one in opened.requests if "predict" in one]


def test_the_page_shows_what_the_model_saw(opened: OpenPage, trained: TrainedFiles) -> None:
    picture = (DIGITS / "three-1.png").read_bytes()
    opened.choose(picture)
    opened.expect_label("3")
    seen = opened.pixels("#seen")
    expected = Predictor(trained.artifact).predict(picture)
    np.testing.assert_array_equal(seen[:, :, 0], expected.image)
    np.testing.assert_array_equal(seen, np.dstack([seen[:, :, :1]] * 3 + [np.full((28, 28), 255)]))


def test_each_pixel_has_the_colour_of_the_class_it_speaks_for(opened: OpenPage) -> None:
    with opened.page.expect_response(PREDICT) as response:
        opened.choose((DIGITS / "three-1.png").read_bytes())
    opened.expect_label("3")
    answer = response.value.json()
    assert answer["occlusion"] is None
    added = np.frombuffer(base64.b64decode(answer["contributions"]), "<f4").reshape(28, 28)
    red, _, blue, alpha = opened.pixels("#pixels").astype(int).transpose(2, 0, 1)
    strong = np.abs(added) > np.abs(added).max() / 8
    assert strong.sum() > 20
    np.testing.assert_array_equal((red > blue)[strong], (added > 0)[strong])
    np.testing.assert_allclose(alpha / 255, np.abs(added) / np.abs(added).max(), atol=0.01)
    reasons = opened.page.locator("#reasons")
    assert reasons.inner_text().split("\n") == ["Evidence for 3 or 7", "for 3", "for 7"]
    assert not opened.page.locator("#scale").is_visible()
    opened.page.get_by_text("For specialists").click()
    assert opened.page.locator("#scale").inner_text() == (
        "The colours show what each pixel contributes to the log-odds of 3. The strongest colour "
        f"is {np.abs(added).max():.2f}."
    )


def test_undo_takes_back_strokes_and_wipes(opened: OpenPage) -> None:
    page = opened.page
    opened.draw(SEVEN)
    seven = opened.pixels("#pad")
    opened.stroke([(0.5, 0.9), (0.6, 0.9)])
    assert not np.array_equal(opened.pixels("#pad"), seven)
    page.get_by_role("button", name="Undo").click()
    opened.settle()
    np.testing.assert_array_equal(opened.pixels("#pad"), seven)
    assert opened.label == "7"
    page.get_by_role("button", name="Clear").click()
    opened.settle()
    assert (opened.label, opened.detail) == ("", INVITATION)
    assert not opened.pixels("#pad").any()
    page.keyboard.press("Control+z")
    opened.expect_label("7")
    np.testing.assert_array_equal(opened.pixels("#pad"), seven)
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")  # one more than there is to take back
    opened.settle()
    assert (opened.label, opened.detail) == ("", INVITATION)


def test_a_digit_can_be_drawn_with_the_keyboard_alone(opened: OpenPage) -> None:
    keyboard = opened.page.keyboard
    focused = opened.page.locator(":focus")
    keyboard.press("Tab")
    assert focused.get_attribute("aria-label") == "Drawing area"
    assert focused.evaluate("it => getComputedStyle(it).outlineStyle") == "solid"
    keyboard.press("ArrowRight")
    keyboard.press("ArrowLeft")
    assert opened.label == ""
    keyboard.press("Space")
    for key in ["ArrowRight"] * 11 + ["ArrowDown", "ArrowDown", "ArrowLeft"] * 8:
        keyboard.press(key)
    keyboard.press("Space")
    opened.settle()
    assert opened.label == "7"
    for name in ("Undo", "Clear", "Picture…", "Camera…"):
        keyboard.press("Tab")
        assert focused.inner_text() == name
        assert focused.evaluate("it => getComputedStyle(it).outlineStyle") == "solid"


@pytest.mark.parametrize("opened", [PHONE], indirect=True)
def test_a_finger_draws_and_does_not_scroll(opened: OpenPage) -> None:
    (line,) = SEVEN.lines
    fingers = Fingers(opened)
    for number, point in enumerate(opened.place(line[::-1])):  # upwards, where it would scroll
        fingers.send("touchMove" if number else "touchStart", point)
    fingers.send("touchEnd")
    opened.settle()
    assert opened.label == "7"
    assert opened.page.evaluate("[scrollX, scrollY]") == [0, 0]


@pytest.mark.parametrize("opened", [PHONE], indirect=True)
def test_two_fingers_scroll_and_do_not_draw(opened: OpenPage) -> None:
    fingers = Fingers(opened)
    one, other = opened.place([(0.3, 0.9), (0.7, 0.9)])
    fingers.send("touchStart", one)
    fingers.send("touchStart", one, other)
    for step in range(1, 20):
        up = 12 * step
        fingers.send("touchMove", (one[0], one[1] - up), (other[0], other[1] - up))
    wait_on(opened.page, lambda: bool(opened.page.evaluate("scrollY > 50")))
    fingers.send("touchEnd")
    opened.settle()
    assert not opened.pixels("#pad").any()
    assert opened.label == ""


def test_a_stylus_that_is_pressed_draws_wider(opened: OpenPage) -> None:
    devtools = opened.page.context.new_cdp_session(opened.page)
    widths = []
    for force in (0.1, 0.9):
        for kind, (x, y) in zip(
            ("mousePressed", "mouseMoved", "mouseReleased"),
            opened.place([(0.2, 0.5), (0.8, 0.5), (0.8, 0.5)]),
            strict=True,
        ):
            event = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1}
            pen = {"pointerType": "pen", "force": force, "clickCount": 1}
            devtools.send("Input.dispatchMouseEvent", event | pen)
        opened.settle()
        pad = opened.pixels("#pad")
        widths.append(np.count_nonzero(pad[:, len(pad) // 2, 3]))
        opened.page.keyboard.press("Delete")
    assert widths[1] > 1.5 * widths[0]


# Asking.


class Held(list["Route"]):
    """Keeps requests back from now on; they go on when the test says so."""

    def __init__(self, opened: OpenPage) -> None:
        super().__init__()
        self.opened = opened
        opened.page.route(PREDICT, lambda route: self.append(route))

    def wait(self, count: int) -> None:
        """Until `count` requests were made, and a moment longer for one too many."""
        wait_on(self.opened.page, lambda: len(self) >= count)
        self.opened.page.wait_for_timeout(100)
        assert len(self) == count


def swift_stroke(opened: OpenPage, line: list[tuple[float, float]]) -> None:
    """Draw, and do not wait."""
    (start, *rest) = opened.place(line)
    opened.page.mouse.move(*start)
    opened.page.mouse.down()
    for point in rest:
        opened.page.mouse.move(*point)
    opened.page.mouse.up()


def test_answers_come_while_a_stroke_is_being_drawn(opened: OpenPage) -> None:
    mouse, page = opened.page.mouse, opened.page
    (start, *rest) = opened.place(THREE.lines[0])
    mouse.move(*start)
    mouse.down()
    shares = []
    for number, point in enumerate(rest):
        mouse.move(*point)
        if number % 5 == 4:
            opened.settle()
            shares.append(page.locator(".share").first.inner_text())
    assert page.locator("#label").inner_text() == "3"
    assert len(set(shares)) > 1
    assert opened.pixels("#seen").any()
    mouse.up()
    opened.settle()
    assert opened.label == "3"


def test_requests_never_pile_up_and_the_newest_drawing_goes_next(opened: OpenPage) -> None:
    held = Held(opened)
    for x in (0.2, 0.4, 0.6, 0.8):
        swift_stroke(opened, [(x, 0.2), (x, 0.5), (x, 0.8)])
    held.wait(1)
    held[0].continue_()
    held.wait(2)
    held[1].continue_()
    opened.settle()
    columns = opened.pixels("#seen")[:, :, 0].any(0).astype(int)
    assert np.count_nonzero(np.diff(columns) > 0) == 4
    held.wait(2)


def test_there_is_a_pause_between_the_requests_for_a_stroke(opened: OpenPage) -> None:
    mouse = opened.page.mouse
    (x, y), (_, end) = opened.place([(0.5, 0.2), (0.5, 0.8)])
    mouse.move(x, y)
    mouse.down()
    start = opened.page.evaluate("performance.now()")
    for step in range(100):
        mouse.move(x, y + (end - y) * step / 100)
    milliseconds = opened.page.evaluate("performance.now()") - start
    requests = sum("predict" in one for one in opened.requests)
    mouse.up()
    opened.settle()
    assert 1 <= requests <= 2 + milliseconds / 60


@pytest.mark.parametrize("key", ["Delete", "Control+z"])
def test_an_answer_for_a_drawing_that_is_gone_is_not_shown(opened: OpenPage, key: str) -> None:
    held = Held(opened)
    swift_stroke(opened, [(0.5, 0.2), (0.5, 0.8)])
    opened.page.keyboard.press(key)
    held.wait(1)
    held[0].continue_()
    opened.settle()
    assert (opened.label, opened.detail) == ("", INVITATION)
    assert not opened.pixels("#seen").any()


def test_the_verdict_is_announced_when_all_has_been_answered(opened: OpenPage) -> None:
    held = Held(opened)
    swift_stroke(opened, [(0.5, 0.2), (0.5, 0.8)])
    held.wait(1)
    announced = opened.page.get_by_role("status")
    assert announced.get_attribute("aria-live") == "polite"
    assert announced.get_attribute("aria-busy") == "true"
    held[0].continue_()
    held.wait(2)
    assert announced.get_attribute("aria-busy") == "true"
    held[1].continue_()
    opened.settle()
    assert announced.inner_text().startswith(opened.label)


# What gives no answer.


def blank_picture() -> bytes:
    """A BMP of 2x2 white pixels."""
    head = b"BM" + (70).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    sizes = b"".join(n.to_bytes(4, "little") for n in (40, 2, 2))
    return head + sizes + b"\1\0\x18\0" + bytes(24) + b"\xff" * 16


NO_ANSWER = [
    (blank_picture(), 422, "No digit here", "Nothing is drawn on the image: it is blank."),
    (b"hello", 400, "No answer", "These 5 bytes are not an image: PNG, JPEG, BMP, GIF, WebP and"),
    (b"8BPS\0\1 and more", 415, "No answer", "A PSD image cannot be read: save it as PNG, JPEG,"),
    (bytes(200_000), 413, "No answer", "The body is larger than 100000 bytes, the most"),
]


def test_what_gives_no_answer_is_said_in_words(opened: OpenPage) -> None:
    for content, status, label, detail in NO_ANSWER:
        opened.stroke([(0.5, 0.2), (0.5, 0.8)])
        assert opened.pixels("#seen").any()
        opened.choose(content)
        opened.expect_label(label)
        assert opened.detail.startswith(detail)
        assert not opened.pixels("#seen").any()
        assert not opened.pixels("#pixels").any()
        (complaint,) = opened.complaints()
        assert f"status of {status}" in complaint


def test_a_server_that_cannot_be_reached_is_said_to_be_so(opened: OpenPage) -> None:
    opened.page.context.set_offline(True)
    opened.draw(THREE)
    assert (opened.label, opened.detail) == (
        "No answer",
        "The server cannot be reached; start it again.",
    )
    opened.page.context.set_offline(False)
    opened.stroke([(0.5, 0.5), (0.51, 0.5)])
    assert opened.label == "3"
    assert {one.rpartition(" ")[2] for one in opened.complaints()} == {
        "net::ERR_INTERNET_DISCONNECTED"
    }


def test_a_page_that_could_not_reach_the_server_at_first_asks_again(opened: OpenPage) -> None:
    opened.page.route("**/page/model.json", lambda route: route.abort())
    opened.page.reload()
    opened.page.get_by_text("The server cannot be reached; start it again.").wait_for()
    assert opened.page.locator("h1").inner_text() == "What is in the picture?"
    opened.page.unroute("**/page/model.json")
    opened.draw(THREE)
    assert opened.label == "3"
    assert opened.page.locator("h1").inner_text() == "3 or 7?"
    assert {one.rpartition(" ")[2] for one in opened.complaints()} == {"net::ERR_FAILED"}


@pytest.mark.parametrize(
    ("status", "body", "detail"),
    [
        (502, "<h1>Bad gateway</h1>", "The server's answer cannot be read."),
        (500, "{}", "The server answered 500."),
    ],
)
def test_an_answer_of_something_between_is_said_in_words(
    opened: OpenPage, status: int, body: str, detail: str
) -> None:
    opened.page.route(PREDICT, lambda route: route.fulfill(status=status, body=body))
    opened.draw(THREE)
    assert (opened.label, opened.detail) == ("No answer", detail)
    complaints = opened.complaints()
    assert complaints
    assert all(f"status of {status}" in one for one in complaints)


@pytest.mark.parametrize(
    ("opened", "duration"),
    [
        (DESK | {"reduced_motion": "reduce"}, "0s"),
        (DESK | {"reduced_motion": "no-preference"}, "0.12s"),
    ],
    indirect=["opened"],
)
def test_nothing_moves_for_those_who_want_it_so(opened: OpenPage, duration: str) -> None:
    opened.draw(THREE)
    bar = opened.page.locator(".bar").first
    assert bar.evaluate("it => getComputedStyle(it).transitionDuration") == duration
