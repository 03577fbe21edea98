"""For a model of whole pictures the page sends what it shows, on the paper of the training."""

from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from browser import MILLISECONDS, OpenPage, serving, wait_on
from mnist_sgd_serve import Predictor
from trained import Run, TrainedFiles

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

SCHEMES: list[Any] = ["light", "dark"]
PAPERS = {"dark on light": (213, 30), "light on dark": (40, 225)}
"""The greys of paper and ink that a model is trained on."""

UPRIGHT, FLAT = [(0.5, 0.15), (0.5, 0.85)], [(0.15, 0.5), (0.85, 0.5)]


def bar(upright: bool, paper: int, ink: int, random: np.random.Generator) -> Image.Image:
    """A thick line on paper, anywhere near the middle."""
    picture = random.normal(paper, 3, (64, 64))
    start = int(random.integers(24, 32))
    picture[8:56, start : start + 9] = ink
    return Image.fromarray(np.clip(picture if upright else picture.T, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module", params=PAPERS)
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, command: Run
) -> TrainedFiles:
    """A model of upright and flat lines, trained by the command."""
    folder = tmp_path_factory.mktemp("lines")
    random = np.random.default_rng(1)
    for name in ("flat", "upright"):
        (folder / "lines" / name).mkdir(parents=True)
        for number in range(100):
            picture = bar(name == "upright", *PAPERS[request.param], random)
            picture.save(folder / "lines" / name / f"{number}.png")
    options = ("--data", "lines", "--preprocess", "fit", "--epochs", "12", "--run", "lines")
    done = command("train", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return TrainedFiles(folder / "runs" / "lines", request.param)


@pytest.fixture(scope="module")
def address(model: TrainedFiles) -> Iterator[str]:
    with serving(model.artifact, model.folder) as found:
        yield found


@pytest.fixture(params=SCHEMES)
def opened(browser: "Browser", address: str, request: pytest.FixtureRequest) -> Iterator[OpenPage]:
    """The page, for a person who likes a light page and for one who likes a dark one."""
    context = browser.new_context(
        viewport={"width": 1200, "height": 800}, color_scheme=request.param
    )
    context.set_default_timeout(MILLISECONDS)
    opened = OpenPage(context.new_page(), address)
    yield opened
    complaints = opened.complaints()
    context.close()
    assert complaints == []


def sent_by(opened: OpenPage, line: list[tuple[float, float]]) -> NDArray[np.uint8]:
    """What is sent for a stroke."""
    bodies = []

    def keep(route: "Route") -> None:
        bodies.append(route.request.post_data_buffer)
        route.continue_()

    opened.page.route("**/predict?explain=1", keep)
    opened.stroke(line)
    opened.page.unroute("**/predict?explain=1")
    with Image.open(BytesIO(bodies[-1] or b"")) as image:
        return np.asarray(image.convert("L"))


def test_the_artifact_carries_the_median_grey_of_the_trainings_borders(
    model: TrainedFiles,
) -> None:
    paper, _ = PAPERS[model.stdout]
    metadata = Predictor(model.artifact).metadata
    assert metadata.preprocessing == "fit"
    assert metadata.paper is not None
    assert abs(metadata.paper - paper) <= 1


def test_what_is_drawn_what_is_sent_and_what_the_model_sees_agree(
    opened: OpenPage, model: TrainedFiles
) -> None:
    paper = Predictor(model.artifact).metadata.paper
    assert paper is not None
    ink = 0 if paper > 127 else 255
    for line, label in ((UPRIGHT, "upright"), (FLAT, "flat")):
        sent = sent_by(opened, line)
        assert np.median(sent) == sent[0, 0] == paper
        assert sent[140, 140] == ink
        assert opened.label == label
        assert "inverted" not in opened.page.locator("#note").inner_text()
        shown = opened.pixels("#pad")
        middle = len(shown) // 2
        assert shown[middle, middle].tolist() == [ink, ink, ink, 255]
        ground = opened.page.locator("#pad").evaluate("it => getComputedStyle(it).backgroundColor")
        assert ground == f"rgb({paper}, {paper}, {paper})"
        seen = opened.pixels("#seen")[:, :, 0]
        assert seen[0, 0] == paper
        assert abs(int(seen[14, 14]) - ink) < 30
        opened.page.keyboard.press("Delete")


def test_pictures_come_first_and_nothing_is_said_of_digits(opened: OpenPage) -> None:
    page = opened.page
    assert page.title() == page.locator("h1").inner_text() == "flat or upright?"
    assert page.locator("#how").inner_text() == "Choose, drop or paste a picture; or draw."
    assert opened.detail == "The prediction appears with a picture or the first stroke."
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Choose a picture…"
    button, pad = page.locator("#choose").bounding_box(), page.locator("#pad").bounding_box()
    assert button is not None
    assert pad is not None
    assert button["y"] + button["height"] <= pad["y"]
    blank = BytesIO()
    Image.new("L", (9, 9), 200).save(blank, "PNG")
    with page.expect_file_chooser() as chooser:
        page.locator("#choose").click()
    file: Any = {"name": "blank.png", "mimeType": "image/png", "buffer": blank.getvalue()}
    chooser.value.set_files(file)
    page.get_by_text("Nothing here").wait_for()
    assert "digit" not in page.locator("body").inner_text().lower()
    (complaint,) = opened.complaints()
    assert "status of 422" in complaint


def test_a_stroke_that_came_before_the_page_knew_the_paper_waits_for_it(
    browser: "Browser", address: str, model: TrainedFiles
) -> None:
    paper = Predictor(model.artifact).metadata.paper
    held: list[Any] = []
    grounds = []

    def look(route: "Route") -> None:
        with Image.open(BytesIO(route.request.post_data_buffer or b"")) as image:
            grounds.append(image.convert("L").getpixel((0, 0)))
        route.continue_()

    with browser.new_context(viewport={"width": 1200, "height": 800}) as context:
        context.set_default_timeout(MILLISECONDS)
        page = context.new_page()
        page.route("**/page/model.json", lambda route: held.append(route))
        page.route("**/predict?explain=1", look)
        page.goto(address)
        wait_on(page, lambda: len(held) == 1)
        box = page.locator("#pad").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 4
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x, y + box["height"] / 2)
        page.mouse.up()
        page.wait_for_timeout(100)
        assert grounds == []
        held[0].continue_()
        page.locator("#verdict[aria-busy=false]").wait_for()
        assert set(grounds) == {paper}
        assert page.locator("#label").inner_text() == "upright"
        assert len(held) == 1


def test_the_validation_pictures_of_the_run_are_its_examples(opened: OpenPage) -> None:
    examples = opened.page.get_by_role("group", name="Examples").get_by_role("button")
    examples.nth(5).locator("img").wait_for()
    assert examples.count() == 6
    for example in examples.all():
        label = (example.get_attribute("aria-label") or "").partition(": ")[2]
        assert label in ("flat", "upright")
        example.click()
        opened.expect_label(label)
        opened.page.keyboard.press("Delete")


def test_the_cnn_has_a_map_of_what_it_looks_at(opened: OpenPage) -> None:
    """The line is evidence for its class, and the empty corners for neither."""
    for line, colour in ((UPRIGHT, 0), (FLAT, 2)):
        opened.stroke(line)
        pixels = opened.pixels("#pixels").astype(int)
        strength = np.abs(pixels[:, :, 0] - pixels[:, :, 2]) * pixels[:, :, 3]
        row, column = np.unravel_index(strength.argmax(), strength.shape)
        assert pixels[row, column, colour] > pixels[row, column, 2 - colour]
        opened.page.keyboard.press("Delete")
