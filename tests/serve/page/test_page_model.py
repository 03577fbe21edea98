"""What the page says of the model: its classes, bars, threshold, version and address."""

import base64
import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from browser import DESK, MILLISECONDS, OpenPage, serving
from hands import Drawing
from mnist_sgd_serve import Predictor
from trained import TrainedFiles

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

THREE = Drawing("3 round", "usual")
PREDICT, MODEL = "**/predict?explain=1", "**/page/model.json"


def pretend(opened: OpenPage, model: dict[str, Any], answer: dict[str, Any]) -> None:
    """Change what the server says of its model and of pictures, and open the page again."""

    def change(route: "Route") -> None:
        more = model if route.request.url.endswith("model.json") else answer
        route.fulfill(json=route.fetch().json() | more)

    opened.page.route(PREDICT, change)
    opened.page.route(MODEL, change)
    opened.page.reload()
    opened.page.locator("#facts").get_by_text("version").wait_for()


def bars(opened: OpenPage) -> dict[str, str]:
    """The names and percentages, in order."""
    texts = opened.page.locator("#bars > span").all_inner_texts()
    return dict(zip(texts[::2], texts[1::2], strict=True))


@pytest.mark.parametrize("opened", [DESK | {"reduced_motion": "reduce"}], indirect=True)
def test_each_class_has_a_bar_with_its_percentage(opened: OpenPage) -> None:
    assert bars(opened) == {"3": "", "7": ""}
    with opened.page.expect_response(PREDICT):
        opened.draw(THREE)
    found = bars(opened)
    assert list(found) == ["3", "7"]
    for name in found:
        meter = opened.page.get_by_role("meter", name=f"Probability of {name}")
        value = float(meter.get_attribute("aria-valuenow") or "nan")
        fill, track = meter.locator("div").bounding_box(), meter.bounding_box()
        assert fill is not None
        assert track is not None
        assert fill["width"] / (track["width"] - 2) == pytest.approx(value / 100, abs=0.01)
    assert opened.page.locator(".chosen").all_inner_texts() == ["3", found["3"]]


def test_names_from_the_server_are_text_and_never_markup(opened: OpenPage) -> None:
    name = "<img src=x onerror=alert(1)>"
    facts = {"classes": ["7", name], "positive": name, "threshold": 0.8, "examples": []}
    shares = {"7": 0.1, name: 0.9}
    pretend(opened, facts, facts | {"label": name, "confidence": 0.9, "probabilities": shares})
    opened.draw(THREE)
    assert (opened.label, opened.detail) == (name, "Probability 90 %")
    assert opened.page.locator("h1").inner_text() == f"{name} or 7?"
    assert bars(opened) == {name: "90 %", "7": "10 %"}
    assert opened.page.locator("img").count() == 0
    assert opened.page.locator("#threshold").inner_text() == (
        f"The lines mark the threshold: {name} above 80\u00a0%, else 7."
    )
    meter = opened.page.get_by_role("meter", name=f"Probability of {name}")
    assert meter.get_attribute("aria-valuenow") == "90.0"


def test_no_probability_is_shown_as_nothing_or_all(opened: OpenPage) -> None:
    """A model's float may be 0 or 1 where its probability is not."""
    pretend(opened, {}, {"confidence": 1.0, "probabilities": {"7": 0.0, "3": 1.0}})
    opened.draw(THREE)
    assert opened.detail == "Probability over 99.9 %"
    assert bars(opened) == {"3": "over 99.9 %", "7": "under 0.1 %"}


@pytest.mark.parametrize("threshold", [0.0001, 0.5, 0.9999])
def test_the_threshold_is_marked_on_both_bars(threshold: float, opened: OpenPage) -> None:
    """The class whose bar passes its mark is the answer."""
    pretend(opened, {"threshold": threshold}, {"threshold": threshold})
    for name, place in (("3", threshold), ("7", 1 - threshold)):
        bar = opened.page.get_by_role("meter", name=f"Probability of {name}")
        script = """it => {
            const { left } = getComputedStyle(it, "::after");
            return (parseFloat(left) + 1) / it.clientWidth;
        }"""
        assert bar.evaluate(script) == pytest.approx(place, abs=0.005)


@pytest.mark.parametrize("count", [3, 10])
def test_a_model_may_have_any_number_of_classes(count: int, opened: OpenPage) -> None:
    names = [f"class {number}" for number in range(count, 0, -1)]
    shares = dict.fromkeys(names, 1 / count)
    facts = {"classes": names, "positive": names[-1], "examples": []}
    answer = facts | {"label": names[0], "confidence": 1 / count, "probabilities": shares}
    pretend(opened, facts, answer)
    opened.draw(THREE)
    percent = f"{round(100 / count, 1):g} %"
    assert bars(opened) == {f"class {number}": percent for number in range(1, count + 1)}
    title = "class 1, class 2, or class 3?" if count == 3 else "What is in the picture?"
    assert opened.page.title() == opened.page.locator("h1").inner_text() == title
    assert opened.page.locator("#threshold").inner_text() == ""
    assert opened.page.locator(".marked").count() == 0
    legend = opened.page.locator("#reasons .legend").inner_text().split("\n")
    assert legend == ["for class 1", "against class 1"]
    assert "digit" not in opened.page.locator("body").inner_text().lower()


def test_a_model_that_is_not_linear_has_a_map_of_what_it_looks_at(opened: OpenPage) -> None:
    values = np.zeros((28, 28), "<f4")
    values[4:6, 8:10], values[20:22, 8:10] = 3, -1.5
    encoded = base64.b64encode(values.tobytes()).decode()
    pretend(opened, {}, {"contributions": None, "occlusion": encoded})
    opened.draw(THREE)
    red, _, blue, _ = opened.pixels("#pixels").astype(int).transpose(2, 0, 1)
    assert red[4, 8] > blue[4, 8]
    assert red[20, 8] < blue[20, 8]
    opened.page.get_by_text("For specialists").click()
    assert opened.page.locator("#scale").inner_text() == (
        "The colours show how much the log-odds of 3 drop when the 6 by 6 pixels around a place "
        "are covered with the grey of the paper (an occlusion map). The strongest colour is 3.00."
    )


def test_a_map_without_anything_is_said_to_be_so(opened: OpenPage) -> None:
    empty = base64.b64encode(bytes(784 * 4)).decode()
    pretend(opened, {}, {"contributions": None, "occlusion": empty})
    opened.draw(THREE)
    caption = opened.page.locator("#pixels-are").inner_text()
    assert caption == "No small part of the picture decides alone"


def test_a_model_that_was_replaced_is_introduced_again(opened: OpenPage) -> None:
    pretend(opened, {}, {"version": "another"})
    asked = [one for one in opened.requests if one.endswith("model.json")]
    opened.draw(THREE)
    again = [one for one in opened.requests if one.endswith("model.json")]
    assert len(again) > len(asked)


# The foot.


def test_the_foot_names_the_model_its_accuracy_and_version(
    opened: OpenPage, trained: TrainedFiles
) -> None:
    artifact = Predictor(trained.artifact).artifact
    accuracy = artifact.metadata.metrics["batch_accuracy"]
    assert opened.page.locator("#facts").inner_text() == (
        f"Model linear, version {artifact.sha256[:12]}. {round(2038 * accuracy):,} of 2,038 "
        f"validation images classified correctly ({round(100 * accuracy, 1):g} %)."
    )


def test_a_model_that_says_nothing_of_itself_has_a_version_alone(opened: OpenPage) -> None:
    pretend(opened, {"model": "", "accuracy": None, "images": None, "version": "abc"}, {})
    assert opened.page.locator("#facts").inner_text() == "Version abc."


CLIPBOARD = {"permissions": ["clipboard-read", "clipboard-write"]}


@pytest.mark.parametrize("opened", [DESK | CLIPBOARD], indirect=True)
def test_the_line_for_programs_works_as_it_is_copied(opened: OpenPage, tmp_path: Path) -> None:
    line = opened.page.locator("#curl").inner_text()
    assert line == f"curl --data-binary @picture.png {opened.address}/predict"
    opened.page.get_by_role("button", name="Copy").click()
    opened.page.get_by_role("button", name="Copied").wait_for()
    assert opened.page.evaluate("navigator.clipboard.readText()") == line
    assert opened.page.evaluate("getSelection().toString()") == line
    digits = Path(__file__).parents[3] / "mnist_sgd" / "sample" / "digits"
    shutil.copy(digits / "three-1.png", tmp_path / "picture.png")
    if shutil.which("curl"):
        done = subprocess.run(
            shlex.split(line), cwd=tmp_path, capture_output=True, check=True, timeout=60
        )
        assert json.loads(done.stdout)["label"] == "3"


def test_the_reference_of_the_api_is_linked(opened: OpenPage) -> None:
    link = opened.page.get_by_role("link", name="API reference")
    link.click()
    opened.page.wait_for_url("**/docs")
    assert "/predict" in opened.page.locator("body").inner_text()


# A server that asks for a token.


@pytest.fixture(scope="module")
def locked(trained: TrainedFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    options = ("--token", "open-sesame")
    with serving(trained.artifact, tmp_path_factory.mktemp("locked"), *options) as address:
        yield address


def test_a_server_with_a_token_is_used_after_the_token_was_given(
    browser: "Browser", locked: str
) -> None:
    from playwright.sync_api import expect

    with browser.new_context() as context:
        context.set_default_timeout(MILLISECONDS)
        page = context.new_page()
        page.goto(locked)
        detail, token = page.locator("#detail"), page.get_by_label("Token")
        expect(detail).to_have_text("The server asks for a token.")
        assert page.locator("#bars > *").count() == 0
        token.fill("of another servers")
        token.press("Backspace")
        assert token.input_value() == "of another server"
        page.get_by_role("button", name="Log in").click()
        assert token.evaluate("it => it.validity.patternMismatch")  # a token has no spaces
        for given, answer in {
            "wrong": "The token is wrong.",
            "open-sesame": "The prediction appears with the first stroke.",
        }.items():
            token.fill(given)
            token.press("Enter")
            expect(detail).to_have_text(answer)
        expect(token).to_be_hidden()
        expect(page.locator("h1")).to_have_text("3 or 7?")
        page.get_by_role("button", name="Example 1: 3").click()
        expect(page.locator("#label")).to_have_text("3")
        expect(page.get_by_role("link", name="API reference")).to_be_visible()
        assert page.locator("#curl").inner_text() == (
            'curl --data-binary @picture.png -H "Authorization: Bearer $TOKEN" '
            + f"{locked}/predict"
        )
        page.reload()  # the tab remembers it
        expect(page.locator("h1")).to_have_text("3 or 7?")
        expect(token).to_be_hidden()
