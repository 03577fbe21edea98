"""Pictures of a folder are preprocessed as what they are, unless the user says how."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_sgd.cli import main
from mnist_sgd.data import load_data, mnist_sample, pack_folder
from mnist_sgd.data.pictures import decoding
from mnist_sgd.data.pictures.drawn_characters import looks_drawn
from mnist_sgd.data.pictures.preprocessing_choice import Choice
from mnist_sgd_serve import Predictor, decode, preprocess
from photographs import photograph
from pictures import blob, fill_with, stroke, texture

Output = pytest.CaptureFixture[str]
Draw = Callable[[int], Image.Image]

DIGITS = mnist_sample()[1].images


def digit(number: int) -> Image.Image:
    """A digit as MNIST has it."""
    return Image.fromarray(DIGITS[number])


def enlarged(number: int) -> Image.Image:
    """A digit in dark ink on a white sheet of 100 pixels."""
    return Image.fromarray(255 - DIGITS[number]).resize((100, 100), Image.Resampling.BICUBIC)


def taken(number: int) -> Image.Image:
    """A photograph of a digit."""
    return photograph(DIGITS[number], np.random.default_rng(number))


def folder_of(place: Path, first: Draw, last: Draw, count: int = 12) -> Path:
    """A folder with the classes a and b."""
    fill_with(place / "a", first, count)
    fill_with(place / "b", last, count, start=500)
    return place


def chosen(folder: Path) -> Choice:
    choice = load_data(folder).choice
    assert choice is not None
    return choice


@pytest.mark.parametrize("draw", [digit, enlarged, taken, stroke])
def test_drawn_characters_are_preprocessed_by_mnist(tmp_path: Path, draw: Draw) -> None:
    folder = folder_of(tmp_path / "photos", draw, draw, 40)
    data = load_data(folder)
    assert data.choice is not None
    assert (
        data.choice.preprocessing == data.train.preprocessing == data.valid.preprocessing == "mnist"
    )
    assert data.choice.examined == (40, 40)
    assert min(data.choice.drawn) >= 36
    expected = preprocess(decode(folder / data.train.files[3]), "mnist").image
    np.testing.assert_array_equal(data.train.images[3], expected)


@pytest.mark.parametrize("draw", [blob, texture])
def test_other_pictures_are_shown_whole(tmp_path: Path, draw: Draw) -> None:
    folder = folder_of(tmp_path / "photos", draw, draw)
    data = load_data(folder)
    assert data.choice == Choice("fit", ("a", "b"), (0, 0), (12, 12))
    assert (data.train.preprocessing, data.valid.preprocessing) == ("fit", "fit")
    assert len(data.train) + len(data.valid) == 24
    expected = preprocess(decode(folder / data.train.files[3]), "fit").image
    np.testing.assert_array_equal(data.train.images[3], expected)


def test_both_classes_must_be_drawn_characters(tmp_path: Path) -> None:
    """However few pictures one of them has."""
    folder = folder_of(tmp_path / "photos", stroke, stroke, 60)
    fill_with(folder / "c", blob, 12)
    assert load_data(folder, classes=("a", "b")).choice == Choice(
        "mnist", ("a", "b"), (50, 50), (50, 50)
    )
    assert load_data(folder, classes=("c", "a")).choice == Choice(
        "fit", ("a", "c"), (50, 0), (50, 12)
    )


@pytest.mark.parametrize(("others", "preprocessing"), [(4, "mnist"), (5, "fit")])
def test_three_of_four_are_enough(tmp_path: Path, others: int, preprocessing: str) -> None:
    folder = folder_of(tmp_path / "photos", stroke, stroke)
    fill_with(folder / "b", texture, others)
    choice = load_data(folder, on_unusable=lambda error: None).choice
    assert choice == Choice(preprocessing, ("a", "b"), (12, 12), (12, 12 + others))


def test_what_is_no_picture_does_not_count(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", stroke, stroke)
    for number in range(20):
        (folder / "a" / f"{number}.png").write_text(f"Thursday {number}")
    choice = load_data(folder, on_unusable=lambda error: None).choice
    assert choice == Choice("mnist", ("a", "b"), (12, 12), (12, 12))


def test_the_choice_depends_on_the_names_and_pictures_alone(tmp_path: Path) -> None:
    """Not on where the folder is, on other classes, or on what was chosen before."""
    folder = folder_of(tmp_path / "photos", stroke, blob, 70)
    fill_with(folder / "a", blob, 15, start=100)
    first = chosen(folder)
    assert first.examined == (50, 50)
    copy = Path(shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns(".*")))
    fill_with(copy / "c", texture, 5)
    load_data(copy, classes=("a", "b"), preprocessing="mnist")
    assert load_data(copy, classes=("a", "b")).choice == first
    assert load_data(copy, classes=("b", "a")).choice == first


@pytest.mark.parametrize("draw", [stroke, blob])
def test_the_next_start_reads_no_picture_and_a_new_one_is_read_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: Draw
) -> None:
    names: list[str] = []
    before = decoding._read_file

    def read_file(folder: str, name: str, preprocessing: str) -> object:
        names.append(f"{preprocessing} {name}")
        return before(folder, name, preprocessing)

    monkeypatch.setattr(decoding, "_read_file", read_file)
    folder = folder_of(tmp_path / "photos", draw, draw, 60)
    first = chosen(folder)
    assert len(names) == len(set(names)) == (120 if draw is stroke else 220)
    names.clear()
    assert chosen(folder) == first
    assert names == []
    draw(900).save(folder / "a" / "new.png")
    again = chosen(folder)
    assert again.preprocessing == first.preprocessing
    assert set(names) <= {"mnist a/new.png", "fit a/new.png"}
    assert f"{again.preprocessing} a/new.png" in names


def test_what_mnist_has_preprocessed_stays_when_fit_is_chosen(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", blob, blob, 60)
    before = load_data(folder, preprocessing="mnist")
    assert chosen(folder).preprocessing == "fit"
    read: list[int] = []
    after = load_data(folder, preprocessing="mnist", on_progress=lambda done, _: read.append(done))
    assert read == []
    np.testing.assert_array_equal(before.train.images, after.train.images)


def test_no_choice_is_made_where_the_user_says_how(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", blob, blob)
    for preprocessing in ("mnist", "fit", "stretch"):
        data = load_data(folder, preprocessing=preprocessing)
        assert (data.choice, data.train.preprocessing) == (None, preprocessing)


def test_strokes_on_plain_paper_look_drawn_and_areas_shades_and_textures_do_not() -> None:
    wide, shade, stroke_of_three = np.zeros((3, 28, 28), np.uint8)
    wide[4:24, 10:18] = 255
    shade[4:24, 12:15] = 120
    stroke_of_three[4:24, 12:15] = 255
    assert not looks_drawn(wide, wide)
    assert not looks_drawn(shade, shade)
    assert looks_drawn(stroke_of_three, stroke_of_three)
    assert looks_drawn(stroke_of_three, 255 - stroke_of_three)
    assert not looks_drawn(stroke_of_three, np.asarray(texture(0)))
    assert sum(looks_drawn(image, image) for image in DIGITS[:500]) >= 490


TRAINED = "Model: {}, 1 epoch; it gives the probability of b (--positive a for the other)."


@pytest.mark.parametrize(
    ("draw", "text"),
    [
        (
            stroke,
            "Pictures preprocessed as drawn characters (--preprocess mnist): 12 of "
            "12 a and 12 of 12 b "
            "look like drawn characters; for whole pictures: --preprocess fit.",
        ),
        (
            blob,
            "Pictures shown whole, in their proportions (--preprocess fit): 0 of 12 "
            "a and 0 of 12 b "
            "look like drawn characters; for drawn characters: --preprocess mnist.",
        ),
    ],
)
def test_training_says_what_was_chosen_and_every_later_command_follows(
    tmp_path: Path, capsys: Output, draw: Draw, text: str
) -> None:
    folder = folder_of(tmp_path / "photos", draw, draw)
    way = "mnist" if draw is stroke else "fit"
    command = ["train", "--data", str(folder), "--epochs", "1", "--out", str(tmp_path)]
    assert main(command) == 0
    model_name = "cnn" if draw is stroke else "cnn_histogram"
    assert f"mnist-sgd: {TRAINED.format(model_name)} {text}\n" in capsys.readouterr().err
    model = tmp_path / "model.onnx"
    predictor = Predictor(model)
    assert predictor.metadata.preprocessing == way
    path = folder / "a" / f"{draw.__name__}00000.png"
    np.testing.assert_array_equal(
        predictor.predict(path).image, preprocess(decode(path), way).image
    )
    assert main(["evaluate", str(model), "--data", str(folder), "--all", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 24
    # The pictures of another folder do not change how the model wants them.
    others = folder_of(tmp_path / "others", *((blob, blob) if draw is stroke else (stroke, stroke)))
    assert main(["evaluate", str(model), "--data", str(others), "--all", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 24


def test_the_option_overrides_the_choice(tmp_path: Path, capsys: Output) -> None:
    folder = folder_of(tmp_path / "photos", stroke, stroke)
    command = ["train", "--data", str(folder), "--epochs", "1", "--out", str(tmp_path)]
    assert main([*command, "--preprocess", "stretch"]) == 0
    text = "Pictures shown whole, stretched to a square (--preprocess stretch)."
    assert f"mnist-sgd: {TRAINED.format('cnn_histogram')} {text}\n" in capsys.readouterr().err
    assert Predictor(tmp_path / "model.onnx").metadata.preprocessing == "stretch"


@pytest.mark.parametrize("way", ["mnist", "fit"])
def test_packing_chooses_alike_and_says_so(tmp_path: Path, capsys: Output, way: str) -> None:
    draw = stroke if way == "mnist" else blob
    folder = folder_of(tmp_path / "photos", draw, draw)
    choices: list[Choice] = []
    (packed,) = pack_folder(folder, tmp_path / "in python", on_choice=choices.append)
    assert (packed.preprocessing, choices) == (way, [chosen(folder)])
    assert main(["pack", str(folder), str(tmp_path / "packed")]) == 0
    said = capsys.readouterr().out.splitlines()
    what = (
        "preprocessed as drawn characters"
        if way == "mnist"
        else "shown whole, in their proportions"
    )
    other = (
        "whole pictures: --preprocess fit"
        if way == "mnist"
        else "drawn characters: --preprocess mnist"
    )
    seen = 12 if way == "mnist" else 0
    assert said[1] == (
        f"pictures {what} (--preprocess {way}): {seen} of 12 a and {seen} of 12 b look like drawn "
        f"characters; for {other}"
    )
    assert json.loads((tmp_path / "packed" / "set.json").read_text())["preparation"] == way
