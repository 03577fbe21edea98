"""`mnist-sgd compare` puts runs side by side, and says of what is none why it cannot be shown."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnist_sgd import write_run
from mnist_sgd.cli import main
from mnist_sgd.cli.program import program
from mnist_sgd.data import ImageSet
from mnist_sgd.evaluation.set_threshold import write_threshold
from mnist_sgd.report.comparison import compare_runs
from mnist_sgd.report.folder import write_json
from mnist_sgd.report.plot_style import drawn_name
from mnist_sgd.report.reader import read_run
from runs import contents, easy_set, learner

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
    assert lines[3:] == [
        "",
        "differences",
        "for validation  60 (left: 30, right: 30) (good); 60 (left: 29, right: 31) (mixed)",
        "",
        "note: the runs were evaluated on different validation images: their metrics do not tell "
        "which model is better",
        "",
        f"next: {program()} compare {made / 'mixed'} {made / 'good'} --html compare.html",
    ]


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
    assert len(capsys.readouterr().out.splitlines()) == 4  # a table, and what to do next


def pictures(count: int = 12, relabelled: int = 0, preprocessing: str = "mnist") -> ImageSet:
    """A set as it is made of files: of another kind of preprocessing its images are others."""
    made = easy_set(count, flipped=relabelled)
    names = [f"{made.classes[label]}/{i}.png" for i, label in enumerate(made.labels.tolist())]
    digests = [f"{i:02x}" * 16 for i in range(count)]
    images = made.images if preprocessing == "mnist" else made.images[:, ::-1].copy()
    return replace(made, images=images, preprocessing=preprocessing, files=names, digests=digests)


def noted(folder: Path, valid: dict[str, ImageSet], capsys: Output) -> dict[str, Any]:
    """What is said when runs that were measured on these sets are compared."""
    for name, data in valid.items():
        write_run(learner("linear", data, epochs=1), folder / name)
    capsys.readouterr()
    assert main(["compare", *(str(folder / name) for name in valid), "--json"]) == 0
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    return facts


def test_the_same_pictures_preprocessed_differently_are_comparable(
    tmp_path: Path, capsys: Output
) -> None:
    facts = noted(tmp_path, {"a": pictures(), "b": pictures(preprocessing="fit")}, capsys)
    assert facts["notes"] == ["the same 12 pictures, preprocessed differently: comparable"]
    assert facts["same_validation_images"] is True
    assert facts["differences"] == {"data.valid.preparation": {"a": "mnist", "b": "fit"}}
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    said = "\nnote: the same 12 pictures, preprocessed differently: comparable\n"
    out = capsys.readouterr().out
    assert said in out
    seen = "drawn characters, cropped and centred (mnist) (a)"
    seen += "; whole pictures, in their proportions (fit) (b)"
    assert f"\nthe model sees  {seen}\n" in out


def test_a_label_that_was_corrected_is_named(tmp_path: Path, capsys: Output) -> None:
    sets = {"a": pictures(relabelled=1), "b": pictures(), "c": pictures()}
    facts = noted(tmp_path, sets, capsys)
    assert facts["notes"] == ["the same 12 pictures; 1 of 12 labels differs (right/0.png)"]
    assert facts["same_validation_images"] is True
    facts = noted(tmp_path / "many", {"a": pictures(), "b": pictures(relabelled=7)}, capsys)
    named = "left/0.png, right/1.png, left/2.png, right/3.png, left/4.png and 2 more"
    assert facts["notes"] == [f"the same 12 pictures; 7 of 12 labels differ ({named})"]


def test_other_pictures_are_not_comparable(tmp_path: Path, capsys: Output) -> None:
    facts = noted(tmp_path, {"a": pictures(), "b": pictures(14)}, capsys)
    assert [note[:54] for note in facts["notes"]] == [
        "the runs were evaluated on different validation images"
    ]
    assert facts["same_validation_images"] is False


def test_runs_of_older_versions_are_told_apart_by_their_images(
    tmp_path: Path, capsys: Output
) -> None:
    """They have no list of their pictures, and no digest of it among their settings."""
    sets = {"new": pictures(), "old": pictures(), "fit": pictures(preprocessing="fit")}
    noted(tmp_path, sets, capsys)
    (tmp_path / "old" / "pictures.csv").unlink()
    config = json.loads((tmp_path / "old" / "config.json").read_text())
    del config["data"]["valid"]["files"]
    write_json(tmp_path / "old" / "config.json", config)
    assert main(["compare", str(tmp_path / "new"), str(tmp_path / "old")]) == 0
    assert "note" not in capsys.readouterr().out
    for names, note in (
        (("new", "old", "fit"), "the same 12 pictures, preprocessed differently: comparable"),
        (
            ("old", "fit"),
            "the runs were evaluated on different validation images: their metrics do",
        ),
    ):
        assert main(["compare", *(str(tmp_path / name) for name in names)]) == 0
        assert f"\nnote: {note}" in capsys.readouterr().out


def test_equal_files_with_different_labels_count_each(tmp_path: Path, capsys: Output) -> None:
    """A picture that lies in both classes is the same picture twice."""
    twice = replace(pictures(), digests=["aa" * 16, "aa" * 16, *pictures().digests[2:]])
    swapped = replace(twice, labels=twice.labels[[1, 0, *range(2, 12)]])
    facts = noted(tmp_path, {"a": twice, "b": swapped}, capsys)
    assert facts["notes"] == ["the same 12 pictures: comparable"]


def test_a_momentum_that_a_schedule_has_set_since_is_no_difference(
    made: Path, tmp_path: Path, capsys: Output
) -> None:
    """Older versions wrote that of the optimizer before a training, the schedule's after it."""
    shutil.copytree(made / "good", tmp_path / "cut")
    (tmp_path / "cut" / "evaluation.json").unlink()
    path = tmp_path / "cut" / "config.json"
    config = json.loads(path.read_text())
    config["resolved"]["optimizer"]["momentum"] = 0.95
    write_json(path, config)
    assert main(["compare", str(made / "good"), str(tmp_path / "cut")]) == 0
    assert "momentum" not in capsys.readouterr().out.partition("\nnext: ")[0]
    history = json.loads((tmp_path / "cut" / "history.json").read_text())
    history["batches"]["momentum"][0] = 0.95
    write_json(tmp_path / "cut" / "history.json", history)
    assert main(["compare", str(made / "good"), str(tmp_path / "cut")]) == 0
    assert "\noptimizer  SGD (good); SGD, momentum 0.95 (cut)\n" in capsys.readouterr().out


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
    assert capsys.readouterr().out.endswith(
        f"\n{page}: with curves, and what one gets wrong and another right\n"
    )
    text = page.read_text()
    assert text.count("<svg") == 3
    for expected in ("Comparison of 3 runs", ">good</text>", ">mixed</text>", ">cut</text>"):
        assert expected in text
    assert "fingerprint" not in text
    assert main(["compare", *runs, "--html", str(tmp_path / "again.html")]) == 0
    assert (tmp_path / "again.html").read_text() == text


LACKING = {"run_format": 1, "resolved": {"model": "cnn", "loss": "x"}, "data": {}}

NO_RUNS = [
    ({}, "unfinished: the folder is empty, its training ended before the first batch"),
    ({"x.txt": ""}, "unreadable: not a run's folder: config.json is missing"),
    ({"config.json": "{}"}, "unreadable: not a run's folder: config.json is of something else"),
    ({"config.json": '{"run_format": 9}'}, "unreadable: not a run's folder: config.json is of "),
    ({"config.json": '{"run_form'}, "unreadable: config.json: not JSON: "),
    ({"config.json": "\xff\x00"}, "unreadable: config.json: not JSON: "),
    ({"config.json": "[" * 10**5}, "unreadable: config.json: not JSON: "),
    ({"config.json": "3"}, "unreadable: config.json: not a JSON object"),
    ({"config.json": '{"run_format": 1}'}, "unreadable: config.json: it lacks 'resolved'"),
    (
        {"config.json": json.dumps(LACKING | {"resolved": {"model": 3}})},
        "unreadable: config.json: 'model' cannot be 3",
    ),
    (
        {"config.json": json.dumps(LACKING | {"data": {"valid": {"classes": {}}}})},
        "unreadable: config.json: it lacks 'fingerprint'",
    ),
    (
        {"config.json": json.dumps(LACKING), "history.json": '{"epochs": [{"valid_loss": 1}]}'},
        "unreadable: history.json: it lacks 'train_loss'",
    ),
    (
        {"config.json": json.dumps(LACKING), "evaluation.json": '{"accuracy": "good"}'},
        "unreadable: evaluation.json: 'accuracy' cannot be \"good\"",
    ),
    (
        {"config.json": json.dumps(LACKING), "evaluation.json": f'{{"errors": 1{"0" * 400}}}'},
        "unreadable: evaluation.json: 'errors' cannot be 1000",
    ),
    (
        {"config.json": json.dumps(LACKING), "environment.json": '{"training_seconds": [1]}'},
        "unreadable: environment.json: 'training_seconds' cannot be [1]",
    ),
    (
        {"config.json": json.dumps(LACKING), "pictures.csv": "digest\n"},
        "unreadable: pictures.csv: not a table of digest, label, file",
    ),
]


def make_folder(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="latin-1")
    return folder


@pytest.mark.parametrize(("files", "reason"), NO_RUNS)
def test_a_folder_that_cannot_be_shown_is_listed_with_the_reason(
    files: dict[str, str], reason: str, made: Path, tmp_path: Path, capsys: Output
) -> None:
    folder = make_folder(tmp_path / "other", files)
    assert main(["compare", str(folder), str(made / "good"), str(made / "mixed")]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["run", "good", "mixed"]
    assert lines[3:5] == ["", "not shown"]
    assert lines[5].startswith(f"{folder}  {reason}")
    assert main(["compare", str(folder), str(made / "good"), "--json"]) == 0
    not_shown = json.loads(capsys.readouterr().out)["not_shown"]
    assert list(not_shown) == [str(folder)]
    assert not_shown[str(folder)].startswith(reason)


@pytest.mark.parametrize(("files", "reason"), NO_RUNS)
def test_where_no_run_can_be_shown_the_reason_is_the_error(
    files: dict[str, str], reason: str, tmp_path: Path, capsys: Output
) -> None:
    folder = make_folder(tmp_path / "other", files)
    assert main(["compare", str(folder)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"mnist-sgd: {folder}")
    assert err.count("\n") == 1
    assert main(["compare", str(folder), str(make_folder(tmp_path / "second", {}))]) == 2
    assert capsys.readouterr().err == err[:-1] + " (and 1 more cannot be shown)\n"


def test_a_file_among_the_runs_is_passed_over_and_a_misspelt_folder_is_not(
    made: Path, tmp_path: Path, capsys: Output
) -> None:
    page = tmp_path / "compare.html"
    page.touch()
    assert main(["compare", str(made / "good"), str(page), "--html", str(page)]) == 0
    out = capsys.readouterr().out
    assert f"\nnot shown\n{page}  unreadable: it is a file, not a folder\n" in out
    assert f"not shown: {page}: unreadable: it is a file, not a folder." in page.read_text()
    assert main(["compare", str(made / "good"), str(tmp_path / "goood")]) == 2
    said = f"mnist-sgd: {tmp_path / 'goood'}: there is no such folder\n"
    assert capsys.readouterr() == ("", said)
    assert main(["compare", str(made / "goood")]) == 2
    said = f"there is no such folder (did you mean {made / 'good'}?)\n"
    assert capsys.readouterr().err == f"mnist-sgd: {made / 'goood'}: {said}"


@pytest.mark.parametrize("target", ["gone", "latest"])
def test_a_broken_link_is_listed_with_the_reason(
    target: str, made: Path, tmp_path: Path, capsys: Output
) -> None:
    """For example `latest`, after its run was removed; or a link to itself."""
    link = tmp_path / "latest"
    link.symlink_to(target)
    assert main(["compare", str(made / "good"), str(link)]) == 0
    reason = f"unreadable: it is a link to {target}, which is not there"
    assert f"\nnot shown\n{link}  {reason}\n" in capsys.readouterr().out
    assert main(["compare", str(link), str(made / "good"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [row["run"] for row in facts["runs"]] == ["good"]
    assert facts["not_shown"] == {str(link): reason}


def test_the_folder_of_all_runs_is_refused_with_how_to_name_one(
    made: Path, tmp_path: Path, capsys: Output
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "my runs"))
    text = (
        f"not a run's folder: config.json is missing; name its runs: mnist-sgd compare '{folder}'/*"
    )
    assert main(["compare", str(folder)]) == 2
    assert capsys.readouterr() == ("", f"mnist-sgd: {folder}: {text}\n")
    assert main(["compare", str(folder), str(folder / "good")]) == 0
    assert f"\nnot shown\n{folder}  unreadable: {text}\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["report.html", "config.json", "model.onnx", "link", "cut"])
def test_the_page_never_overwrites_a_runs_file(
    name: str, made: Path, unfinished: Path, tmp_path: Path, capsys: Output
) -> None:
    """Not even of a file that the run gets only when it finishes."""
    good = Path(shutil.copytree(made / "good", tmp_path / "good"))
    (tmp_path / "link").symlink_to(good / "report.html")
    page = {"link": tmp_path / "link", "cut": unfinished / "report.html"}.get(name, good / name)
    before = contents(tmp_path)
    assert main(["compare", str(good), str(made / "mixed"), "--html", str(page)]) == 2
    text = f"mnist-sgd: {page} belongs to the run {page.parent}; choose another name for --html\n"
    assert capsys.readouterr() == ("", text)
    assert contents(tmp_path) == before
    assert main(["compare", str(good), "--html", str(good / "compare.html")]) == 0


def test_a_run_of_any_name_is_in_the_legend(made: Path, tmp_path: Path) -> None:
    """Even a name that begins with "_", which Matplotlib leaves out by default."""
    names = ["_hidden", "$5$", "größe 猫", "x" * 200]
    runs = [str(shutil.copytree(made / "good", tmp_path / name)) for name in names]
    page = tmp_path / "compare.html"
    assert main(["compare", *runs, "--html", str(page)]) == 0
    for name in names:
        assert f">{drawn_name(name)}</text>" in page.read_text()


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
    said = "the runs were trained with different losses, whose values are not on the same scale"
    assert f"\nnote: {said}\n" in capsys.readouterr().out
    assert f"<strong>Note:</strong> {said}.</p>" in page.read_text()


def test_a_run_with_a_changed_threshold_is_named(tmp_path: Path, capsys: Output) -> None:
    facts = noted(tmp_path, {"a": pictures(), "b": pictures()}, capsys)
    assert facts["notes"] == []
    model = tmp_path / "a" / "model.onnx"
    write_threshold(model.read_bytes(), 0.75, model)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]) == 0
    (note,) = json.loads(capsys.readouterr().out)["notes"]
    assert note == (
        "a: the threshold of its model is now 0.75, but its metrics are for 0.5; "
        f"mnist-sgd evaluate {tmp_path / 'a'} computes those for 0.75"
    )
    model.write_bytes(b"damaged")
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "threshold" not in capsys.readouterr().out
