"""Photographs of digits, and clothes, are told apart by a model that one command trains."""

import json
from pathlib import Path

import pytest

from mnist_sgd.cli import main
from photographs import MNIST, write_photographs

Output = pytest.CaptureFixture[str]


@pytest.mark.skipif(not MNIST.is_dir(), reason="the full MNIST is not here")
def test_two_folders_of_photographs_train_and_predict_without_an_option(
    here: Path, capsys: Output
) -> None:
    """At least 97 % of unseen ones are told rightly."""
    photos, unseen = write_photographs(MNIST, here, train=1000, unseen=250, seed=1)
    assert main(["train", "--data", str(photos)]) == 0
    found, plan = capsys.readouterr().err.splitlines()
    assert found.startswith(f"mnist-sgd: {photos}: 2,000 pictures, 1,000 seven, 1,000 three; ")
    assert plan.startswith("mnist-sgd: Model: cnn, 47 epochs; it gives the probability of three ")
    assert main(["predict", str(unseen), "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    right = [answer["label"] == Path(answer["file"]).parent.name for answer in answers]
    assert len(right) == 500
    assert sum(right) >= 0.97 * len(right)
