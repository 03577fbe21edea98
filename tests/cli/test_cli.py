"""The command line does the main job, and refuses what it cannot use in one line."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

from idx_files import write_part
from mnist_sgd import Augmentation, DataLoader, create_model
from mnist_sgd.cli import main
from mnist_sgd.cli.predict import percent
from mnist_sgd.cli.program import program
from mnist_sgd.data import mnist_sample, sample_digits
from mnist_sgd.export import exporter
from mnist_sgd.models.weights import load_weights, open_weights, save_weights
from mnist_sgd_serve import Predictor
from trained import TrainedFiles

Output = pytest.CaptureFixture[str]
COMMANDS = (
    *("train", "compare", "export", "evaluate", "predict", "pack"),
    *("inspect", "summary", "serve", "benchmark"),
)


def test_train_prints_the_chapters_table_and_leaves_the_files(trained: TrainedFiles) -> None:
    lines = trained.stdout.splitlines()
    assert lines[0] == "epoch     train_loss  valid_loss  batch_accuracy  time    "
    assert [line.split()[0] for line in lines[1:11]] == [str(epoch) for epoch in range(10)]
    assert lines[1].split()[3] == "0.495584"
    assert float(lines[10].split()[3]) == pytest.approx(0.968, abs=0.002)
    assert lines[11] == ""
    assert re.fullmatch(r"model.safetensors  4.2 kB  the weights", lines[12])
    assert re.fullmatch(
        r"model.onnx         4.4 kB  same answers as PyTorch on 2,038 images "
        r"\(largest difference \de-\d\d\)",
        lines[13],
    )
    assert lines[14].startswith("correct: 1,97")
    # Its path depends on the folder; tests/cli/test_train_words.py looks at it.
    assert [re.sub(r"\S*mnist-sgd", "mnist-sgd", line) for line in lines[15:]] == [
        "next: mnist-sgd predict --model model.onnx IMAGE...",
        "      mnist-sgd serve model.onnx",
    ]
    assert sorted(path.name for path in trained.folder.iterdir()) == [
        "model.onnx",
        "model.safetensors",
    ]


def test_training_twice_leaves_the_same_bytes(
    trained: TrainedFiles, tmp_path: Path, capsys: Output
) -> None:
    assert main(["train", "--out", str(tmp_path)]) == 0
    lines, before = capsys.readouterr().out.splitlines(), trained.stdout.splitlines()
    without_time = [[line.split()[:-1] for line in each[:11]] for each in (lines, before)]
    assert without_time[0] == without_time[1]
    assert all(re.fullmatch(r"00:\d\d", line.split()[-1]) for line in lines[1:11])
    for name in ("model.onnx", "model.safetensors"):
        assert (tmp_path / name).read_bytes() == (trained.folder / name).read_bytes()


def test_train_gives_its_history_as_json(tmp_path: Path, capsys: Output) -> None:
    arguments = ["train", "--epochs", "2", "--shuffle", "--model", "mlp", "--json"]
    assert main([*arguments, "--out", str(tmp_path / "new" / "folder")]) == 0
    history = json.loads(capsys.readouterr().out)
    assert len(history["epochs"]) == 2
    assert set(history["epochs"][0]) == {"train_loss", "valid_loss", "batch_accuracy"}
    assert Path(history["artefact"]).is_file()
    assert Path(history["weights"]).is_file()
    assert history["validation"]["images"] == 2038
    accuracy = history["validation"]["correct"] / 2038
    assert accuracy == pytest.approx(history["epochs"][1]["batch_accuracy"], abs=1e-6)
    low, high = history["validation"]["interval"]
    assert low < accuracy < high


def test_augment_is_for_the_training_images_alone_and_threads_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaders: list[DataLoader] = []

    def recorded(*arguments: Any, **options: Any) -> DataLoader:
        loaders.append(DataLoader(*arguments, **options))
        return loaders[-1]

    monkeypatch.setattr("mnist_sgd.DataLoader", recorded)
    arguments = ["train", "--epochs", "1", "--seed", "4", "--json"]
    for threads in "12":
        out = str(tmp_path / threads)
        assert main([*arguments, "--augment", "--threads", threads, "--out", out]) == 0
    assert main([*arguments, "--out", str(tmp_path / "plain")]) == 0
    augment = Augmentation(degrees=10, translate=0.05, scale=(0.9, 1.1), shear=5)
    assert [loader.augment for loader in loaders] == [augment, None, augment, None, None, None]
    weights = [(tmp_path / n / "model.safetensors").read_bytes() for n in ("1", "2", "plain")]
    assert weights[0] == weights[1] != weights[2]


def test_predict_prints_the_label_and_its_confidence_on_a_line(
    trained: TrainedFiles, capsys: Output
) -> None:
    three, seven = sample_digits()[-1], sample_digits()[0]
    assert main(["predict", str(three), str(seven), "--model", str(trained.artifact)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(re.escape(str(three)) + r" +3  99\.\d+ %", lines[0])
    assert re.fullmatch(re.escape(str(seven)) + r" +7  99\.\d+ %", lines[1])


def test_predict_gives_programs_the_probability_of_every_class(
    trained: TrainedFiles, capsys: Output
) -> None:
    seven = sample_digits()[0]
    assert main(["predict", str(seven), "--model", str(trained.artifact), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    three = float(Predictor(trained.artifact).predict(seven).probability)
    assert 0 < three < 0.01
    assert answer == {
        "file": str(seven),
        "label": "7",
        "confidence": 1 - three,
        "probabilities": {"7": 1 - three, "3": three},
        "probability": three,
        "positive": "3",
        "inverted": False,
    }


@pytest.mark.parametrize(
    ("confidence", "text"),
    [
        (1, "100.0 %"),
        (0.99785, "99.8 %"),
        (0.9991, "99.9 %"),
        (0.9996, "99.96 %"),
        (0.99996, "99.996 %"),
        (0.99999999, "99.9999 %"),
        (0.5, "50.0 %"),
        (0.0004, "0.04 %"),
        (1e-12, "0.0001 %"),
        (0, "0.0 %"),
    ],
)
def test_only_certainty_is_shown_as_certainty(confidence: float, text: str) -> None:
    assert percent(confidence) == text


@given(st.floats(0, 1))
def test_a_confidence_is_shown_to_a_decimal_place_and_never_as_certain(confidence: float) -> None:
    shown = float(percent(confidence).removesuffix(" %"))
    assert abs(shown - 100 * confidence) <= 0.0501
    assert (shown in (0, 100)) == (confidence in (0, 1))


def test_predict_reads_standard_input_beside_files(trained: TrainedFiles) -> None:
    three, seven = sample_digits()[-1], sample_digits()[0]
    line = [sys.executable, "-m", "mnist_sgd", "predict", str(seven), "-"]
    line += ["--model", str(trained.artifact), "--json"]
    done = subprocess.run(line, input=three.read_bytes(), capture_output=True, check=True)
    answers = [json.loads(answer) for answer in done.stdout.splitlines()]
    assert [(one["file"], one["label"]) for one in answers] == [(str(seven), "7"), ("-", "3")]
    done = subprocess.run(line, input=b"no image", capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"mnist-sgd: standard input: these 8 bytes are not an image: ")
    assert len(done.stdout.splitlines()) == 1


def test_standard_input_is_named_once(capsys: Output) -> None:
    assert main(["predict", "-", "three.png", "-"]) == 2
    said = "mnist-sgd: - is standard input, which can be read only once\n"
    assert capsys.readouterr() == ("", said)


def test_predict_takes_a_folder_and_a_pattern(trained: TrainedFiles, capsys: Output) -> None:
    folder = sample_digits()[0].parent
    for argument in (folder, folder / "*.png"):
        assert main(["predict", str(argument), "--model", str(trained.artifact), "--json"]) == 0
        answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [Path(answer["file"]) for answer in answers] == sorted(sample_digits())
        right = [answer["label"] == "37"["seven" in answer["file"]] for answer in answers]
        assert all(right)


def test_one_unusable_image_is_named_and_the_others_are_answered(
    trained: TrainedFiles, tmp_path: Path, capsys: Output
) -> None:
    bad, good, missing = tmp_path / "bad.png", sample_digits()[0], tmp_path / "none.png"
    bad.write_bytes(b"not an image")
    model = ["--model", str(trained.artifact)]
    assert main(["predict", str(bad), str(missing), str(good), *model]) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert err.splitlines() == [
        f"mnist-sgd: {bad}: these 12 bytes are not an image: "
        "PNG, JPEG, BMP, GIF, WebP and TIFF are read",
        f"mnist-sgd: {missing}: No such file or directory",
    ]


def test_evaluate_counts_the_validation_images(trained: TrainedFiles, capsys: Output) -> None:
    assert main(["evaluate", str(trained.artifact)]) == 0
    text = capsys.readouterr().out
    assert main(["evaluate", str(trained.artifact), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    (sevens, wrong_sevens), (wrong_threes, threes) = facts["confusion"]
    assert (sevens + wrong_sevens, threes + wrong_threes) == (1028, 1010)
    assert facts["accuracy"] == (sevens + threes) / 2038
    assert f"{facts['accuracy']:.6f}" == trained.stdout.splitlines()[10].split()[3]
    assert f"{sevens + threes:,} of 2,038 correct" in text


def test_inspect_shows_what_the_file_says(trained: TrainedFiles, capsys: Output) -> None:
    assert main(["inspect", str(trained.artifact), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["classes"] == ["7", "3"]
    assert facts["threshold"] == 0.5
    assert facts["model"] == "linear"
    assert facts["preparation"] == "mnist"  # the key of earlier versions
    assert facts["metrics"]["images"] == 2038
    assert facts["data"] == {each.name: each.fingerprint() for each in mnist_sample()}
    assert main(["inspect", str(trained.artifact)]) == 0
    lines = capsys.readouterr().out.splitlines()
    size = trained.artifact.stat().st_size
    assert lines[:8] == [
        f"file           {trained.artifact}",
        f"size           {size:,} bytes, sha256 {facts['sha256']}",
        "classes        7, 3",
        "threshold      0.5: above it the class is 3",
        "input          image uint8 [batch, 28, 28]",
        "output         probability float32 [batch, 1], of 3",
        "preprocessing  mnist",
        "model's pixels float32, (pixel / 255 - mean) / std, mean 0.0, std 1.0",
    ]
    (trained_on,) = (line for line in lines if line.startswith("data "))
    assert trained_on.count(", fingerprint ") == 2


def test_export_makes_the_three_formats_of_the_weights(
    trained: TrainedFiles, tmp_path: Path, capsys: Output
) -> None:
    outputs = [str(tmp_path / name) for name in ("m.onnx", "m.pt", "m.pt2")]
    assert main(["export", str(trained.weights), *outputs]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == outputs
    assert last == f"next: {program()} serve {outputs[0]}"
    assert all(
        "same answers as PyTorch on 2,038 validation images (largest " in line for line in lines
    )
    assert Path(outputs[0]).read_bytes() == trained.artifact.read_bytes()


def test_an_export_says_of_which_images_its_answers_are(
    trained: TrainedFiles, tmp_path: Path, capsys: Output
) -> None:
    """The sample, if nothing else is asked for; it may not be what the model was trained on."""
    file = open_weights(trained.weights)
    model = create_model("linear", seed=0)
    load_weights(model, trained.weights)
    metadata = replace(file.metadata, classes=("cat", "dog"), data={"photos, train": "0" * 32})
    save_weights(model, tmp_path / "other.safetensors", metadata)
    out = tmp_path / "m.onnx"
    assert main(["export", str(tmp_path / "other.safetensors"), str(out)]) == 0
    name = mnist_sample()[1].name
    assert f"same answers as PyTorch on 2,038 images of {name} (largest " in capsys.readouterr().out


def test_the_weights_of_a_run_are_exported_with_a_check_on_its_own_pictures(
    here: Path, capsys: Output
) -> None:
    for name, digit in (("cat", "seven"), ("dog", "three")):
        (here / "pets" / name).mkdir(parents=True)
        for i in range(1, 5):
            for copy in range(2):
                (path,) = (path for path in sample_digits() if path.stem == f"{digit}-{i}")
                image = Image.open(path).rotate(copy * 5)
                image.save(here / "pets" / name / f"{i}-{copy}.png")
    assert main(["train", "--data", "pets", "--run", "a", "--model", "linear"]) == 0
    count = json.loads((here / "runs/a/config.json").read_text())["data"]["valid"]["images"]
    for more, images in (
        ([], f"{count} validation images"),
        (["--dataset", "sample"], f"2,038 images of {mnist_sample()[1].name}"),
    ):
        capsys.readouterr()
        assert main(["export", "runs/a", "m.onnx", *more]) == 0
        assert f"same answers as PyTorch on {images} (largest " in capsys.readouterr().out
        assert Path("m.onnx").read_bytes() == Path("runs/a/model.onnx").read_bytes()
    (here / "pets" / "cat").rename(here / "cat")
    assert main(["export", "runs/a", "m.onnx"]) == 0
    out, err = capsys.readouterr()
    assert f"same answers as PyTorch on 2,038 images of {mnist_sample()[1].name} (" in out
    assert err == (
        "mnist-sgd: note: compared on the sample's images, as those of the run cannot be used: "
        "pets: there is no class 'cat'; the classes are 'dog'\n"
    )
    assert main(["export", "runs/a", "m.onnx", "--data", "pets"]) == 2
    assert capsys.readouterr().err == (
        "mnist-sgd: pets: there is no class 'cat'; the classes are 'dog'\n"
    )


def test_benchmark_gives_every_way_its_images_a_second(capsys: Output) -> None:
    assert main(["benchmark", "--images", "600", "--repeats", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert len(result["images_per_second"]) == 5
    assert all(speed > 0 for speed in result["images_per_second"].values())
    assert main(["benchmark", "--images", "600", "--repeats", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 9


def test_other_sets_are_read_from_torchvisions_folder(tmp_path: Path, capsys: Output) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", 300), ("t10k", 60)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = rng.integers(0, 40, (count, 28, 28), np.uint8)
        images[labels == 8, 8:20] += 200
        write_part(tmp_path / "MNIST" / "raw", part, images, labels)
    data = ["--dataset", "MNIST", "--classes", "1", "8", "--root", str(tmp_path)]
    assert main(["train", *data, "--out", str(tmp_path)]) == 0
    assert main(["evaluate", str(tmp_path / "model.onnx"), *data, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert facts["classes"] == ["1", "8"]
    assert facts["accuracy"] == 1.0
    assert main(["evaluate", str(tmp_path / "model.onnx")]) == 2
    path = tmp_path / "model.onnx"
    assert capsys.readouterr().err == (
        f"mnist-sgd: {path} knows the classes 1 and 8; the sample has 7 and 3, this model was "
        f"trained on 'MNIST': mnist-sgd evaluate {path} --dataset MNIST\n"
    )
    advised = ["--dataset", "MNIST", "--root", str(tmp_path)]
    assert main(["evaluate", str(path), *advised, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == facts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["predict", "x.png"],
            "there is no model.onnx here; train one: mnist-sgd train, or name another: "
            "--model FILE",
        ),
        (["evaluate", "none.onnx"], "none.onnx cannot be read: No such file or directory"),
        (["inspect", "empty.onnx"], "empty.onnx is not a usable artifact: it is empty"),
        (["predict", "*.nothing"], "*.nothing: no file matches the pattern"),
        (
            ["predict", "hollow"],
            "hollow: the folder has no pictures",
        ),
        (["export", "none.safetensors", "m.onnx"], "none.safetensors: there is no such file"),
        (["export", "empty.onnx", "m.onnx"], "empty.onnx: not a safetensors file: "),
        (["train", "--classes", "1", "8"], "the sample has threes and sevens only; choose other"),
        (["train", "--dataset", "KMNIST", "--root", "."], "KMNIST"),
        (["train", "--out", "empty.onnx"], "empty.onnx"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(
    arguments: list[str],
    message: str,
    here: Path,
    capsys: Output,
) -> None:
    (here / "empty.onnx").touch()
    (here / "hollow").mkdir()
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mnist-sgd: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--epochs", "0"], "--epochs must be a whole number above 0, got '0'"),
        (["train", "--lr", "nan"], "--lr must be a positive number or find, got 'nan'"),
        (
            ["train", "--seed", "-1"],
            f"--seed must be a whole number from 0 to {2**64 - 1}, got '-1'",
        ),
        (["train", "--threads", "1000"], "--threads must be a whole number from 1 to 256, got '10"),
        (
            ["train", "--model", "resnet"],
            "must be one of linear, mlp, cnn, cnn_histogram, package.module:factory, got 'resnet'",
        ),
        (["frobnicate"], "there is no command 'frobnicate'; choose from train, compare, export, "),
        (["trian"], "there is no command 'trian' (did you mean train?); mnist-sgd --help shows "),
        (
            ["train", "--dta", "x"],
            "there is no option '--dta' (did you mean --data?); mnist-sgd tr",
        ),
        (["predict", "--jsn"], "there is no option '--jsn' (did you mean --json?); mnist-sgd pr"),
        (["train", "--e", "3"], "'--e' may mean --epochs or --early-stopping; "),
        (["inspect", "a", "b"], "unexpected argument 'b'; "),
        (["inspect", "-x"], "there is no option '-x'; "),
        (["train", "--device", "cud"], "--device must be one of cpu, cuda, got 'cud' (did you mea"),
        (["train", "--json=x"], "--json takes no value, got 'x'; "),
        (["train", "--classes", "1"], "--classes needs a value, as in --classes NEGATIVE POSITI"),
        (["train", "--dataset", "mnist"], ", QMNIST, EMNIST, got 'mnist' (did you mean MNIST?); "),
        (["--debug"], "COMMAND is missing; "),
        (["pack"], "FOLDER, OUT are missing; "),
    ],
)
def test_wrong_arguments_end_with_code_2(
    arguments: list[str], message: str, capsys: Output
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_the_bare_command_shows_its_help(capsys: Output) -> None:
    """As of git and kubectl: it goes through a pager, and nothing is wrong."""
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("usage: mnist-sgd ")
    for name in COMMANDS:
        assert f"\n    {name} " in out or f"\n    {name}\n" in out


def test_the_version_is_that_of_the_installed_package(capsys: Output) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr() == (f"mnist-sgd {version('mnist-sgd')}\n", "")


FAULTY = """\
from torch import nn


class Faulty(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(784, 1)

    def forward(self, x):
        if self.training:
            raise RuntimeError("the fault\\nof mine")
        return self.layer(x)
"""


@pytest.mark.parametrize("before", [True, False])
def test_debug_shows_where_in_a_custom_model_an_error_came_from(
    before: bool, here: Path, capsys: Output
) -> None:
    (here / "faulty_nets.py").write_text(FAULTY)
    train = ["train", "--model", "faulty_nets:Faulty", "--json"]
    assert main(train) == 1
    assert capsys.readouterr().err == "mnist-sgd: the fault of mine; --debug shows where\n"
    assert main(["--debug", *train] if before else [*train, "--debug"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):\n")
    assert 'faulty_nets.py", line 11, in forward\n' in err
    assert err.endswith("\nmnist-sgd: the fault of mine\n")


def test_debug_shows_where_a_model_fails_in_the_trial_before_training(
    here: Path, capsys: Output
) -> None:
    (here / "faulty_tried.py").write_text(FAULTY.replace("self.training", "len(x) > 2"))
    assert main(["train", "--model", "faulty_tried:Faulty", "--debug"]) == 2
    err = capsys.readouterr().err
    assert 'faulty_tried.py", line 11, in forward\n' in err
    assert err.endswith(
        "\nmnist-sgd: faulty_tried:Faulty: it could not be exported: given float32 [B, 784], the "
        "model fails: the fault; nothing was trained\n"
    )


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ("m.txt", "m.txt: the name must end in one of .onnx, .pt, .pt2"),
        ("none/m.pt", "none/m.pt: the folder none does not exist; make it first"),
        ("folder.pt", "folder.pt cannot be written: it is a folder; choose another name"),
    ],
)
def test_export_writes_nothing_if_one_of_its_files_cannot_be_written(
    last: str,
    message: str,
    trained: TrainedFiles,
    here: Path,
    capsys: Output,
) -> None:
    (here / "folder.pt").mkdir()
    assert main(["export", str(trained.weights), "m.onnx", "m.pt", last]) == 2
    assert capsys.readouterr() == ("", f"mnist-sgd: {message}\n")
    assert [path.name for path in here.iterdir()] == ["folder.pt"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["train", "--data"], "--data"),
        (["train", "--cache"], "--cache"),
        (["train", "--root"], "--root"),
        (["train", "--out"], "--out"),
        (["train", "--csv"], "--csv"),
        (["train", "--tensorboard"], "--tensorboard"),
        (["evaluate", "--data"], "--data"),
        (["evaluate", "--plot"], "--plot"),
        (["evaluate", "--write"], "--write"),
        (["evaluate"], "MODEL"),
        (["compare"], "RUN"),
        (["compare", "--html"], "--html"),
        (["inspect"], "MODEL"),
        (["predict", "--model"], "--model"),
        (["pack"], "FOLDER"),
        (["serve"], "MODEL"),
        (["export"], "WEIGHTS"),
        (["export", "model.safetensors"], "OUTPUT"),
    ],
)
def test_an_empty_path_is_refused(arguments: list[str], named: str, capsys: Output) -> None:
    """For example from an unset shell variable; it would mean the current folder."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, ""])
    assert ended.value.code == 2
    text = f"mnist-sgd: {named} must name a file or a folder, got ''; mnist-sgd "
    assert capsys.readouterr().err.startswith(text)


def test_a_failed_export_ends_with_code_1_and_keeps_the_old_file(
    trained: TrainedFiles, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "m.pt"
    output.write_bytes(b"old")
    broken = replace(
        exporter._FORMATS[".pt"], load=lambda path: lambda images: images[:, 0, 0] * 0.0
    )
    monkeypatch.setitem(exporter._FORMATS, ".pt", broken)
    assert main(["export", str(trained.weights), str(output), "--overwrite"]) == 1
    assert "m.pt was not written: TorchScript and torch give " in capsys.readouterr().err
    assert output.read_bytes() == b"old"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_commands_help_teaches_by_examples(name: str, capsys: Output) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"examples:\n  mnist-sgd {name}" in text


def test_a_reader_that_stops_early_is_no_error(trained: TrainedFiles) -> None:
    line = f"{sys.executable} -m mnist_sgd inspect {trained.artifact} | head -c 1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("f", "")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".png", ".jpg", ".gif", ".bmp"]))
def test_any_bytes_as_an_image_give_one_line_and_code_2(
    content: bytes, suffix: str, trained: TrainedFiles, tmp_path: Path, capsys: Output
) -> None:
    image = tmp_path / f"image{suffix}"
    image.write_bytes(content)
    assert main(["predict", str(image), "--model", str(trained.artifact)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"mnist-sgd: {image}: ")
    assert err.count("\n") == 1


def test_photographs_of_any_size_are_classified(
    trained: TrainedFiles, tmp_path: Path, capsys: Output
) -> None:
    shutil.copy(sample_digits()[0], tmp_path / "seven.png")
    with Image.open(sample_digits()[-1]) as three:
        three.convert("RGB").resize((900, 1200)).save(tmp_path / "three.jpg")
    assert main(["predict", str(tmp_path), "--model", str(trained.artifact), "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["label"] for answer in answers] == ["7", "3"]
