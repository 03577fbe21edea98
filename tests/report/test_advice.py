"""What a report advises to do next: the most urgent thing first."""

from types import SimpleNamespace
from typing import Any

import pytest

from mnist_sgd.report.advice import advice


def run(
    correct: int,
    *,
    of: int = 100,
    training: tuple[int, int] | None = None,
    model: str = "cnn",
    classes: dict[str, int] | None = None,
    files: bool = True,
) -> Any:
    data = SimpleNamespace(files=["a.png"] if files else ())
    return SimpleNamespace(
        predictions=SimpleNamespace(dataset=data, misclassified=range(of - correct)),
        correct=correct,
        images=of,
        training_correct=training,
        config={
            "data": {"train": {"classes": classes or {"cat": 200, "dog": 200}}},
            "resolved": {"model": model},
        },
    )


@pytest.mark.parametrize(
    ("of_run", "said"),
    [
        (run(2, of=3, classes={"x": 4, "y": 3}), "may be guesses. Add images: there are 7 to"),
        (run(20, of=20, classes={"x": 12, "y": 40}), "there are only 12 of x to train on"),
        (run(81, training=(100, 100)), "--augment, or with --best and --early-stopping 5"),
        (run(81, training=(80, 100)), "move those that are in the wrong folder"),
        (run(967, of=1000, model="linear", files=False), "--model cnn"),
        (run(999, of=1000, model="linear", files=False), "Look at the mistakes, then try"),
        (run(999, of=1000, files=False), "Look at the mistakes, then try"),
        (run(100), "Try it on pictures that it has not seen"),
    ],
)
def test_the_advice_fits_the_figures(of_run: Any, said: str) -> None:
    assert said in advice(of_run)
