"""Folders for training and for validation are known by their names, and never taken for classes."""

from pathlib import Path

import pytest

from mnist_sgd.cli import main
from mnist_sgd.data import load_all, load_data, pack_folder
from mnist_sgd.data.pictures.split_folders import find_split_folders
from pictures import fill

Output = pytest.CaptureFixture[str]


def parts(folder: Path, train: str, *others: str) -> Path:
    fill(folder / train, {"3": 14, "7": 12})
    for number, name in enumerate(others, 1):
        fill(folder / name, {"3": 2 + number, "7": 3}, start=100 * number)
    return folder


@pytest.mark.parametrize(
    ("train", "valid"),
    [
        ("training", "testing"),
        ("train", "val"),
        ("train", "validation"),
        ("train", "test"),
        ("Training", "Testing"),
        ("training_set", "test_set"),
        ("train-images", "valid-images"),
        ("train2017", "val2017"),
        ("TRAIN", "dev"),
    ],
)
def test_usual_names_of_parts_are_taken_and_said(tmp_path: Path, train: str, valid: str) -> None:
    folder = parts(tmp_path / "digits", train, valid)
    data = load_data(folder)
    assert (data.train.classes, len(data.train), len(data.valid)) == (("3", "7"), 26, 6)
    assert {name.split("/")[0] for name in data.train.files} == {train}
    assert {name.split("/")[0] for name in data.valid.files} == {valid}
    assert data.notes == (f"{folder}: using {train!r} for training, {valid!r} to validate",)
    assert load_data(folder).notes == data.notes  # also of what the cache knows
    assert len(load_all(folder)) == 32
    sets = pack_folder(folder, tmp_path / "packed")
    assert [(len(each), each.name) for each in sets] == [(26, "train"), (6, "valid")]


def test_a_test_part_next_to_valid_is_left_alone_and_said(tmp_path: Path) -> None:
    folder = parts(tmp_path / "digits", "train", "test", "valid")
    data = load_data(folder)
    assert {name.split("/")[0] for name in data.valid.files} == {"valid"}
    assert data.notes == (f"{folder}: not using 'test'",)
    both = parts(tmp_path / "both", "training", "val", "test")
    assert load_data(both).notes == (
        f"{both}: using 'training' for training, 'val' to validate",
        f"{both}: not using 'test'",
    )


def test_a_part_that_comes_later_takes_the_place_of_another(tmp_path: Path) -> None:
    folder = parts(tmp_path / "digits", "train", "test")
    assert len(load_data(folder).valid) == 6
    fill(folder / "valid", {"3": 5, "7": 6}, start=500)
    again = load_data(folder)
    assert (len(again.train), len(again.valid)) == (26, 11)


@pytest.mark.parametrize(
    ("first", "last"), [("train", "test"), ("train", "valid"), ("training", "testing")]
)
@pytest.mark.parametrize("command", ["train", "pack"])
def test_parts_that_hold_pictures_are_no_classes(
    tmp_path: Path, capsys: Output, first: str, last: str, command: str
) -> None:
    folder = tmp_path / "dogs"
    fill(folder, {first: 20, last: 20})
    options = {"train": ["--data", str(folder)], "pack": [str(folder), str(tmp_path / "out")]}
    assert main([command, *options[command]]) == 2
    assert capsys.readouterr() == (
        "",
        f"mnist-sgd: {folder}: {first!r} and {last!r} are names of splits, not of classes; put the "
        f"pictures of each class into {first}/CLASS and {last}/CLASS or, if these are your "
        "classes, name both with --classes\n",
    )
    named = load_data(folder, classes=(first, last))
    assert named.train.classes == (first, last)


def test_one_name_of_a_part_may_be_a_class(tmp_path: Path) -> None:
    """Pictures of trains and of buses."""
    fill(tmp_path, {"train": 20, "bus": 20})
    assert load_data(tmp_path).train.classes == ("bus", "train")
    assert find_split_folders(str(tmp_path), None) is None


def test_a_validation_part_without_classes_is_named(tmp_path: Path) -> None:
    """As a competition leaves its test pictures, for which nobody knows the classes."""
    folder = parts(tmp_path / "digits", "train")
    fill(folder, {"test": 5})
    with pytest.raises(ValueError, match=r".") as caught:
        load_data(folder)
    assert str(caught.value) == (
        f"{folder}/test holds no class folders, but {folder}/train does; create the same ones, or "
        f"give {folder}/train alone to split it automatically"
    )


def test_parts_without_one_for_training_are_refused(tmp_path: Path) -> None:
    folder = parts(tmp_path / "digits", "valid", "test")
    with pytest.raises(ValueError, match=r".") as caught:
        load_data(folder)
    assert str(caught.value) == (
        f"{folder}: 'test' holds class folders, but there is no train with the same ones"
    )


def test_two_trainers_are_refused(tmp_path: Path) -> None:
    folder = parts(tmp_path / "digits", "training", "train_set", "test")
    with pytest.raises(
        ValueError, match="both 'train_set' and 'training' look like the training split"
    ):
        load_data(folder)


def test_classes_that_are_chosen_need_not_be_all_of_both_parts(tmp_path: Path) -> None:
    folder = parts(tmp_path / "digits", "train", "valid")
    fill(folder / "train", {"8": 3}, start=700)
    fill(folder / "valid", {"9": 3}, start=800)
    assert len(load_data(folder, classes=("3", "7")).train) == 26
    text = f"^{folder}/valid: there is no class '8'; the classes are '3', '7', '9'$"
    with pytest.raises(ValueError, match=text):
        load_data(folder, classes=("3", "8"))


def test_a_link_that_leads_nowhere_hides_no_part(tmp_path: Path) -> None:
    folder = parts(tmp_path / "digits", "train", "valid")
    (folder / "loop").symlink_to("loop")
    assert len(load_data(folder).valid) == 6
