"""Photographs with a desk, a finger, punch holes or a scanner's line in them are not misread."""

from pathlib import Path

import pytest

from answers import Answers
from mnist_sgd_serve import BlankImage, Predictor, preprocess
from trained import Run
from troubles import TROUBLES, photographs

COUNT = 80


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory, command: Run) -> Predictor:
    """A convolutional network, trained by the command for a fifth of the usual time."""
    folder = tmp_path_factory.mktemp("cnn")
    done = command("train", "--model", "cnn", "--epochs", "4", cwd=folder)
    assert done.returncode == 0, done.stderr
    return Predictor(Path(folder) / "model.onnx")


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_photograph_with_a_trouble_is_read_rightly_or_refused(
    trouble: str, cnn: Predictor
) -> None:
    answers = Answers.of(cnn, list(photographs(trouble, COUNT, seed=3, longest=300)))
    assert answers.right + answers.refused >= 0.9 * COUNT
    assert answers.right >= 0.8 * COUNT
    assert answers.sure <= 0.02 * COUNT
    if trouble == "plain":
        assert answers.right >= 0.99 * COUNT


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_blank_page_with_a_trouble_is_refused(trouble: str) -> None:
    """Of a desk, a finger, a shadow or two punch holes alone, hardly anything is taken for ink."""
    refused = 0
    for picture, _ in photographs(trouble, COUNT, seed=3, longest=300, blank=True):
        try:
            preprocess(picture)
        except BlankImage:
            refused += 1
    assert refused >= 0.9 * COUNT
