"""Pictures from files, drops, the clipboard, the camera and the examples."""

import base64
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from browser import DESK, PHONE, OpenPage, wait_on
from hands import Drawing

if TYPE_CHECKING:
    from playwright.sync_api import FilePayload

DIGITS = Path(__file__).parents[3] / "mnist_sgd" / "sample" / "digits"
THREE = Drawing("3 round", "usual")

GIVE = """([way, contents, text]) => {
    const transfer = new DataTransfer();
    contents.forEach((content, i) => {
        const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
        transfer.items.add(new File([bytes], `${"abc"[i]}.png`, { type: "image/png" }));
    });
    for (const [kind, content] of text) transfer.setData(kind, content);
    const also = { bubbles: true, cancelable: true };
    document.body.dispatchEvent(way === "paste"
        ? new ClipboardEvent("paste", { clipboardData: transfer, ...also })
        : new DragEvent("drop", { dataTransfer: transfer, ...also }));
}"""


def give(opened: OpenPage, way: str, *names: str, text: dict[str, str] | None = None) -> None:
    """Drop or paste digits, or text, by its kinds."""
    contents = [base64.b64encode((DIGITS / name).read_bytes()).decode() for name in names]
    opened.page.evaluate(GIVE, [way, contents, [*(text or {}).items()]])


def said(opened: OpenPage) -> str:
    return opened.page.locator("#said").inner_text()


def test_a_picture_is_chosen_and_a_stroke_begins_anew(opened: OpenPage) -> None:
    opened.choose((DIGITS / "seven-2.png").read_bytes())
    opened.expect_label("7")
    assert np.count_nonzero(opened.pixels("#pad")[:, :, 0]) > 1000
    opened.draw(THREE)
    assert opened.label == "3"
    opened.page.keyboard.press("Control+z")
    opened.expect_label("7")


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(opened: OpenPage, way: str) -> None:
    give(opened, way, "seven-1.png")
    opened.expect_label("7")
    assert np.count_nonzero(opened.pixels("#pad")[:, :, 0]) > 1000
    assert said(opened) == ""


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_of_several_pictures_the_first_is_taken_and_named(opened: OpenPage, way: str) -> None:
    give(opened, way, "three-1.png", "seven-1.png")
    opened.expect_label("3")
    wait_on(opened.page, lambda: said(opened) != "")
    assert said(opened) == "One picture at a time: this is a.png, the first."
    opened.draw(THREE)
    assert said(opened) == ""


@pytest.mark.parametrize(
    ("way", "text", "words"),
    [
        ("drop", {"text/uri-list": "https://example.org/3.png"}, "What was dropped is a link, not"),
        ("drop", {"text/plain": "three"}, "What was dropped is text, not a picture: save the"),
        ("paste", {"text/plain": "three"}, "What was pasted is not a picture: save the picture as"),
    ],
)
def test_what_is_not_a_picture_is_said_to_be_so(
    opened: OpenPage, way: str, text: dict[str, str], words: str
) -> None:
    give(opened, way, text=text)
    assert said(opened).startswith(words)
    assert opened.label == ""


def test_dark_ink_on_light_paper_is_said_to_be_inverted(opened: OpenPage) -> None:
    file = BytesIO()
    with Image.open(DIGITS / "three-2.png") as image:
        ImageOps.invert(image.convert("L")).save(file, "PNG")
    opened.choose(file.getvalue())
    opened.expect_label("3")
    note = opened.page.locator("#note").inner_text()
    assert "ms in the server" in note
    assert note.endswith("Dark on light, so it was inverted.")


def test_a_tiff_is_answered_although_no_browser_shows_it(opened: OpenPage) -> None:
    accepted = opened.page.locator("#file").get_attribute("accept")
    assert accepted is not None
    assert {".tif", ".tiff", ".png", ".webp"} <= set(accepted.split(","))
    file = BytesIO()
    with Image.open(DIGITS / "three-2.png") as image:
        image.save(file, "TIFF")
    opened.choose(file.getvalue(), "scan.tif")
    opened.expect_label("3")
    assert opened.pixels("#seen")[:, :, 0].any()
    assert opened.page.locator("#ghost").inner_text() == "scan.tif cannot be shown here"
    opened.draw(THREE)
    assert not opened.page.locator("#ghost").is_visible()


def test_an_example_is_laid_on_the_paper_by_a_click(opened: OpenPage) -> None:
    examples = opened.page.get_by_role("group", name="Examples").get_by_role("button")
    examples.nth(7).locator("img").wait_for()
    names = [one.get_attribute("aria-label") for one in examples.all()]
    assert names == [f"Example {i + 1}: {'3' if i < 4 else '7'}" for i in range(8)]
    for index, label in ((0, "3"), (7, "7")):
        examples.nth(index).click()
        opened.expect_label(label)
        assert examples.nth(index).locator("img").evaluate("it => it.naturalWidth") >= 28
        opened.page.keyboard.press("Delete")


# The camera: Chromium's is a green picture with a clock.


@pytest.mark.parametrize("opened", [DESK | {"permissions": ["camera"]}], indirect=True)
def test_a_photograph_is_taken_with_the_preview(opened: OpenPage) -> None:
    page, video = opened.page, opened.page.locator("#preview")
    for leave in (True, False):
        page.get_by_role("button", name="Camera…").click()
        shutter = page.get_by_role("button", name="Take the picture")
        wait_on(page, lambda: bool(video.evaluate("it => it.videoWidth > 0")))
        if leave:
            page.get_by_role("button", name="Cancel").click()
            assert not opened.pixels("#pad").any()
        else:
            shutter.click()
        wait_on(page, lambda: bool(video.evaluate("it => it.srcObject === null")))
        assert not page.locator("#camera").is_visible()
    page.locator("#note").get_by_text("ms in the server").wait_for()
    opened.settle()
    assert opened.label in ("3", "7")
    red, green, blue, _ = np.moveaxis(opened.pixels("#pad").astype(int), -1, 0)
    assert np.mean((green > red) & (green > blue)) > 0.3


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("NotAllowedError", "The browser may not use the camera."),
        ("NotFoundError", "There is no camera."),
        ("NotReadableError", "The camera cannot be used."),
    ],
)
def test_why_there_is_no_photograph_is_said(opened: OpenPage, error: str, words: str) -> None:
    opened.page.evaluate(
        "name => { navigator.mediaDevices.getUserMedia = async () => {"
        " throw new DOMException('', name); }; }",
        error,
    )
    opened.page.get_by_role("button", name="Camera…").click()
    wait_on(opened.page, lambda: said(opened) == words)
    assert not opened.page.locator("#camera").is_visible()


@pytest.mark.parametrize("opened", [PHONE], indirect=True)
def test_a_phone_takes_photographs_with_its_own_app(opened: OpenPage) -> None:
    shot = opened.page.locator("#shot")
    assert shot.get_attribute("capture") == "environment"
    assert shot.get_attribute("accept") == "image/*"
    with opened.page.expect_file_chooser() as chooser:
        opened.page.get_by_role("button", name="Camera…").tap()
    content = (DIGITS / "seven-1.png").read_bytes()
    file: FilePayload = {"name": "IMG_1.png", "mimeType": "image/png", "buffer": content}
    chooser.value.set_files(file)
    opened.expect_label("7")


def test_without_a_camera_that_pages_may_use_there_is_no_button(browser: Any, address: str) -> None:
    """As on a page that another machine serves without TLS."""
    with browser.new_context(**DESK) as context:
        context.add_init_script("delete Navigator.prototype.mediaDevices")
        page = OpenPage(context.new_page(), address).page
        assert page.get_by_role("button", name="Picture…").is_visible()
        assert not page.get_by_role("button", name="Camera…").is_visible()
