"""`report.html` in a browser: it loads nothing, fits a phone, and reads well in both schemes."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from browser import CHROMIUM, browse
from mnist_sgd import DataLoader, DataLoaders, Learner, batch_accuracy, write_run
from mnist_sgd.report.comparison import compare_runs
from mnist_sgd.report.comparison_page import comparison_page
from mnist_sgd.report.reader import read_run
from runs import easy_set, learner

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.skipif(find_spec("playwright") is None, reason="playwright is not installed"),
    pytest.mark.skipif(not CHROMIUM, reason="there is no chromium on the path"),
]

STRANGE = ("a very long name of a class that goes on and on", "<i>&\"'`$x_1$")

CONTRASTS = """() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = element => {
    for (let e = element; e; e = e.parentElement) {
      const rect = e.tagName === "svg" && [...e.querySelectorAll("rect, path")]
        .find(each => !each.closest("defs"));
      const colour = rgb(rect ? getComputedStyle(rect).fill : getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("style")) continue;
    const style = getComputedStyle(element);
    const inside = element.namespaceURI.endsWith("svg");
    const pair = [luminance(rgb(inside ? style.fill : style.color)), luminance(paper(element))];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    found.push([ratio, walker.currentNode.data.trim()]);
  }
  return found;
}"""
"""The contrast of every text on the page to what is behind it, as WCAG 2.2 defines it."""


@dataclass(frozen=True)
class Opened:
    """A page in a window, with what it asked for and what went wrong."""

    page: "Page"
    requests: list[str]
    messages: list[str]


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with browse() as started:
        yield started


class SmallCnn(nn.Module):
    """Takes rows of pixels as the loader gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Unflatten(1, (1, 28, 28)),
            nn.Conv2d(1, 4, 5, stride=4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4 * 36, 1),
        )

    def forward(self, x: Any) -> Any:
        return self.layers(x)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports of several kinds, and a comparison of them."""
    folder = tmp_path_factory.mktemp("runs")
    valid = easy_set(classes=STRANGE)
    loaders = DataLoaders(DataLoader(easy_set(), 20), DataLoader(valid, 20))
    torch.manual_seed(0)
    cnn = Learner(loaders, SmallCnn(), metrics=batch_accuracy)
    with cnn.no_logging():
        cnn.fit_one_cycle(25, 0.1)
    learners = {
        "mistakes": learner(valid=easy_set(flipped=40)),
        "none": learner("mlp"),
        "strange": cnn,
    }
    pages = {name: write_run(learn, folder / name) for name, learn in learners.items()}
    pages["compare"] = folder / "compare.html"
    runs = compare_runs([read_run(folder / name) for name in learners])
    pages["compare"].write_text(comparison_page(runs))
    return pages


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    scheme: str = request.param
    return scheme


@pytest.fixture
def opened(browser: "Browser", scheme: str) -> Iterator[Opened]:
    """A phone's window; at the end nothing was asked for but the page, and nothing went wrong."""
    window: Any = {"viewport": {"width": 390, "height": 844}, "color_scheme": scheme}
    context = browser.new_context(**window)
    opened = Opened(context.new_page(), [], [])
    opened.page.on("request", lambda request: opened.requests.append(request.url))
    opened.page.on("console", lambda message: opened.messages.append(message.text))
    opened.page.on("pageerror", lambda error: opened.messages.append(str(error)))
    yield opened
    context.close()


@pytest.mark.parametrize("name", ["mistakes", "none", "strange", "compare"])
def test_a_page_is_whole_by_itself_fits_a_phone_and_can_be_read(
    name: str, pages: dict[str, Path], opened: Opened
) -> None:
    page, address = opened.page, pages[name].as_uri()
    page.goto(address)
    asked = [url for url in opened.requests if not url.startswith("data:")]
    assert (asked, opened.messages) == ([address], [])
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    loaded = "Promise.all([...document.querySelectorAll('img')].map(e => e.decode()))"
    page.evaluate(f"async () => {{ await {loaded} }}")  # which fails where one cannot be decoded
    unnamed = (
        "svg:not([role=img][aria-label]), figure:not(:has(figcaption)), script, img:not([alt])"
    )
    assert page.locator(unnamed).count() == 0
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 20
    assert [each for each in contrasts if each[0] < 4.5] == []


def test_the_two_schemes_differ(pages: dict[str, Path], opened: Opened, scheme: str) -> None:
    opened.page.goto(pages["mistakes"].as_uri())
    body = opened.page.locator("body")
    background = body.evaluate("e => getComputedStyle(e).backgroundColor")
    paper = opened.page.locator("#loss svg path").first.evaluate("e => getComputedStyle(e).fill")
    assert (background, paper) == {
        "light": ("rgb(246, 246, 243)", "rgb(255, 255, 255)"),
        "dark": ("rgb(21, 22, 26)", "rgb(30, 32, 37)"),
    }[scheme]


def test_paper_is_light_in_either_scheme(pages: dict[str, Path], opened: Opened) -> None:
    opened.page.emulate_media(media="print")
    opened.page.goto(pages["mistakes"].as_uri())
    paper = opened.page.locator("#loss svg path").first.evaluate("e => getComputedStyle(e).fill")
    colour = opened.page.locator("body").evaluate("e => getComputedStyle(e).color")
    page = opened.page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
    assert (paper, page, colour) == ("rgb(255, 255, 255)", "rgb(255, 255, 255)", "rgb(28, 29, 32)")


def test_a_run_without_mistakes_shows_what_it_is_least_sure_of(
    pages: dict[str, Path], opened: Opened
) -> None:
    opened.page.goto(pages["none"].as_uri())
    assert opened.page.inner_text("#first h2") == "It gets none wrong; these are the least certain"
    assert opened.page.locator("#first .picture, #wrong .picture").count() == 12
    assert opened.page.locator(".picture.wrong").count() == 0


def test_class_names_are_text(pages: dict[str, Path], opened: Opened) -> None:
    opened.page.goto(pages["strange"].as_uri())
    assert opened.page.locator("h1").inner_text() == f"strange: {STRANGE[1]} or {STRANGE[0]}?"
    assert opened.page.locator("i").count() == 0
    opened.page.get_by_text("For specialists").click()
    assert f"predicted {STRANGE[1]}" in opened.page.inner_text(".confusion")


def test_five_questions_are_answered_on_the_first_screen(
    browser: "Browser", pages: dict[str, Path]
) -> None:
    """How good, how sure, which pictures are wrong, what it saw, what to do next."""
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        page = context.new_page()
        page.goto(pages["mistakes"].as_uri())
        for place, text in (
            ("#good", "20 of 60 validation images correct"),
            ("#sure", "95 % interval"),
            ("#next", "mnist-sgd serve runs/mistakes"),
            ("#first h2", "It gets 40 wrong"),
            ("#first .picture:nth-child(5)", "predicted"),
        ):
            assert text in page.inner_text(place)
            box = page.locator(place).bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= 800


@pytest.mark.parametrize("size", [(844, 390), (640, 400), (320, 640)])
@pytest.mark.parametrize("name", ["mistakes", "strange", "compare"])
def test_a_page_fits_low_windows_and_magnified_ones(
    browser: "Browser", pages: dict[str, Path], name: str, size: tuple[int, int]
) -> None:
    width, height = size
    with browser.new_context(viewport={"width": width, "height": height}) as context:
        page = context.new_page()
        page.goto(pages[name].as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_what_is_folded_is_printed(browser: "Browser", pages: dict[str, Path]) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(pages["mistakes"].as_uri())
        assert not page.locator("#roc").is_visible()
        page.emulate_media(media="print")
        assert page.locator("#roc").is_visible()
        assert page.get_by_text("How the model was made").is_visible()


def test_two_runs_show_what_one_gets_right_and_the_other_wrong(
    browser: "Browser", pages: dict[str, Path], tmp_path: Path
) -> None:
    valid = easy_set(flipped=6)
    folders = [
        write_run(learner("linear", valid, epochs=epochs), tmp_path / name).parent
        for name, epochs in (("short", 0), ("long", 5))
    ]
    runs = compare_runs([read_run(folder) for folder in folders])
    file = tmp_path / "compare.html"
    file.write_text(comparison_page(runs))
    wrong = {run.name: set(run.mistakes.keys) for _, run in runs if run.mistakes}
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(file.as_uri())
        text = page.inner_text(".contest")
        assert f"long is right on {len(wrong['short'] - wrong['long'])} that short gets" in text
        assert f"short on {len(wrong['long'] - wrong['short'])} that long gets wrong" in text
        names = page.locator(".contest .name").all_inner_texts()
        assert {name.removeprefix("no. ") for name in names} <= wrong["short"] ^ wrong["long"]
