"""What an earlier version called by another name still works, and says nothing of it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mnist_sgd
import mnist_sgd_serve
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


def test_a_parameter_is_taken_by_its_earlier_name_but_not_twice(tmp_path: Path) -> None:
    data = ImageSet(IMAGES, LABELS, ("7", "3"), preparation="fit")  # type: ignore[call-arg]
    assert (data.preprocessing, data.preparation) == ("fit", "fit")
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
    assert load_data(tmp_path / "a").train.preprocessing == "fit"
    calls: list[Callable[..., Any]] = [load_data, pack_folder]
    for call in calls:
        with pytest.raises(
            TypeError, match="give preprocessing or its earlier name preparation, not both"
        ):
            call(tmp_path, preparation="fit", preprocessing="fit")


def test_an_option_is_taken_by_its_earlier_name_and_not_listed() -> None:
    from mnist_sgd.cli.parser import parser

    args = parser().parse_args(["train", "--data", "photos", "--prepare", "fit"])
    assert args.preprocess == "fit"
    done = subprocess.run(
        [sys.executable, "-m", "mnist_sgd", "train", "--help"], capture_output=True, text=True
    )
    assert "--preprocess" in done.stdout
    assert "--prepare" not in done.stdout


def test_a_name_that_never_was_is_refused() -> None:
    for module in (mnist_sgd, mnist_sgd_serve):
        with pytest.raises(
            AttributeError, match=rf"module '{module.__name__}' has no attribute 'x'"
        ):
            _ = module.x
