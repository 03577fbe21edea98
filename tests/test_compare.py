"""`mnist-sgd compare` puts runs beside each other, and refuses by name what is none."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_sgd import write_run
from mnist_sgd.cli import main
from mnist_sgd.report.comparison import compare_runs
from mnist_sgd.report.folder import write_json
from mnist_sgd.report.reader import read_run
from runs import easy_set, learner

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs `good` and `mixed`, which differ in model, data and epochs."""
    folder = tmp_path_factory.mktemp("runs")
    write_run(learner("mlp"), folder / "good")
    write_run(learner("linear", easy_set(flipped=3), epochs=2), folder / "mixed")
    return folder


@pytest.fixture
def unfinished(made: Path, tmp_path: Path) -> Path:
    """A run that was cut off after its history was written."""
    folder = tmp_path / "cut"
    folder.mkdir()
    for name in ("config.json", "environment.json", "history.json"):
        shutil.copy(made / "mixed" / name, folder)
    return folder


def test_the_table_has_a_row_a_run_the_most_accurate_first(made: Path, capsys: Output) -> None:
    assert main(["compare", str(made / "mixed"), str(made / "good")]) == 0
    lines = capsys.readouterr().out.splitlines()
    loss = {
        name: json.loads((made / name / "evaluation.json").read_text())["valid_loss"]
        for name in ("good", "mixed")
    }
    auc = json.loads((made / "mixed" / "evaluation.json").read_text())["auc"]
    size = {name: f"{(made / name / 'model.onnx').stat().st_size:,}" for name in loss}
    good = f"good mlp 5 1.0000 0 {loss['good']:.6f} 1.0000 - {size['good']}"
    mixed = f"mixed linear 2 0.9500 3 {loss['mixed']:.6f} {auc:.4f} - {size['mixed']}"
    assert [" ".join(line.split()) for line in lines[:3]] == [
        "run model epochs accuracy errors valid_loss AUC seconds bytes",
        good,
        mixed,
    ]
    assert len({len(line) for line in lines[:3]}) == 1
    assert lines[3:5] == ["", "in what they differ"]
    settings = {line.split("  ")[0]: line.split("  ")[-1].strip() for line in lines[5:-2]}
    assert settings == {
        "data.valid.fingerprint": f"{easy_set().fingerprint()} (good); "
        f"{easy_set(flipped=3).fingerprint()} (mixed)",
    }
    assert lines[-1] == (
        "note: the runs were measured on different validation images: their figures do not tell "
        "which model is better"
    )


def test_the_same_as_json(made: Path, capsys: Output) -> None:
    assert main(["compare", str(made / "mixed"), str(made / "good"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [run["run"] for run in facts["runs"]] == ["good", "mixed"]
    assert facts["runs"][1]["errors"] == 3
    assert facts["runs"][1]["seconds"] is None
    assert facts["differences"]["data.valid.fingerprint"] == {
        "good": easy_set().fingerprint(),
        "mixed": easy_set(flipped=3).fingerprint(),
    }
    assert facts["same_validation_images"] is False


def test_one_run_differs_from_nothing(made: Path, capsys: Output) -> None:
    assert main(["compare", str(made / "good"), str(made / "good") + "/"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_an_unfinished_run_comes_last_with_dashes(
    made: Path, unfinished: Path, capsys: Output
) -> None:
    assert main(["compare", str(unfinished), str(made / "mixed")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["cut", "linear", "2", "-", "-", "-", "-", "-", "-"]


def test_runs_of_one_name_are_told_apart_by_their_paths(
    made: Path, unfinished: Path, tmp_path: Path
) -> None:
    other = tmp_path / "good"
    shutil.copytree(unfinished, other)
    runs = [read_run(made / "good"), read_run(other)]
    assert [row.run for row, _ in compare_runs(runs)] == [str(made / "good"), str(other)]


def test_equally_accurate_runs_are_in_the_order_of_their_loss(made: Path, tmp_path: Path) -> None:
    runs = []
    for name, loss in (("a", None), ("b", 0.2), ("c", 0.1)):
        shutil.copytree(made / "good", tmp_path / name)
        evaluation = json.loads((tmp_path / name / "evaluation.json").read_text())
        write_json(tmp_path / name / "evaluation.json", evaluation | {"valid_loss": loss})
        runs.append(read_run(tmp_path / name))
    assert [row.run for row, _ in compare_runs(runs)] == ["c", "b", "a"]


def test_a_page_shows_the_curves_over_each_other(
    made: Path, unfinished: Path, tmp_path: Path, capsys: Output
) -> None:
    page = tmp_path / "compare.html"
    runs = [str(made / "good"), str(made / "mixed"), str(unfinished)]
    assert main(["compare", *runs, "--html", str(page)]) == 0
    assert capsys.readouterr().out.endswith(f"\n{page}: the same with the loss curves\n")
    text = page.read_text()
    assert text.count("<svg") == 2
    for expected in ("3 runs beside each other", ">good</text>", ">mixed</text>", ">cut</text>"):
        assert expected in text
    assert "data.valid.fingerprint" in text
    assert main(["compare", *runs, "--html", str(tmp_path / "again.html")]) == 0
    assert (tmp_path / "again.html").read_text() == text


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "there is no such folder"),
        ({}, "not a run's folder: config.json is missing"),
        ({"config.json": "{}"}, "not a run's folder: config.json is of something else"),
        ({"config.json": '{"run_format": 9}'}, "not a run's folder: config.json is of something "),
    ],
)
def test_a_folder_that_is_no_run_is_refused_by_name(
    files: dict[str, str] | None, message: str, made: Path, tmp_path: Path, capsys: Output
) -> None:
    folder = tmp_path / "other"
    if files is not None:
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
    assert main(["compare", str(made / "good"), str(folder)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"mnist-sgd: {folder}: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON: "), ("[]", "not a JSON object")])
def test_a_damaged_file_of_a_run_is_named(
    text: str, message: str, unfinished: Path, capsys: Output
) -> None:
    damaged = unfinished / "history.json"
    damaged.write_text(text)
    assert main(["compare", str(unfinished)]) == 2
    assert capsys.readouterr().err.startswith(f"mnist-sgd: {damaged}: {message}")


def test_comparing_needs_no_torch(made: Path) -> None:
    script = (
        "import sys; from mnist_sgd.cli import main; "
        f"main(['compare', {str(made / 'good')!r}]); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_losses_of_another_scale_are_said_to_be_so(
    made: Path, tmp_path: Path, capsys: Output
) -> None:
    other = tmp_path / "other"
    shutil.copytree(made / "good", other)
    config = json.loads((other / "config.json").read_text())
    config["resolved"]["loss"] = "cross_entropy"
    write_json(other / "config.json", config)
    page = tmp_path / "compare.html"
    assert main(["compare", str(made / "good"), str(other), "--html", str(page)]) == 0
    said = "the runs were trained on different losses, whose values are not of one scale"
    assert f"\nnote: {said}\n" in capsys.readouterr().out
    assert f"<strong>Note:</strong> {said}.</p>" in page.read_text()
