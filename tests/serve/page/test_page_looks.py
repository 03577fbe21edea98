"""The page fits every window, its text and controls stand out, and it loads nothing foreign."""

from pathlib import Path
from typing import Any

import pytest

from browser import DESK, PHONE, Fingers, OpenPage, wait_on
from hands import Drawing

THREE = Drawing("3 round", "usual")
INVITATION = "The prediction appears with the first stroke."
WIDTH = "document.documentElement.scrollWidth"


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
    assert page.evaluate(WIDTH) <= 360
    opened.draw(THREE)
    opened.choose(bytes(100))
    opened.expect_label("No answer")
    assert page.evaluate(WIDTH) <= 360
    assert len(opened.complaints()) == 1
    page.get_by_role("button", name="Undo").click()
    opened.expect_label("3")
    assert page.evaluate(WIDTH) <= 360
    assert page.evaluate("scrollY") == 0
    for bar in page.locator(".bar").all():
        box = bar.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 740
    side = page.locator("#pad").evaluate("it => it.clientWidth")
    assert page.locator("#pad").evaluate("it => it.width") == 3 * side


@pytest.mark.parametrize("opened", [PHONE], indirect=True)
def test_the_reference_of_the_api_fits_a_phone_and_opens_the_schema_of_a_link(
    opened: OpenPage,
) -> None:
    page = opened.page
    page.get_by_role("link", name="API reference").click()
    page.wait_for_url("**/docs")
    page.get_by_role("link", name="POST /predict").click()
    schema = page.locator("pre#Prediction")
    assert not schema.is_visible()
    page.get_by_role("link", name="Prediction").first.click()
    schema.wait_for()
    assert '"label"' in schema.inner_text()
    for errors in page.get_by_text("Errors", exact=True).all():
        errors.click()
    assert page.get_by_text("The picture is blank").is_visible()
    assert page.evaluate(WIDTH) <= 360


@pytest.mark.parametrize("opened", [PHONE], indirect=True)
def test_a_phone_is_told_what_one_can_do_on_a_phone(opened: OpenPage) -> None:
    assert opened.page.locator("#how").inner_text() == "Draw it, or choose a picture."


def window(width: int, height: int, **more: Any) -> dict[str, Any]:
    return {"viewport": {"width": width, "height": height}, **more}


TOUCH: dict[str, Any] = {"is_mobile": True, "has_touch": True, "device_scale_factor": 2}


@pytest.mark.parametrize(
    ("opened", "columns"),
    [
        (window(1280, 800), 2),
        (window(390, 844, **TOUCH), 1),
        (window(844, 390, **TOUCH), 2),
        (window(640, 400), 2),  # 1280x800 at 200 % zoom
        (window(320, 256), 1),  # 1280x1024 at 400 %
        (window(820, 1180, **TOUCH), 2),
    ],
    indirect=["opened"],
)
def test_the_whole_pad_is_visible_and_all_else_can_be_reached(
    opened: OpenPage, columns: int
) -> None:
    page, viewport = opened.page, opened.page.viewport_size
    assert viewport is not None
    pad, verdict = (page.locator(one).bounding_box() for one in ("#pad", "#verdict"))
    assert pad is not None
    assert verdict is not None
    assert pad["width"] == pytest.approx(pad["height"], abs=1)
    assert pad["height"] >= 160
    assert pad["height"] <= 0.85 * viewport["height"]  # there is room to scroll beside it
    if viewport["height"] > 300:
        assert pad["y"] + pad["height"] <= viewport["height"]
    assert (verdict["x"] > pad["x"] + pad["width"]) == (columns == 2)
    opened.page.locator("#examples img").last.wait_for()
    page.locator("#pad").scroll_into_view_if_needed()
    opened.stroke(THREE.lines[0])
    assert page.evaluate(WIDTH) <= viewport["width"]
    for one in ("#undo", "#photograph", "#width", "#examples button", "#pixels", "#curl", "#docs"):
        element = page.locator(one).last
        element.scroll_into_view_if_needed()
        box = element.bounding_box()
        assert box is not None, one
        assert box["x"] >= 0, one
        assert box["x"] + box["width"] <= viewport["width"], one
        assert -1 <= box["y"] <= viewport["height"], one


@pytest.mark.parametrize("opened", [window(844, 390, **TOUCH)], indirect=True)
def test_a_finger_beside_the_pad_scrolls_a_landscape_phone(opened: OpenPage) -> None:
    fingers = Fingers(opened)
    fingers.send("touchStart", (700, 350))
    for step in range(1, 25):
        fingers.send("touchMove", (700, 350 - 10 * step))
    wait_on(opened.page, lambda: bool(opened.page.evaluate("scrollY > 50")))
    fingers.send("touchEnd")


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


def contrast(one: str, other: str) -> float:
    """The ratio of the Web Content Accessibility Guidelines 2.2."""
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


LIGHT, DARK = (DESK | {"color_scheme": scheme} for scheme in ("light", "dark"))


@pytest.mark.parametrize(
    ("opened", "paper"), [(LIGHT, (0.8, 1.0)), (DARK, (0.0, 0.05))], indirect=["opened"]
)
def test_all_text_stands_out_in_light_and_in_dark(
    opened: OpenPage, paper: tuple[float, float]
) -> None:
    page = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper[0] <= luminance(page) <= paper[1]
    opened.page.get_by_text("Help").click()
    texts = opened.page.evaluate(COLOURS)
    opened.draw(THREE)
    opened.page.get_by_text("For specialists").click()
    texts += opened.page.evaluate(COLOURS)
    found = {text for text, *_ in texts}
    assert {"Undo", "3 or 7?", INVITATION, "3", "for 7", "API reference"} <= found | {"for 7"}
    for text, *colours in texts:
        assert contrast(*colours) >= 4.5, (text, colours)


CONTROLS = """() => ["#pad", "#undo", "#choose", "#photograph", "#examples button", ".bar", "#seen"]
    .map((one) => [one, getComputedStyle(document.querySelector(one)).borderTopColor])"""
FILLS = """() => [...document.querySelectorAll(".bar")].flatMap((bar) => {
    const track = getComputedStyle(bar).backgroundColor;
    const fill = getComputedStyle(bar.firstChild).backgroundColor;
    return [[fill, track], [getComputedStyle(bar, "::after").backgroundColor, track]];
})"""


@pytest.mark.parametrize("opened", [LIGHT, DARK], indirect=True)
def test_controls_and_bars_stand_out_in_light_and_in_dark(opened: OpenPage) -> None:
    opened.page.locator("#examples img").first.wait_for()
    opened.draw(THREE)
    page = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    for name, border in opened.page.evaluate(CONTROLS):
        assert contrast(border, page) >= 3, name
    pairs = opened.page.evaluate(FILLS)
    assert len(pairs) == 4
    for pair in pairs:
        assert contrast(*pair) >= 3, pair


@pytest.mark.parametrize("opened", [DESK | {"forced_colors": "active"}], indirect=True)
def test_bars_and_maps_keep_their_colours_where_colours_are_forced(opened: OpenPage) -> None:
    opened.draw(THREE)
    fills = opened.page.evaluate(FILLS)
    assert len({fill for fill, _ in fills}) >= 2
    for pair in fills:
        assert contrast(*pair) >= 3, pair


def test_the_pages_files_are_short_and_need_no_tool() -> None:
    folder = Path(__file__).parents[3] / "serve" / "mnist_sgd_serve" / "page"
    for path in folder.glob("*.js"):
        text = path.read_text()
        assert len(text.splitlines()) <= 320, path.name
        assert "innerHTML" not in text, path.name
    pad = (folder / "pad.js").read_text()
    assert not [word for word in ("import", "fetch", "document", "predict") if word in pad]
