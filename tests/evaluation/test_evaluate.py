"""`mnist-sgd evaluate` shows what a model is worth, and chooses and writes its threshold."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from idx_files import write_part
from mnist_sgd.cli import main
from mnist_sgd.data import PackedWriter, mnist_sample, sample_digits
from mnist_sgd.evaluation import evaluate
from mnist_sgd.report.plot_style import drawn_name, in_the_font
from mnist_sgd_serve import Predictor, load_artifact
from server import running
from trained import TrainedFiles
from waiting import PATIENCE

Output = pytest.CaptureFixture[str]


@pytest.fixture
def model(trained: TrainedFiles, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copy(trained.artifact, tmp_path / "model.onnx"))


def facts_of(capsys: Output, *arguments: object) -> dict[str, Any]:
    assert main(["evaluate", *map(str, arguments), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    facts: dict[str, Any] = json.loads(line)
    return facts


def test_every_figure_and_curve_is_in_the_json(model: Path, capsys: Output) -> None:
    facts = facts_of(capsys, model)
    valid = mnist_sample()[1]
    expected = evaluate(Predictor(model).probabilities(valid.images), valid.labels)
    given = {
        "images": 2038,
        "refused": 0,
        "classes": ["7", "3"],
        "confusion": [list(row) for row in expected.counts.matrix],
        "model_threshold": 0.5,
    }
    assert facts == given | json.loads(json.dumps(expected.as_dict()))
    assert len(facts["roc"]["fpr"]) == len(facts["roc"]["thresholds"]) > 500


def test_figures_at_another_threshold_say_so(model: Path, capsys: Output) -> None:
    for threshold, at in (("0.5", ""), ("0.9", " at the threshold 0.9")):
        facts = facts_of(capsys, model, "--threshold", threshold)
        (negative, wrong), (missed, positive) = facts["confusion"]
        assert main(["evaluate", str(model), "--threshold", threshold]) == 0
        line = capsys.readouterr().out.splitlines()[0]
        right = negative + positive
        assert line.startswith(f"{model}{at}: {right:,} of {right + wrong + missed:,} correct, ")


def test_the_text_has_the_figures_the_curves_and_the_calibration(
    model: Path, capsys: Output
) -> None:
    facts = facts_of(capsys, model)
    assert main(["evaluate", str(model)]) == 0
    lines = capsys.readouterr().out.splitlines()
    right = facts["confusion"][0][0] + facts["confusion"][1][1]
    assert lines[0] == f"{model}: {right:,} of 2,038 correct, accuracy {facts['accuracy']:.4f}"
    assert lines[1].split() == ["predicted", "7", "predicted", "3"]
    for row, name in enumerate("73"):
        counts = [f"{count:,}" for count in facts["confusion"][row]]
        assert lines[2 + row].split() == ["is", name, *counts]
    text = "\n".join(lines)
    assert re.search(r"^threshold +0\.5$", text, re.MULTILINE)
    for name in ("precision", "recall", "specificity"):
        assert re.search(rf"^{name} +{facts[name]:.4f}  of those ", text, re.MULTILINE)
    assert re.search(rf"^F1 +{facts['f1']:.4f}$", text, re.MULTILINE)
    assert f"ROC, area {facts['auc']:.4f}; recall by" in text
    assert f"average precision {facts['average_precision']:.4f}; precision by" in text
    error, brier = facts["expected_calibration_error"], facts["brier_score"]
    assert f"calibration, expected error {error:.4f}, Brier score {brier:.4f}\n" in text
    bins = [line for line in lines if re.match(r"  \d\.\d to \d\.\d ", line)]
    assert len(bins) == len(facts["calibration"])
    assert bins[0].split()[3] == f"{facts['calibration'][0]['count']:,}"
    tables = lines[1 : lines.index("", -3)]  # the file's path is in the others
    assert max(map(len, tables)) <= 100


def test_the_mistakes_are_listed_the_furthest_from_the_threshold_first(
    model: Path, capsys: Output
) -> None:
    valid = mnist_sample()[1]
    probabilities = Predictor(model).probabilities(valid.images)
    for threshold in (0.5, 0.8):
        wrong = np.flatnonzero((probabilities > threshold) != (valid.labels == 1)).tolist()
        facts = facts_of(capsys, model, "--mistakes", "--threshold", threshold)
        given = facts["mistakes"]
        assert sorted(one["image"] for one in given) == wrong
        assert len(wrong) == facts["confusion"][0][1] + facts["confusion"][1][0] > 30
        for one in given:
            assert one["class"] == valid.classes[int(valid.labels[one["image"]])]
            assert one["probability"] == float(probabilities[one["image"]])
        distances = [abs(one["probability"] - threshold) for one in given]
        assert distances == sorted(distances, reverse=True)
    assert main(["evaluate", str(model), "--mistakes"]) == 0
    out = capsys.readouterr().out
    text = out[out.index("misclassified, with the probability of 3:\n") :].splitlines()[1:]
    first = facts_of(capsys, model, "--mistakes")["mistakes"][0]
    assert text[0] == f"  is {first['class']}  {first['probability']:.4f}  image {first['image']}"


def digits(folder: Path, model: Path) -> Path:
    """Three pictures of each class to train and to validate with, which the model tells rightly."""
    predictor, images = Predictor(model), mnist_sample()[0]
    for part, (label, name) in product(("train", "valid"), enumerate(images.classes)):
        (folder / part / name).mkdir(parents=True)
        rows = np.flatnonzero(images.labels == label)[50 if part == "valid" else 0 :]
        kept = 0
        for row in rows.tolist():
            path = folder / part / name / f"{row}.png"
            Image.fromarray(images.images[row]).save(path)
            if predictor.predict(path).label == name:
                kept += 1
            else:
                path.unlink()
            if kept == 3:
                break
    return folder


def test_the_mistakes_among_pictures_are_named_by_their_files(
    model: Path, tmp_path: Path, capsys: Output
) -> None:
    photos = digits(tmp_path / "photos", model)
    arguments = [str(model), "--data", str(photos), "--mistakes"]
    assert facts_of(capsys, *arguments)["mistakes"] == []
    assert main(["evaluate", *arguments]) == 0
    assert capsys.readouterr().out.endswith("\n\nNo mistakes among 6 validation pictures\n")
    seven = next((photos / "valid" / "7").iterdir())
    wrong = seven.rename(photos / "valid" / "3" / "no three.png")
    (given,) = facts_of(capsys, *arguments)["mistakes"]
    assert given["image"] == str(wrong)
    assert given["class"] == "3"
    assert given["probability"] < 0.5
    assert main(["evaluate", *arguments]) == 0
    assert capsys.readouterr().out.endswith(
        "\n\nmisclassified, with the probability of 3:\n"
        f"  is 3  {given['probability']:.4f}  {wrong}\n"
    )


def test_the_mistakes_among_the_rows_of_a_file_are_numbered_as_there(
    model: Path, tmp_path: Path, capsys: Output
) -> None:
    """The files also contain ones, and two of the digits have the wrong label."""
    sample, folder = mnist_sample()[0], tmp_path / "idx"
    right = np.flatnonzero((Predictor(model).probabilities(sample.images) > 0.5) == sample.labels)
    digits = {label: right[sample.labels[right] == label][:20] for label in (0, 1)}
    labels = np.array([7, 1, 3, 1] * 5, np.uint8)
    for number, part in enumerate(("train", "t10k")):
        images = np.zeros((20, 28, 28), np.uint8)
        images[0::4] = sample.images[digits[0][number * 5 :][:5]]
        images[2::4] = sample.images[digits[1][number * 5 :][:5]]
        images[6 if number else 8] = sample.images[digits[0 if number else 1][19]]
        write_part(folder, part, images, labels)
    first, second = (folder / f"{part}-images-idx3-ubyte" for part in ("train", "t10k"))
    arguments = [str(model), "--data", str(folder), "--mistakes"]
    (wrong,) = facts_of(capsys, *arguments)["mistakes"]
    assert (wrong["image"], wrong["file"], wrong["class"]) == (6, str(second), "3")
    assert main(["evaluate", *arguments]) == 0
    line = f"  is 3  {wrong['probability']:.4f}  image 6 of {second}\n"
    assert capsys.readouterr().out.endswith(f"with the probability of 3:\n{line}")
    every = facts_of(capsys, *arguments, "--all")["mistakes"]
    found = [(one["image"], one["file"], one["class"]) for one in every]
    assert sorted(found) == [(6, str(second), "3"), (8, str(first), "7")]


def test_the_share_that_is_measured_is_said(model: Path, tmp_path: Path, capsys: Output) -> None:
    photos = digits(tmp_path / "photos", model)
    arguments = [str(model), "--data", str(photos)]
    for more, share in (
        ([], f"6 of the 12 pictures of {photos}, those for validation; --all takes all"),
        (["--all"], f"all 12 pictures of {photos}"),
    ):
        assert main(["evaluate", *arguments, *more]) == 0
        assert capsys.readouterr().out.splitlines()[1] == share
        facts = facts_of(capsys, *arguments, *more)
        assert (facts["images"], facts["data_images"]) == (6 * (1 + len(more)), 12)
    assert main(["evaluate", *arguments, "--all", "--mistakes"]) == 0
    assert capsys.readouterr().out.endswith("\n\nNo mistakes among 12 pictures\n")


def trained_on(model: Path, name: str, classes: tuple[str, str]) -> Path:
    """A model that says that it was trained on a data set of this name."""
    artifact = load_artifact(model)
    data = {f"{name}, train": "0" * 16, f"{name}, valid": "1" * 16}
    properties = replace(artifact.metadata, classes=classes, data=data).to_properties()
    changed = onnx.load_model_from_string(artifact.content)
    onnx.helper.set_model_props(changed, properties)
    model.write_bytes(changed.SerializeToString())
    return model


def test_a_model_of_other_data_is_measured_by_what_the_advice_says(
    model: Path, here: Path, capsys: Output
) -> None:
    photos = digits(here / "my icons", model)
    for part in ("train", "valid"):
        for old, new in (("7", "phone"), ("3", "umbrella")):
            (photos / part / old).rename(photos / part / new)
    trained_on(model, "my icons", ("phone", "umbrella"))
    assert main(["evaluate"]) == 2
    out, err = capsys.readouterr()
    advice = "mnist-sgd evaluate model.onnx --data 'my icons'"
    assert (out, err) == (
        "",
        "mnist-sgd: model.onnx knows the classes phone and umbrella; the sample has 7 and 3, this "
        f"model was trained on 'my icons': {advice}\n",
    )
    assert main([*shlex.split(advice)[1:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 1
    for more, option in (
        (["--positive", "phone"], "--positive"),
        (["--classes", "umbrella", "phone"], "--classes"),
    ):
        assert main(["evaluate", "--data", "my icons", *more]) == 2
        assert capsys.readouterr().err.splitlines()[-1] == (
            "mnist-sgd: model.onnx gives the probability of umbrella, not of phone; leave out "
            f"{option}"
        )
    assert main(["evaluate", "--data", "my icons", "--preprocess", "fit"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "mnist-sgd: model.onnx takes images preprocessed by 'mnist', the data was "
        "preprocessed by 'fit'"
    )


def phones(folder: Path, model: Path) -> Path:
    """The pictures of `digits` under other names."""
    photos = digits(folder, model)
    for part in ("train", "valid"):
        for old, new in (("7", "phone"), ("3", "umbrella")):
            (photos / part / old).rename(photos / part / new)
    return photos


def run_of(model: Path, run: Path, **arguments: str) -> Path:
    """A run's folder with a model, trained with these arguments."""
    run.mkdir(parents=True)
    shutil.copy(model, run)
    config = {"run_format": 1, "arguments": arguments}
    (run / "config.json").write_text(json.dumps(config))
    return run


def test_a_runs_model_is_measured_on_the_runs_own_pictures(
    model: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run recorded the path from where it was trained."""
    photos = phones(tmp_path / "data" / "g", model)
    trained_on(model, "g", ("phone", "umbrella"))
    run_of(model, tmp_path / "work" / "runs" / "pm", data="../data/g")
    for here, name, data in (
        (tmp_path / "work", "runs/pm", "../data/g"),
        (tmp_path / "work" / "runs", "pm", "../../data/g"),
        (tmp_path, "work/runs/pm/model.onnx", "data/g"),
    ):
        monkeypatch.chdir(here)
        assert main(["evaluate", name]) == 0
        out, err = capsys.readouterr()
        file = f"{name.removesuffix('/model.onnx')}/model.onnx"
        assert out.splitlines()[:2] == [
            f"{file}: 6 of 6 correct, accuracy 1.0000",
            f"6 of the 12 pictures of {data}, those for validation; --all takes all",
        ]
        assert err.endswith(f"mnist-sgd: note: g, valid has changed since {file} was trained\n")
    assert main(["evaluate", "work/runs/pm", "--dataset", "sample"]) == 2
    assert capsys.readouterr().err == (
        "mnist-sgd: work/runs/pm/model.onnx knows the classes phone and umbrella; the sample has "
        "7 and 3, this model was trained on 'g': mnist-sgd evaluate work/runs/pm/model.onnx "
        "--data data/g\n"
    )
    photos.rename(tmp_path / "data" / "elsewhere")
    for unknown in ("work/runs/pm/model.onnx", "model.onnx"):
        assert main(["evaluate", unknown]) == 2
        assert capsys.readouterr().err == (
            f"mnist-sgd: {unknown} knows the classes phone and umbrella; the sample has 7 and 3, "
            "this model was trained on 'g', but that data was not found: mnist-sgd evaluate "
            f"{unknown} --data DIR\n"
        )


@pytest.mark.parametrize("content", ["", "[]", '{"arguments": 3}', '{"arguments": {"data": 3}}'])
def test_a_run_whose_settings_cannot_be_read_is_measured_as_a_file_is(
    content: str, model: Path, capsys: Output
) -> None:
    model.with_name("config.json").write_text(content)
    assert main(["evaluate", str(model)]) == 0
    assert capsys.readouterr().out.startswith(f"{model}: 1,971 of 2,038 correct")


def test_the_result_names_the_command_that_lists_the_mistakes(model: Path, capsys: Output) -> None:
    given = ["evaluate", str(model)]
    assert main(given) == 0
    *_, gap, last = capsys.readouterr().out.splitlines()
    name, command = last.split(": ")
    program, *arguments = shlex.split(command)
    assert (gap, name, Path(program).name) == ("", "next", "mnist-sgd")
    assert arguments == [*given, "--mistakes"]
    assert main(arguments) == 0
    assert "\nmisclassified, with the probability of 3:\n" in capsys.readouterr().out


def test_a_runs_torchvision_set_is_found_where_the_run_had_it(
    model: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    valid = mnist_sample()[1]
    labels = np.where(valid.labels == 1, 3, 7).astype(np.uint8)
    for part in ("train", "t10k"):
        write_part(tmp_path / "sets" / "MNIST" / "raw", part, valid.images, labels)
    trained_on(model, "MNIST", ("7", "3"))
    run_of(model, tmp_path / "runs" / "m", dataset="MNIST", root="sets")
    monkeypatch.chdir(tmp_path / "runs")
    assert main(["evaluate", "m"]) == 0
    assert capsys.readouterr().out.startswith("m/model.onnx: 1,971 of 2,038 correct")


def test_all_pictures_of_the_folder_of_the_training_are_said_to_be_no_new_ones(
    here: Path, model: Path, capsys: Output
) -> None:
    photos = phones(here / "photos", model)
    assert main(["train", "--data", "photos", "--model", "linear", "--run", "a"]) == 0
    note = (
        "mnist-sgd: note: {} was trained on images of this folder, so these figures are better "
        "than on new ones; without --all it is measured on the others\n"
    )
    shutil.copy(here / "runs" / "a" / "model.onnx", "copy.onnx")
    for name, data in (
        ("runs/a", []),
        ("runs/a/model.onnx", ["--data", str(photos)]),
        ("copy.onnx", ["--data", "photos"]),
    ):
        capsys.readouterr()
        assert main(["evaluate", name, *data, "--all"]) == 0
        file = "runs/a/model.onnx" if name == "runs/a" else name
        assert capsys.readouterr().err.endswith(note.format(file))
    photos.rename("renamed")
    assert main(["evaluate", "copy.onnx", "--data", "renamed", "--all"]) == 0
    assert capsys.readouterr().err.endswith(note.format("copy.onnx"))
    digits(here / "new", model)
    for old, new in (("7", "phone"), ("3", "umbrella")):
        (here / "new" / "valid" / old).rename(here / "new" / "valid" / new)
    shutil.rmtree("new/train")
    capsys.readouterr()
    assert main(["evaluate", "runs/a", "--data", "new/valid", "--all"]) == 0
    assert capsys.readouterr().err == ""


def test_a_model_of_other_data_with_the_samples_classes_is_not_taken_for_the_samples(
    model: Path, capsys: Output
) -> None:
    trained_on(model, "photos", ("7", "3"))
    assert main(["evaluate", str(model)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{model}: 1,971 of 2,038 correct")
    assert err == (
        f"mnist-sgd: note: these are the sample's images; {model} was trained on 'photos'\n"
    )


@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_the_help_says_which_defaults_are_the_models(command: str, capsys: Output) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for option in ("--positive NAME", "--classes NEGATIVE POSITIVE", "--preprocess {mnist,fit"):
        described = text[text.rindex(option) :]
        assert described[described.index("(default") :].startswith("(default: the model's)")


def test_the_curves_in_the_text_are_those_of_the_json(model: Path, capsys: Output) -> None:
    facts = facts_of(capsys, model)
    assert main(["evaluate", str(model)]) == 0
    out = capsys.readouterr().out
    pattern = (
        r"\n  FPR up to (.*)\n  recall (.*)\n(?:.*\n){2}  recall from (.*)\n  precision (.*)\n"
    )
    found = re.search(pattern, out)
    assert found is not None
    rates, recalls, wishes, precisions = found.groups()
    roc, curve = facts["roc"], facts["precision_recall"]
    points = list(zip(roc["fpr"], roc["tpr"], strict=True))
    for rate, recall in zip(rates.split(), recalls.split(), strict=True):
        assert recall == f"{max(t for f, t in points if f <= float(rate)):.4f}"
    points = list(zip(curve["recall"], curve["precision"], strict=True))
    for wanted, precision in zip(wishes.split(), precisions.split(), strict=True):
        assert precision == f"{max(p for r, p in points if r >= float(wanted)):.4f}"


@pytest.mark.parametrize(("figure", "wanted"), [("precision", 0.995), ("recall", 0.995)])
def test_a_wished_figure_is_reached_and_its_cost_stands_beside_it(
    figure: str, wanted: float, model: Path, capsys: Output
) -> None:
    content = model.read_bytes()
    before = facts_of(capsys, model)
    after = facts_of(capsys, model, f"--{figure}", wanted)
    other = "recall" if figure == "precision" else "precision"
    assert before[figure] < wanted <= after[figure]
    assert after[other] < before[other]
    assert (after["model_threshold"], before["threshold"]) == (0.5, 0.5)
    assert (after["threshold"] > 0.5) == (figure == "precision")
    assert main(["evaluate", str(model), f"--{figure}", str(wanted)]) == 0
    text = capsys.readouterr().out
    assert re.search(rf"^threshold +0\.5 +{after['threshold']}$", text, re.MULTILINE)
    for name in ("precision", "recall"):
        line = rf"^{name} +{before[name]:.4f} +{after[name]:.4f}  of those "
        assert re.search(line, text, re.MULTILINE)
    assert text.endswith(f"\nthe model keeps 0.5; --write stores {after['threshold']} in it\n")
    assert model.read_bytes() == content


def test_a_wish_that_no_threshold_reaches_ends_with_code_1_and_writes_nothing(
    model: Path, tmp_path: Path, capsys: Output
) -> None:
    """Images that are all the same are all predicted alike."""
    images, labels = np.full((40, 28, 28), 90, np.uint8), np.array([3, 7, 7, 7] * 10)
    for part in ("train", "t10k"):
        write_part(tmp_path / "MNIST" / "raw", part, images, labels)
    content = model.read_bytes()
    data = ["--dataset", "MNIST", "--root", str(tmp_path)]
    assert main(["evaluate", str(model), *data, "--precision", "0.9", "--write"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "mnist-sgd: no threshold reaches a precision of 0.9 on these images; the best is 0.25\n"
    )
    assert model.read_bytes() == content


def test_a_written_threshold_is_what_every_other_command_goes_by(
    model: Path, trained: TrainedFiles, tmp_path: Path, capsys: Output
) -> None:
    three = str(sample_digits()[-1])  # of which the model is 0.9991 sure
    facts = facts_of(capsys, model, "--threshold", "0.9999", "--write")
    assert (facts["written"], facts["threshold"]) == (str(model), 0.9999)
    assert main(["inspect", str(model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["threshold"] == 0.9999
    assert facts_of(capsys, model)["confusion"] == facts["confusion"]
    for path, label in ((trained.artifact, "3"), (model, "7")):
        assert main(["predict", three, "--model", str(path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["label"] == label
    exported = tmp_path / "exported.onnx"
    arguments = ["export", str(trained.weights), str(exported), "--threshold", "0.9999"]
    assert main(arguments) == 0
    assert exported.read_bytes() == model.read_bytes()


def test_a_running_server_follows_the_written_threshold(model: Path, capsys: Output) -> None:
    three = sample_digits()[-1].read_bytes()
    with running(model, "--reload-interval", "0.02") as server:
        before = server.post("/predict", three).json
        assert (before["label"], before["threshold"]) == ("3", 0.5)
        assert main(["evaluate", str(model), "--threshold", "0.9999", "--write"]) == 0
        deadline = time.monotonic() + PATIENCE
        while (after := server.post("/predict", three).json)["threshold"] == 0.5:
            assert time.monotonic() < deadline
    assert (after["label"], after["threshold"]) == ("7", 0.9999)
    assert after["probability"] == before["probability"]
    assert capsys.readouterr().out.endswith(
        f"\n{model}: the model with the threshold 0.9999, {model.stat().st_size:,} bytes\n"
    )


def test_a_threshold_goes_to_another_file_and_the_model_stays(
    model: Path, trained: TrainedFiles, tmp_path: Path, capsys: Output
) -> None:
    strict = tmp_path / "strict.onnx"
    for wanted in ("0.99", "0.995"):  # the second replaces what the first wrote
        facts = facts_of(capsys, model, "--precision", wanted, "--write", strict)
        assert Predictor(strict).metadata.threshold == facts["threshold"]
        assert facts["written"] == str(strict)
    assert model.read_bytes() == trained.artifact.read_bytes()
    strict.write_text("notes of mine")
    assert main(["evaluate", str(model), "--precision", "0.99", "--write", str(strict)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"mnist-sgd: {strict}: another file is there, and only the same model is replaced; "
        "choose another name or remove it\n"
    )
    assert strict.read_text() == "notes of mine"


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_curves_are_drawn_in_the_format_of_the_suffix(
    suffix: str, model: Path, tmp_path: Path, capsys: Output
) -> None:
    path = tmp_path / f"curves{suffix}"
    assert main(["evaluate", str(model), "--precision", "0.99", "--plot", str(path)]) == 0
    assert f"\n{path}: the curves\n" in capsys.readouterr().out
    start = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix]
    assert path.read_bytes().startswith(start)
    if suffix == ".png":
        with Image.open(path) as picture:
            assert picture.width > 2 * picture.height
            colours = {colour for _, colour in picture.convert("RGB").getcolors(2**24) or ()}
        assert {(0, 105, 168), (189, 75, 0)} <= colours  # the curves and the threshold's place


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
@pytest.mark.parametrize("name", ["$5$", r"$\frac$", "größe 猫", "x" * 255])
def test_a_class_of_any_name_is_on_the_curves(
    name: str, suffix: str, model: Path, tmp_path: Path, capsys: Output
) -> None:
    """A warning from Matplotlib is an error here."""
    valid, path = mnist_sample()[1], tmp_path / f"curves{suffix}"
    trained_on(model, "odd", ("seven", name))
    with PackedWriter(tmp_path / "odd", ("seven", name)) as odd:
        odd.append(valid.images[::9], valid.labels[::9].astype(np.uint8))
    arguments = [str(model), "--data", str(tmp_path / "odd"), "--all", "--plot", str(path)]
    assert main(["evaluate", *arguments]) == 0
    out, err = capsys.readouterr()
    assert out.endswith(f"\n\n{path}: the curves\n")
    assert err == ""
    if suffix == ".svg":
        assert f">Probability of {drawn_name(name)}</text>" in path.read_text(encoding="utf-8")


def test_a_letter_that_the_font_lacks_is_an_escape_where_text_is_drawn() -> None:
    assert in_the_font("größe 猫 $5$") == r"größe \u732b $5$"


def test_a_failed_plot_keeps_everything_else(model: Path, tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "curves.png").mkdir()
    said = f"mnist-sgd: [Errno 21] Is a directory: '{tmp_path}/curves.png'\n"
    arguments = [str(model), "--recall", "0.99", "--plot", str(tmp_path / "curves.png"), "--write"]
    assert main(["evaluate", *arguments]) == 2
    out, err = capsys.readouterr()
    assert err == said
    assert out.startswith(
        f"{model} at the threshold 0.004: 1,951 of 2,038 correct, accuracy 0.9573\n"
    )
    assert out.endswith(
        f"\n{model}: the model with the threshold 0.004, {model.stat().st_size:,} bytes\n"
    )
    assert Predictor(model).metadata.threshold == 0.004
    assert main(["evaluate", *arguments, "--json"]) == 2
    out, err = capsys.readouterr()
    assert err == said
    facts = json.loads(out)
    assert (facts["threshold"], facts["written"], "plot" in facts) == (0.004, str(model), False)


def test_where_matplotlib_is_missing_a_sentence_names_it(
    model: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["evaluate", str(model), "--plot", str(tmp_path / "curves.png")]) == 2
    assert capsys.readouterr() == (
        "",
        "mnist-sgd: a chart needs matplotlib, which cannot be imported here (import of matplotlib "
        "halted; None in sys.modules): pip install matplotlib\n",
    )


def test_a_plot_never_overwrites_a_runs_file(model: Path, capsys: Output) -> None:
    run = model.parent / "runs" / "a"
    (run / "plots").mkdir(parents=True)
    (run / "config.json").write_text('{"run_format": 1}')
    for chart in (run / "plots" / "roc.svg", run / "plots" / "new.svg"):
        assert main(["evaluate", str(model), "--plot", str(chart)]) == 2
        text = f"mnist-sgd: {chart} belongs to the run {run}; choose another name for --plot\n"
        assert capsys.readouterr() == ("", text)
    assert main(["evaluate", str(model), "--plot", str(run / "mine.svg")]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--write"], "--write needs a threshold: give --threshold, --precision or --recall"),
        (["--plot", "curves.docx"], "curves.docx: "),
        (["--plot", "none/curves.png"], "none/curves.png: the folder none does not exist"),
        (["--recall", "0.9", "--write", "none/m.onnx"], "none/m.onnx: the folder none does not"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: list[str],
    message: str,
    model: Path,
    here: Path,
    capsys: Output,
) -> None:
    assert main(["evaluate", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mnist-sgd: ")
    assert message in err
    assert err.count("\n") == 1
    assert [path.name for path in here.iterdir()] == [model.name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threshold", "1.5"], "--threshold must be a number from 0 to 1, got '1.5'"),
        (["--recall", "nan"], "--recall must be a number above 0 and at most 1, got 'nan'"),
        (["--precision", "0"], "--precision must be a number above 0 and at most 1, got '0'"),
        (
            ["--recall", "1", "--precision", "1"],
            "--precision and --recall exclude each other; give only one of them",
        ),
    ],
)
def test_wrong_arguments_end_with_code_2(
    arguments: list[str], message: str, capsys: Output
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_nothing_of_it_loads_torch(model: Path) -> None:
    script = (
        "import sys\n"
        "from mnist_sgd.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "print(code, sorted({'torch', 'torchvision', 'onnx'} & set(sys.modules)))\n"
    )
    for more, loaded in (([], []), (["--recall", "0.99", "--write"], ["onnx"])):
        done = subprocess.run(
            [sys.executable, "-c", script, "evaluate", str(model), "--json", *more],
            check=True,
            capture_output=True,
            text=True,
        )
        assert done.stdout.splitlines()[-1] == f"0 {loaded}"
