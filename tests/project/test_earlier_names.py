"""What an earlier version called by another name still works, and says nothing of it."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mnist_sgd
import mnist_sgd_serve
from mnist_sgd import data, evaluation, loader
from mnist_sgd.data import ImageSet, PackedWriter, load_data, pack_folder
from mnist_sgd_serve import preprocess
from mnist_sgd_serve.model.metadata import Metadata

IMAGES = np.zeros((2, 28, 28), np.uint8)
LABELS = np.array([0, 1], np.uint8)


def test_the_server_sides_earlier_names_are_the_new_things() -> None:
    new = mnist_sgd_serve
    assert new.Artefact is new.Artifact
    assert new.ArtefactError is new.ArtifactError
    assert new.load_artefact is new.load_artifact
    assert new.NoInk is new.BlankImage
    assert new.PREPARATIONS is new.PREPROCESSING_KINDS
    assert new.Prepared is new.Preprocessed
    assert new.prepare is new.preprocess


def test_the_evaluations_earlier_names_are_the_new_things() -> None:
    assert evaluation.Counts is evaluation.ConfusionMatrix
    assert evaluation.mistakes is evaluation.misclassified


def test_the_earlier_names_of_training_are_the_new_things() -> None:
    assert mnist_sgd.Ranks is mnist_sgd.DistributedContext
    assert mnist_sgd.joined_ranks is mnist_sgd.init_distributed
    assert mnist_sgd.DistributedContext(0, 2).is_first
    assert not mnist_sgd.DistributedContext(1, 2).is_first


def test_a_parameter_is_taken_by_its_earlier_name_but_not_twice(tmp_path: Path) -> None:
    fitted = ImageSet(IMAGES, LABELS, ("7", "3"), preparation="fit")  # type: ignore[call-arg]
    assert (fitted.preprocessing, fitted.preparation) == ("fit", "fit")
    assert ImageSet(IMAGES, LABELS, ("7", "3")).preparation == "mnist"
    assert Metadata.preparation.fget is not None  # type: ignore[attr-defined]
    grey = np.full((40, 40), 200, np.uint8)
    grey[5:20, 5:20] = 10
    assert np.array_equal(
        preprocess(grey, preparation="stretch").image,  # type: ignore[call-arg]
        preprocess(grey, "stretch").image,
    )
    with PackedWriter(tmp_path / "a", ("7", "3"), preparation="fit") as writer:  # type: ignore[call-arg]
        writer.append(IMAGES, LABELS)
    assert data.load_all(tmp_path / "a").preprocessing == "fit"
    calls: list[Callable[..., Any]] = [load_data, partial(pack_folder, out=tmp_path / "out")]
    for call in calls:
        with pytest.raises(
            TypeError, match="give preprocessing or its earlier name preparation, not both"
        ):
            call(tmp_path, preparation="fit", preprocessing="fit")


def test_the_earlier_names_of_data_and_loader_still_work() -> None:
    assert data.load_whole is data.load_all
    assert loader.Place is loader.LoaderPosition
    select: Callable[..., data.ImageSet] = data.select_classes
    chosen = select(IMAGES, LABELS + 3, pair=(3, 4), classes=("7", "3"))
    assert chosen.labels.tolist() == [0, 1]


def test_an_option_is_taken_by_its_earlier_name_and_not_listed() -> None:
    from mnist_sgd.cli.parser import parser

    for spelling in ("--prepare", "--prep"):  # an abbreviation means the new name
        args = parser().parse_args(["train", "--data", "photos", spelling, "fit"])
        assert args.preprocess == "fit"
    assert parser().parse_args(["serve", "m.onnx", "--head", "3"]).header_timeout == 3
    done = subprocess.run(
        [sys.executable, "-m", "mnist_sgd", "train", "--help"], capture_output=True, text=True
    )
    assert "--preprocess" in done.stdout
    assert "--prepare" not in done.stdout


def test_documented_imports_of_an_earlier_version_go_on() -> None:
    script = (
        "from mnist_sgd import DistributedContext, Ranks, init_distributed, joined_ranks\n"
        "assert joined_ranks is init_distributed and Ranks is DistributedContext\n"
        "from mnist_sgd.device import DeviceCopy\n"
        "from mnist_sgd.loader.device import DeviceCopy as new\n"
        "assert DeviceCopy is new\n"
        "names = {}\n"
        "exec('from mnist_sgd import *', names)\n"
        "assert names['Ranks'] is Ranks and names['joined_ranks'] is joined_ranks\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_a_name_that_never_was_is_refused() -> None:
    for module in (mnist_sgd, mnist_sgd_serve):
        with pytest.raises(
            AttributeError, match=rf"module '{module.__name__}' has no attribute 'x'"
        ):
            _ = module.x
