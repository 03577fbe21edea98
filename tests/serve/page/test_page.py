import base64
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from browser import CHROMIUM, MILLISECONDS, OpenPage, browse, serving, wait_on
from hands import DRAWINGS, Drawing
from mnist_sgd_serve import Predictor
from trained import TrainedFiles

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FilePayload, Route

pytestmark = [
    pytest.mark.skipif(find_spec("playwright") is None, reason="playwright is not installed"),
    pytest.mark.skipif(not CHROMIUM, reason="there is no chromium on the path"),
]

DIGITS = Path(__file__).parents[3] / "mnist_sgd" / "sample" / "digits"
THREE, SEVEN = Drawing("3 round", "usual"), Drawing("7 plain", "usual")
DESK: dict[str, Any] = {"viewport": {"width": 1200, "height": 800}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "device_scale_factor": 3,
    "is_mobile": True,
    "has_touch": True,
}
INVITATION = "The answer comes with the first stroke."


@pytest.fixture(scope="module")
def address(trained: TrainedFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with serving(trained.artifact, folder, "--max-body", "100000") as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import expect

    expect.set_options(timeout=MILLISECONDS)
    with browse() as started:
        yield started


@pytest.fixture
def opened(browser: "Browser", address: str, request: pytest.FixtureRequest) -> Iterator[OpenPage]:
    """The page, in the kind of window that the test asks for; nothing may go wrong unnoticed."""
    context = browser.new_context(**getattr(request, "param", DESK))
    context.set_default_timeout(MILLISECONDS)
    opened = OpenPage(context.new_page(), address)
    yield opened
    complaints = opened.complaints()
    context.close()
    assert complaints == []
    assert [one for one in opened.requests if not one.startswith(f"{address}/")] == []


def blank_picture() -> bytes:
    """A BMP of 2x2 white pixels."""
    head = b"BM" + (70).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    sizes = b"".join(n.to_bytes(4, "little") for n in (40, 2, 2))
    return head + sizes + b"\1\0\x18\0" + bytes(24) + b"\xff" * 16


def choose(opened: OpenPage, content: bytes) -> None:
    with opened.page.expect_file_chooser() as chooser:
        opened.page.get_by_role("button", name="Picture…").click()
    file: FilePayload = {"name": "picture", "mimeType": "image/png", "buffer": content}
    chooser.value.set_files(file)


def expect_label(opened: OpenPage, label: str) -> None:
    """Wait until the page shows it: a picture is decoded before it is asked about."""
    from playwright.sync_api import expect

    expect(opened.page.locator("#label")).to_have_text(label)
    opened.settle()


# Drawing.


def test_threes_and_sevens_of_many_hands_are_recognised(opened: OpenPage) -> None:
    wrong = []
    for drawing in DRAWINGS:
        opened.page.keyboard.press("Delete")
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


def test_the_page_shows_what_the_model_saw(opened: OpenPage, trained: TrainedFiles) -> None:
    picture = (DIGITS / "three-1.png").read_bytes()
    choose(opened, picture)
    expect_label(opened, "3")
    seen = opened.pixels("#seen")
    expected = Predictor(trained.artifact).predict(picture)
    np.testing.assert_array_equal(seen[:, :, 0], expected.image)
    np.testing.assert_array_equal(seen, np.dstack([seen[:, :, :1]] * 3 + [np.full((28, 28), 255)]))


def test_each_pixel_has_the_colour_of_the_class_it_speaks_for(opened: OpenPage) -> None:
    with opened.page.expect_response("**/predict?explain=1") as response:
        opened.draw(THREE)
    answer = response.value.json()
    added = np.frombuffer(base64.b64decode(answer["contributions"]), "<f4").reshape(28, 28)
    red, _, blue, alpha = opened.pixels("#pixels").astype(int).transpose(2, 0, 1)
    strong = np.abs(added) > np.abs(added).max() / 8
    assert strong.sum() > 20
    np.testing.assert_array_equal((red > blue)[strong], (added > 0)[strong])
    np.testing.assert_allclose(alpha / 255, np.abs(added) / np.abs(added).max(), atol=0.01)
    most = f"{np.abs(added).max():.2f}"
    legend = opened.page.locator("#added .legend").first.inner_text().split()
    assert legend == [f"\N{MINUS SIGN}{most}", f"+{most}"]


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
    assert (opened.label, opened.detail) == ("", INVITATION)
    assert not opened.pixels("#pad").any()
    page.keyboard.press("Control+z")
    expect_label(opened, "7")
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
    keyboard.press("Space")
    for key in ["ArrowRight"] * 11 + ["ArrowDown", "ArrowDown", "ArrowLeft"] * 8:
        keyboard.press(key)
    assert opened.label == ""
    keyboard.press("Space")
    opened.settle()
    assert opened.label == "7"
    for name in ("Undo", "Clear", "Picture…"):
        keyboard.press("Tab")
        assert focused.inner_text() == name
        assert focused.evaluate("it => getComputedStyle(it).outlineStyle") == "solid"


@pytest.mark.parametrize("opened", [PHONE], indirect=True)
def test_a_finger_draws_and_does_not_scroll(opened: OpenPage) -> None:
    (line,) = SEVEN.lines
    devtools = opened.page.context.new_cdp_session(opened.page)
    for number, (x, y) in enumerate(opened.place(line[::-1])):  # upwards, where it would scroll
        kind = "touchMove" if number else "touchStart"
        event: dict[str, Any] = {"type": kind, "touchPoints": [{"x": x, "y": y}]}
        devtools.send("Input.dispatchTouchEvent", event)
    devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    opened.settle()
    assert opened.label == "7"
    assert opened.page.evaluate("[scrollX, scrollY]") == [0, 0]


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


# Pictures.


def test_a_picture_is_chosen_and_a_stroke_begins_anew(opened: OpenPage) -> None:
    choose(opened, (DIGITS / "seven-2.png").read_bytes())
    expect_label(opened, "7")
    assert np.count_nonzero(opened.pixels("#pad")[:, :, 0]) > 1000
    opened.draw(THREE)
    assert opened.label == "3"
    opened.page.keyboard.press("Control+z")
    expect_label(opened, "7")


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(opened: OpenPage, way: str) -> None:
    script = """([way, content]) => {
        const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], "seven.png", { type: "image/png" }));
        const also = { bubbles: true, cancelable: true };
        document.body.dispatchEvent(way === "paste"
            ? new ClipboardEvent("paste", { clipboardData: transfer, ...also })
            : new DragEvent("drop", { dataTransfer: transfer, ...also }));
    }"""
    picture = base64.b64encode((DIGITS / "seven-1.png").read_bytes()).decode()
    opened.page.evaluate(script, [way, picture])
    expect_label(opened, "7")
    assert np.count_nonzero(opened.pixels("#pad")[:, :, 0]) > 1000


def test_dark_ink_on_light_paper_is_said_to_be_inverted(opened: OpenPage) -> None:
    from io import BytesIO

    from PIL import Image, ImageOps

    file = BytesIO()
    with Image.open(DIGITS / "three-2.png") as image:
        ImageOps.invert(image.convert("L")).save(file, "PNG")
    choose(opened, file.getvalue())
    expect_label(opened, "3")
    note = opened.page.locator("#note").inner_text()
    assert "ms in the server" in note
    assert note.endswith("Dark on light: inverted.")


# What gives no answer.


NO_ANSWER = [
    (blank_picture(), 422, "No digit here", "Nothing is drawn on the image: it is blank."),
    (b"hello", 400, "No answer", "These 5 bytes are not an image: PNG, JPEG, BMP, GIF and"),
    (b"II*\0 and more", 415, "No answer", "A TIFF image cannot be read: save it as PNG, JPEG,"),
    (bytes(200_000), 413, "No answer", "The body is larger than 100000 bytes, the most"),
]


def test_what_gives_no_answer_is_said_in_words(opened: OpenPage) -> None:
    for content, status, label, detail in NO_ANSWER:
        opened.stroke([(0.5, 0.2), (0.5, 0.8)])
        assert opened.pixels("#seen").any()
        choose(opened, content)
        expect_label(opened, label)
        assert opened.detail.startswith(detail)
        assert not opened.pixels("#seen").any()
        assert not opened.pixels("#pixels").any()
        (complaint,) = opened.complaints()
        assert f"status of {status}" in complaint


def test_a_server_that_cannot_be_reached_is_said_to_be_so(opened: OpenPage) -> None:
    opened.page.context.set_offline(True)
    opened.draw(THREE)
    assert (opened.label, opened.detail) == ("No answer", "The server cannot be reached.")
    opened.page.context.set_offline(False)
    opened.stroke([(0.5, 0.5), (0.51, 0.5)])
    assert opened.label == "3"
    assert len(opened.complaints()) == 1


def test_a_server_with_a_token_is_used_after_the_token_was_given(
    browser: "Browser", trained: TrainedFiles, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    options = ("--token", "open-sesame")
    with serving(trained.artifact, tmp_path, *options) as address, browser.new_context() as context:
        context.set_default_timeout(MILLISECONDS)
        page = context.new_page()
        page.goto(address)
        detail, token = page.locator("#detail"), page.get_by_label("Token")
        expect(detail).to_have_text("The server asks for a token.")
        token.fill("of another servers")
        token.press("Backspace")
        assert token.input_value() == "of another server"
        page.get_by_role("button", name="Use").click()
        assert token.evaluate("it => it.validity.patternMismatch")  # a token has no spaces
        for given, answer in {
            "wrong": "The server takes another token.",
            "open-sesame": INVITATION,
        }.items():
            token.fill(given)
            token.press("Enter")
            expect(detail).to_have_text(answer)
        expect(token).to_be_hidden()
        expect(page.locator("h1")).to_have_text("3 or 7?")
        page.reload()  # the tab remembers it
        expect(page.locator("h1")).to_have_text("3 or 7?")
        expect(token).to_be_hidden()


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
    opened.page.route("**/predict?explain=1", lambda route: route.fulfill(status=status, body=body))
    opened.draw(THREE)
    assert (opened.label, opened.detail) == ("No answer", detail)
    (complaint,) = opened.complaints()
    assert f"status of {status}" in complaint


# Asking.


class Held(list["Route"]):
    """Keeps requests back from now on; they go on when the test says so."""

    def __init__(self, opened: OpenPage) -> None:
        super().__init__()
        self.opened = opened
        opened.page.route("**/predict?explain=1", lambda route: self.append(route))

    def wait(self, count: int) -> None:
        """Until `count` requests were made, and a moment longer for one too many."""
        wait_on(self.opened.page, lambda: len(self) >= count)
        self.opened.page.wait_for_timeout(50)
        assert len(self) == count


def swift_stroke(opened: OpenPage, line: list[tuple[float, float]]) -> None:
    """Draw, and do not wait."""
    (start, *rest) = opened.place(line)
    opened.page.mouse.move(*start)
    opened.page.mouse.down()
    for point in rest:
        opened.page.mouse.move(*point)
    opened.page.mouse.up()


def test_requests_never_pile_up_and_the_newest_drawing_goes_next(opened: OpenPage) -> None:
    held = Held(opened)
    for x in (0.2, 0.4, 0.6, 0.8):
        swift_stroke(opened, [(x, 0.2), (x, 0.8)])
    held.wait(1)
    held[0].continue_()
    held.wait(2)
    assert (opened.label, opened.detail) == ("", INVITATION)
    held[1].continue_()
    opened.settle()
    columns = opened.pixels("#seen")[:, :, 0].any(0).astype(int)
    assert np.count_nonzero(np.diff(columns) > 0) == 4
    held.wait(2)


def test_an_answer_for_a_drawing_that_was_wiped_is_not_shown(opened: OpenPage) -> None:
    held = Held(opened)
    swift_stroke(opened, [(0.5, 0.2), (0.5, 0.8)])
    opened.page.keyboard.press("Delete")
    held.wait(1)
    held[0].continue_()
    opened.settle()
    assert (opened.label, opened.detail) == ("", INVITATION)
    assert not opened.pixels("#seen").any()


def test_names_from_the_server_are_text_and_never_markup(opened: OpenPage) -> None:
    """And a model that is not linear has no picture of what each pixel adds."""
    name = "<img src=x onerror=alert(1)>"

    def rename(route: "Route") -> None:
        answer = route.fetch().json()
        new = {"classes": ["7", name], "label": name, "positive": name, "probability": 0.9}
        new["confidence"] = 0.9
        route.fulfill(json=answer | new | {"threshold": 0.8, "contributions": None})

    opened.page.route("**/predict?explain=1", rename)
    opened.draw(THREE)
    assert (opened.label, opened.detail) == (name, "Probability 90 %")
    assert opened.page.locator("h1").inner_text() == f"{name} or 7?"
    assert opened.page.locator("img").count() == 0
    assert not opened.page.locator("#added").is_visible()
    assert opened.page.locator("#threshold").inner_text() == "threshold 80 %"
    bar, mark = (opened.page.locator(one).bounding_box() for one in ("#bar", "#mark"))
    assert bar is not None
    assert mark is not None
    assert (mark["x"] + 1 - bar["x"]) / bar["width"] == pytest.approx(0.8, abs=0.005)
    meter = opened.page.get_by_role("meter", name=f"Probability of {name}")
    assert meter.get_attribute("aria-valuenow") == "90.0"


@pytest.mark.parametrize("threshold", [0.0001, 0.5, 0.9999])
def test_the_thresholds_name_is_one_line_below_the_bar_wherever_it_lies(
    threshold: float, opened: OpenPage
) -> None:
    def rename(route: "Route") -> None:
        route.fulfill(json=route.fetch().json() | {"threshold": threshold})

    opened.page.route("**/predict?explain=1", rename)
    opened.draw(THREE)
    bar, name = (opened.page.locator(one).bounding_box() for one in ("#bar", "#threshold"))
    assert bar is not None
    assert name is not None
    assert name["height"] < 25  # two lines take 39
    assert bar["x"] - 1 <= name["x"]
    assert name["x"] + name["width"] <= bar["x"] + bar["width"] + 1


# Looks, and rules.


def test_the_page_may_run_what_comes_from_its_own_server_only(opened: OpenPage) -> None:
    script = """async () => {
        const element = document.createElement("script");
        element.textContent = "window.ran = true";
        document.body.append(element);
        const other = await fetch("http://127.0.0.2:9/").catch((error) => error.message);
        return [Boolean(window.ran), other];
    }"""
    assert opened.page.evaluate(script) == [False, "Failed to fetch"]
    refused = [one for one in opened.complaints() if "Content Security Policy" in one]
    assert any("script-src 'self'" in one for one in refused)
    assert any("connect-src 'self'" in one for one in refused)
    assert [one for one in opened.requests if "127.0.0.2" in one] == []


@pytest.mark.parametrize("opened", [PHONE], indirect=True)
def test_a_phone_shows_the_verdict_beside_the_drawing_and_never_scrolls_sideways(
    opened: OpenPage,
) -> None:
    page = opened.page
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) <= 360
    opened.draw(THREE)
    choose(opened, bytes(100))
    expect_label(opened, "No answer")
    assert page.evaluate(wide) <= 360
    assert len(opened.complaints()) == 1
    page.get_by_role("button", name="Undo").click()
    expect_label(opened, "3")
    assert page.evaluate(wide) <= 360
    assert page.evaluate("scrollY") == 0
    bar = page.locator("#bar").bounding_box()
    assert bar is not None
    assert bar["y"] + bar["height"] < 740
    side = page.locator("#pad").evaluate("it => it.clientWidth")
    assert page.locator("#pad").evaluate("it => it.width") == 3 * side


COLOURS = """() => {
    const found = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        const seen = element.checkVisibility({ visibilityProperty: true });
        if (!seen || !texts.currentNode.data.trim()) continue;
        let behind = element;
        while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)")
            behind = behind.parentElement;
        const colours = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
        found.push([texts.currentNode.data.trim(), ...colours]);
    }
    return found;
}"""


def luminance(colour: str) -> float:
    """Of an opaque CSS colour: Web Content Accessibility Guidelines 2.2, relative luminance."""
    assert colour.startswith("rgb(")
    shares = [int(part) / 255 for part in colour[4:-1].split(",")]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    ("opened", "paper"),
    [
        (DESK | {"color_scheme": "light"}, (0.8, 1.0)),
        (DESK | {"color_scheme": "dark"}, (0.0, 0.05)),
    ],
    indirect=["opened"],
)
def test_all_text_stands_out_in_light_and_in_dark(
    opened: OpenPage, paper: tuple[float, float]
) -> None:
    page = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper[0] <= luminance(page) <= paper[1]
    opened.page.locator("summary").click()
    texts = opened.page.evaluate(COLOURS)
    opened.draw(THREE)
    texts += opened.page.evaluate(COLOURS)
    assert {"Undo", "3 or 7?", INVITATION, "3", "threshold 50 %"} <= {text for text, *_ in texts}
    for text, *colours in texts:
        darker, lighter = sorted(map(luminance, colours))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, colours)


@pytest.mark.parametrize(
    ("opened", "duration"),
    [
        (DESK | {"reduced_motion": "reduce"}, "0s"),
        (DESK | {"reduced_motion": "no-preference"}, "0.15s"),
    ],
    indirect=["opened"],
)
def test_nothing_moves_for_those_who_want_it_so(opened: OpenPage, duration: str) -> None:
    opened.draw(THREE)
    found = opened.page.locator("#bar").evaluate("it => getComputedStyle(it).transitionDuration")
    assert found == duration


def test_the_verdict_is_announced(opened: OpenPage) -> None:
    opened.draw(THREE)
    announced = opened.page.get_by_role("status")
    assert announced.get_attribute("aria-live") == "polite"
    assert announced.inner_text().split("\n")[0].startswith("3")
    assert json.loads(announced.get_attribute("aria-busy") or "null") is False
