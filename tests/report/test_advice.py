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
    augment: bool = False,
    best: bool = False,
    epochs: int = 20,
) -> Any:
    data = SimpleNamespace(files=["a.png"] if files else ())
    return SimpleNamespace(
        predictions=SimpleNamespace(dataset=data, misclassified=range(of - correct)),
        correct=correct,
        images=of,
        training_correct=training,
        config={
            "data": {"train": {"classes": classes or {"cat": 200, "dog": 200}}},
            "resolved": {
                "model": model,
                "epochs": epochs,
                "train": {"augment": {"degrees": 5.0} if augment else None},
            },
            "arguments": {"best": best},
        },
    )


@pytest.mark.parametrize(
    ("of_run", "said"),
    [
        (run(2, of=3, classes={"x": 4, "y": 3}), "may be guesses. Add images: there are 7 to"),
        (run(20, of=20, classes={"x": 12, "y": 40}), "there are only 12 of x to train on"),
        (run(81, training=(100, 100)), "Add images, or train again with augmentation."),
        (run(81, training=(100, 100), augment=True), "or keep the weights of the best epoch."),
        (run(81, training=(100, 100), augment=True, best=True), "are in use already"),
        (run(81, training=(100, 100), augment=True, epochs=5), "are in use already"),
        (run(81, training=(80, 100)), "move those that are in the wrong folder"),
        (run(967, of=1000, model="linear", files=False), "Train the convolutional network"),
        (run(999, of=1000, model="linear", files=False), "Look at the mistakes, then try"),
        (run(999, of=1000, files=False), "Look at the mistakes, then try"),
        (run(100), "Try it on pictures that it has not seen"),
    ],
)
def test_the_advice_fits_the_figures(of_run: Any, said: str) -> None:
    assert said in advice(of_run).text


@pytest.mark.parametrize(
    ("of_run", "option", "looks"),
    [
        (run(81, training=(100, 100)), "--augment", False),
        (run(81, training=(100, 100), augment=True), "--best --early-stopping 5", False),
        (run(81, training=(100, 100), augment=True, best=True), "", False),
        (run(967, of=1000, model="linear", files=False), "--model cnn", False),
        (run(81, training=(80, 100)), "", True),
        (run(100), "", False),
    ],
)
def test_the_advice_has_its_option_of_train_or_looks_at_the_mistakes(
    of_run: Any, option: str, looks: bool
) -> None:
    assert (advice(of_run).option, advice(of_run).looks) == (option, looks)
