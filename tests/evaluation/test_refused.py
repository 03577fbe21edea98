"""A picture that preprocessing refuses has no answer: it counts as not right in every figure."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mnist_sgd.cli import main
from mnist_sgd.data import ImageSet, PackedWriter, load_all, load_data, load_packed
from pictures import blob, fill_with, stroke, texture

Output = pytest.CaptureFixture[str]

PATTERN = "the image is a pattern all over: leave some paper around what is drawn"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the 22 pictures to validate with, `mnist` refuses 12; of the 30 to train with, 4."""
    for part, plain, refused in (("train", 13, 2), ("valid", 5, 6)):
        for place, name in enumerate("ab"):
            start = 1000 * place + (100 if part == "valid" else 0)
            fill_with(tmp_path / "photos" / part / name, blob, plain, start)
            fill_with(tmp_path / "photos" / part / name, texture, refused, start)
    return tmp_path / "photos"


def train(folder: Path, *options: str) -> int:
    out = str(folder.parent)
    return main(["train", "--data", str(folder), "--epochs", "1", "--out", out, *options])


def right(text: str) -> int:
    """How many pictures are right, by a line of evaluate."""
    return int(text.split(": ")[1].split(" of ")[0])


def test_sets_know_how_many_pictures_were_refused(folder: Path) -> None:
    data = load_data(folder, preprocessing="mnist", on_unusable=lambda error: None)
    assert (len(data.train), data.train.refused) == (26, 4)
    assert (len(data.valid), data.valid.refused) == (10, 12)
    whole = load_all(folder, preprocessing="mnist", on_unusable=lambda error: None)
    assert (len(whole), whole.refused) == (36, 16)
    fit = load_data(folder, preprocessing="fit")
    assert (len(fit.valid), fit.valid.refused) == (22, 0)


def test_a_folder_that_is_shared_out_by_content_shares_out_what_is_refused_too(
    tmp_path: Path,
) -> None:
    for name, start in (("a", 0), ("b", 500)):
        fill_with(tmp_path / name, blob, 30, start)
        fill_with(tmp_path / name, texture, 20, start)
    refused = load_data(tmp_path, preprocessing="mnist", on_unusable=lambda error: None)
    every = load_data(tmp_path, preprocessing="fit")
    assert refused.valid.refused > 0
    assert len(refused.valid) + refused.valid.refused == len(every.valid)
    assert len(refused.train) + refused.train.refused == len(every.train)


def test_files_that_are_no_pictures_are_not_refused_pictures(folder: Path) -> None:
    (folder / "valid" / "a" / "notes.png").write_text("Thursday")
    data = load_data(folder, preprocessing="mnist", on_unusable=lambda error: None)
    assert data.valid.refused == 12


def test_training_and_evaluating_count_them(folder: Path, capsys: Output) -> None:
    assert train(folder, "--preprocess", "mnist", "--skip-unusable") == 0
    out, err = capsys.readouterr()
    assert "; 26 to train, 10 to validate; 16 more were refused.\n" in err
    (line,) = [one for one in out.splitlines() if one.startswith("correct: ")]
    assert " of 22 validation pictures (" in line
    assert line.endswith("; 12 pictures were refused and count as not right")
    model = str(folder.parent / "model.onnx")
    measure = ["evaluate", model, "--data", str(folder), "--skip-unusable"]
    assert main(measure) == 0
    lines = capsys.readouterr().out.splitlines()
    count = right(lines[0])
    assert lines[:4] == [
        f"{model}: {count} of 22 correct, accuracy {count / 22:.4f}; 12 pictures were refused "
        "(--preprocess mnist) and count as not right",
        f"22 of the 52 pictures of {folder}, those for validation; --all takes all",
        "",
        "of the 10 that were not refused:",
    ]
    assert main([*measure, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["images"], facts["refused"], facts["data_images"]) == (22, 12, 52)
    assert facts["accuracy"] == count / 22
    assert main([*measure, "--all"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert " of 52 correct" in lines[0]
    assert lines[1] == f"all 52 pictures of {folder}"


def test_training_tells_programs_too(folder: Path, capsys: Output) -> None:
    assert train(folder, "--preprocess", "mnist", "--skip-unusable", "--json") == 0
    facts = json.loads(capsys.readouterr().out)["validation"]
    assert (facts["images"], facts["refused"]) == (22, 12)
    assert facts["correct"] <= 10
    assert facts["interval"][1] < 0.7


def test_the_files_of_a_run_count_them_and_say_so(
    folder: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    command = ["train", "--data", "photos", "--epochs", "1", "--run", "one", "--skip-unusable"]
    assert main([*command, "--preprocess", "mnist"]) == 0
    run = folder.parent / "runs" / "one"
    evaluation = json.loads((run / "evaluation.json").read_text())
    correct = 10 - evaluation["errors"]
    assert (evaluation["images"], evaluation["refused"]) == (22, 12)
    assert evaluation["accuracy"] == correct / 22
    text = (
        f"It classifies {correct} of 22 validation images correctly ({correct / 22:.2%}; 12 "
        "pictures were refused (--preprocess mnist) and count as not right)."
    )
    card = (run / "MODEL_CARD.md").read_text()
    assert text in card
    assert "On the 10 validation images that were not refused:" in card
    page = (run / "report.html").read_text()
    assert f"{correct} of 22 validation pictures correct" in page
    assert "12 pictures were refused (--preprocess mnist) and count as not right." in page
    other = [*command[:-3], "--run", "other", "--preprocess", "fit"]
    assert main(other) == 0
    assert main(["compare", "runs/one", "runs/other"]) == 0
    note = "one: 12 of 22 pictures were refused and count as not right"
    assert note in capsys.readouterr().out
    config = json.loads((run / "config.json").read_text())
    assert (config["data"]["train"]["refused"], config["data"]["valid"]["refused"]) == (4, 12)


def test_packing_keeps_their_number(folder: Path, tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "packed"
    assert main(["pack", str(folder), str(out), "--preprocess", "mnist", "--skip-unusable"]) == 0
    data = load_data(out)
    assert (data.train.refused, data.valid.refused) == (4, 12)
    assert load_all(out).refused == 16
    flat = tmp_path / "flat"
    for part in ("train", "valid"):
        for name in "ab":
            for path in (folder / part / name).iterdir():
                (flat / name).mkdir(parents=True, exist_ok=True)
                (flat / name / f"{part} {path.name}").write_bytes(path.read_bytes())
    assert main(["pack", str(flat), str(out), "--preprocess", "mnist", "--skip-unusable"]) == 0
    before = load_data(flat, preprocessing="mnist", on_unusable=lambda error: None)
    after = load_data(out)
    assert load_packed(out).refused == 16
    assert before.valid.refused == after.valid.refused > 0
    assert before.train.refused == after.train.refused > 0


@pytest.mark.parametrize("refused", [(-1, 0), (0, -2)])
def test_a_number_below_none_is_no_number_of_pictures(
    tmp_path: Path, refused: tuple[int, int]
) -> None:
    with pytest.raises(ValueError, match=r"^refused must be two numbers of at least 0, got "):
        PackedWriter(tmp_path, ("a", "b"), refused=refused)


def test_a_set_with_fewer_than_no_refused_pictures_is_none(folder: Path) -> None:
    valid = load_data(folder, preprocessing="fit").valid
    with pytest.raises(ValueError, match=r"^refused must be at least 0, got -1$"):
        ImageSet(valid.images, valid.labels, valid.classes, refused=-1)


def test_a_refused_picture_names_the_preprocessing_that_takes_it(
    folder: Path, capsys: Output
) -> None:
    first = folder / "train" / "a" / "texture00000.png"
    text = f"{first}: {PATTERN} (and 15 more files are not usable)"
    skip = "--skip-unusable leaves such files out"
    assert train(folder, "--preprocess", "mnist") == 2
    assert capsys.readouterr().err == (
        f"mnist-sgd: {text}; {skip}, and --preprocess fit takes whole pictures\n"
    )
    out = str(folder.parent / "packed")
    assert main(["pack", str(folder), out, "--preprocess", "mnist"]) == 2
    assert capsys.readouterr().err == (
        f"mnist-sgd: {text}; {skip}, and --preprocess fit takes whole pictures\n"
    )
    # A model that is there has its preprocessing.
    assert train(folder, "--preprocess", "mnist", "--skip-unusable") == 0
    capsys.readouterr()
    assert main(["evaluate", str(folder.parent / "model.onnx"), "--data", str(folder)]) == 2
    assert capsys.readouterr().err == f"mnist-sgd: {text}; {skip}\n"


def test_a_class_that_is_refused_as_a_whole_names_it_too(folder: Path, capsys: Output) -> None:
    for path in (folder / "valid" / "a").glob("blob*"):
        path.unlink()
    (folder / "valid" / "a" / "notes.txt").write_text("Thursday")
    text = (
        f"{folder}/valid/a: none of its 7 files is usable; the preprocessing mnist refuses 6 of "
        "them"
    )
    with pytest.raises(ValueError, match=r"usable") as caught:
        load_data(folder, preprocessing="mnist", on_unusable=lambda error: None)
    assert str(caught.value) == text
    assert train(folder, "--preprocess", "mnist", "--skip-unusable") == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"mnist-sgd: {text}; --preprocess fit takes whole pictures"
    )
    # A model that is there has its preprocessing.
    others = folder.parent / "others"
    for name in "ab":
        fill_with(others / name, stroke, 10, ord(name) * 100)
    assert train(others, "--out", str(folder.parent / "earlier")) == 0
    model = str(folder.parent / "earlier" / "model.onnx")
    capsys.readouterr()
    assert main(["evaluate", model, "--data", str(folder), "--skip-unusable"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"mnist-sgd: {text}"


def test_what_every_preprocessing_refuses_comes_without_that_advice(
    folder: Path, capsys: Output
) -> None:
    """A picture of one grey, or of nothing, shows no more as a whole."""
    blank = folder.parent / "blank"
    fill_with(blank / "b", stroke, 10)
    (blank / "a").mkdir()
    for number in range(3):
        Image.new("L", (30, 30), 60 * number).save(blank / "a" / f"{number}.png")
        Image.new("RGBA", (30, 30 + number)).save(blank / "a" / f"clear{number}.png")
    for _ in range(2):  # also what the cache knows of them
        assert train(blank, "--preprocess", "mnist") == 2
        assert capsys.readouterr().err == (
            f"mnist-sgd: {blank}/a/0.png: nothing is drawn on the image: it is blank "
            "(and 5 more files are not usable); --skip-unusable leaves such files out\n"
        )
        assert train(blank, "--preprocess", "mnist", "--skip-unusable") == 2
        assert capsys.readouterr().err.splitlines()[-1] == (
            f"mnist-sgd: {blank}/a: none of its 6 files is usable; "
            "the preprocessing mnist refuses 6 of them"
        )
    fill_with(blank / "a", texture, 1)
    assert train(blank, "--preprocess", "mnist", "--skip-unusable") == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"mnist-sgd: {blank}/a: none of its 7 files is usable; "
        "the preprocessing mnist refuses 7 of them; --preprocess fit takes whole pictures"
    )
