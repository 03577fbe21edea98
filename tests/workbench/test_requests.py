"""What a training is asked to do is checked as `train` checks it, and runs nobody's code."""

from typing import Any

import pytest

from mnist_sgd.workbench.errors import Refusal
from mnist_sgd.workbench.requests import MODELS, OPTIONS, TrainingRequest


def test_a_request_becomes_the_arguments_of_train() -> None:
    request = TrainingRequest.parse(
        {
            "set": "pets",
            "model": "mlp",
            "options": {
                "epochs": 3,
                "lr": "find",
                "shuffle": False,
                "augment": True,
                "best": True,
                "drop_last": False,
                "positive": "-a",
                "seed": None,
            },
        }
    )
    assert request.arguments() == [
        "--model=mlp",
        "--epochs=3",
        "--lr=find",
        "--no-shuffle",
        "--augment",
        "--best",
        "--positive=-a",
    ]
    assert request.set == "pets"


def test_equal_requests_have_equal_digests() -> None:
    one = TrainingRequest.parse({"options": {"epochs": 3, "seed": 1}})
    other = TrainingRequest.parse({"model": None, "options": {"seed": 1, "epochs": 3}})
    assert one.digest() == other.digest()
    assert one.digest() != TrainingRequest.parse({"options": {"epochs": 3}}).digest()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "the body must be a JSON object"),
        ({"modle": "cnn"}, "there is no member 'modle' (did you mean model?)"),
        ({"x": 1}, "there is no member 'x'; there are set, model, options"),
        ({"set": 3}, "set must be a string, got 3"),
        ({"set": "../a"}, None),
        ({"model": "os:system"}, f"model must be one of {', '.join(MODELS)}, got 'os:system'"),
        ({"options": [1]}, "options must be an object, got [1]"),
        ({"options": {"epoch": 1}}, "there is no option 'epoch' (did you mean epochs?)"),
        ({"options": {"out": "/etc"}}, f"there is no option 'out'; there are {', '.join(OPTIONS)}"),
        ({"options": {"epochs": 0}}, "epochs must be a whole number above 0, got '0'"),
        ({"options": {"epochs": [1]}}, "epochs must be a number or a string, got [1]"),
        ({"options": {"epochs": True}}, "epochs must be a number or a string, got true"),
        ({"options": {"shuffle": 1}}, "shuffle must be true or false, got 1"),
        ({"options": {"lr": "fnd"}}, None),
        (
            {"options": {"preprocess": "x"}},
            "preprocess must be one of mnist, fit, stretch, got 'x'",
        ),
        ({"options": {"early_stopping": 9, "epochs": 3}}, None),
        ({"processes": 2}, "there is no member 'processes'"),
    ],
)
def test_what_train_would_refuse_is_refused_with_its_sentence(
    body: Any, message: str | None
) -> None:
    with pytest.raises(Refusal) as refused:
        TrainingRequest.parse(body)
    text = str(refused.value)
    assert refused.value.status == 400
    assert not text.startswith("--")
    if message is not None:
        assert text.startswith(message)


def test_no_option_of_train_that_names_a_file_is_offered() -> None:
    assert not set(OPTIONS) & {"out", "name", "data", "root", "csv", "tensorboard", "cache"}
