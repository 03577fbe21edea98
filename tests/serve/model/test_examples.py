"""The example pictures of a model: only those that are named after its classes, and bounded."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_sgd_serve import Metadata
from mnist_sgd_serve.model.examples import (
    BUILT_IN,
    MAX_BYTES,
    MAX_EXAMPLES,
    example_name,
    find_examples,
)

PHONES = Metadata(classes=("phone", "umbrella"), preprocessing="fit")


def png(side: int = 8) -> bytes:
    file = BytesIO()
    noise = np.random.default_rng(1).integers(0, 256, (side, side), np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "examples").mkdir()
    return tmp_path / "model.onnx"


def give(model: Path, name: str, content: bytes | None = None) -> None:
    (model.parent / "examples" / name).write_bytes(png() if content is None else content)


def test_pictures_named_after_the_classes_are_found_in_label_order(model: Path) -> None:
    for name in ("umbrella-1.png", "umbrella-3.png", "phone-2.png"):
        give(model, name)
    found = find_examples(model, PHONES)
    assert [each.label for each in found] == ["phone", "umbrella", "umbrella"]
    assert {each.content for each in found} == {png()}


def test_no_other_file_is_read(model: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png())
    for name in ("holiday.png", "phone.png", "phone-0.png", "phone-01.png", "boat-1.png"):
        give(model, name)
    give(model, "phone-1.png", b"\xff\xd8 not a PNG")
    give(model, "phone-2.png", png() + bytes(MAX_BYTES))
    give(model, f"phone-{MAX_EXAMPLES // 2 + 1}.png")
    (tmp_path / "examples" / "phone-3.png").symlink_to(secret)
    (tmp_path / "examples" / "phone-4.png").mkdir()
    os.mkfifo(tmp_path / "examples" / "phone-5.png")
    assert find_examples(model, PHONES) == ()


def test_they_are_bounded_in_number(model: Path) -> None:
    for number in range(1, 50):
        give(model, f"phone-{number}.png")
        give(model, f"umbrella-{number}.png")
    assert len(find_examples(model, PHONES)) == MAX_EXAMPLES


@pytest.mark.parametrize("label", ["../secret", "a/b", "/etc", "nul\0", "x" * 300, ".."])
def test_a_class_name_never_leads_out_of_the_folder(
    label: str, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret-1.png").write_bytes(png())
    assert "/" not in example_name(label, 1)
    assert find_examples(model, Metadata(classes=(label, "umbrella"))) == ()


def test_a_name_that_no_file_can_have_is_written_with_underscores(model: Path) -> None:
    give(model, "and_or-1.png")
    (found,) = find_examples(model, Metadata(classes=("and/or", "umbrella")))
    assert found.label == "and/or"


def test_a_model_of_drawn_threes_and_sevens_has_the_packages_own(tmp_path: Path) -> None:
    digits = Metadata(classes=("7", "3"))
    found = find_examples(tmp_path / "model.onnx", digits)
    assert [each.label for each in found] == ["7"] * 4 + ["3"] * 4
    assert found[0].content == (BUILT_IN / "7-1.png").read_bytes()
    (tmp_path / "examples").mkdir()
    give(tmp_path / "model.onnx", "3-1.png")
    assert len(find_examples(tmp_path / "model.onnx", digits)) == 1


@pytest.mark.parametrize(
    "metadata",
    [
        Metadata(classes=("3", "8")),
        Metadata(classes=("7", "3"), preprocessing="fit"),
        Metadata(classes=("phone", "umbrella")),
    ],
)
def test_another_model_has_none_of_them(metadata: Metadata, tmp_path: Path) -> None:
    assert find_examples(tmp_path / "model.onnx", metadata) == ()
