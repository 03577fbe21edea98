"""The README and the guides say what is so: their Python runs, their commands and files exist."""

import re
import shlex
from argparse import ArgumentParser
from pathlib import Path
from shutil import copytree
from typing import Any

import matplotlib
import pytest
import torch
from matplotlib import pyplot

import mnist_sgd
import onnx_models
from guides import ROOT, Block, blocks, documents
from mnist_sgd.cli import _parser
from mnist_sgd.data import sample_digits
from pictures import fill
from server import running
from workbenches import service

Names = dict[str, Any]

matplotlib.use("agg")

every_document = pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)


def run(document: Path, names: Names) -> Names:
    """Run a document's blocks one after the other, in one module."""
    for block in blocks(document, "python"):
        exec(block.compiled(), names)  # what is written there is the test
    return names


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the guides' files go."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readmes_python_runs(folder: Path) -> None:
    copytree(ROOT / "mnist_sgd" / "sample", folder / "mnist_sgd" / "sample")
    names = run(ROOT / "README.md", {})
    assert names["learn"].recorder.values[-1][2] > 0.96
    three = "mnist_sgd/sample/digits/three-1.png"
    assert names["Predictor"]("model.onnx").predict(three).label == "3"


def test_the_quick_start_trains_and_exports(folder: Path) -> None:
    learn = run(ROOT / "docs" / "quick_start.md", {})["learn"]
    assert learn.recorder.values[-1][2] > 0.96
    assert (folder / "model.onnx").is_file()


def test_the_loaders_guide_runs() -> None:
    assert run(ROOT / "docs" / "loader.md", {})["world_size"] == 3


def test_the_guide_to_evaluation_asserts_what_is_so() -> None:
    assert run(ROOT / "docs" / "evaluation.md", {})["found"].accuracy == 2 / 3


def test_the_guide_to_several_machines_runs(folder: Path) -> None:
    names: Names = {name: getattr(mnist_sgd, name) for name in mnist_sgd.__all__}
    train, valid = (names["DataLoader"](images, 256) for images in mnist_sgd.mnist_sample())
    names["learn"] = mnist_sgd.Learner(
        mnist_sgd.DataLoaders(train, valid), mnist_sgd.linear(), metrics=mnist_sgd.batch_accuracy
    )
    run(ROOT / "docs" / "several_machines.md", names)
    assert (folder / "model.safetensors").is_file()


def test_the_guide_to_serving_gets_an_answer(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = folder / "model.onnx"
    model.write_bytes(onnx_models.content(onnx_models.linear()))
    (block,) = blocks(ROOT / "docs" / "serving.md", "python")
    with running(model) as server:
        code = block.code.replace("127.0.0.1:8000", f"{server.host}:{server.port}")
        exec(Block(block.document, block.line, "python", code).compiled(), {})
    assert re.fullmatch(r"\[\[0\.\d+\]\]\n", capsys.readouterr().out)


def test_the_guide_to_models_gives_one_that_can_be_trained() -> None:
    model = run(ROOT / "docs" / "models.md", {})["small"]()
    assert model(torch.zeros(4, 784)).shape == (4, 1)


def test_the_guide_for_those_who_know_fastai_trains() -> None:
    names: dict[str, Any] = {"picture": sample_digits()[0]}
    learn = run(ROOT / "docs" / "coming_from_fastai.md", names)["learn"]
    assert names["name"] == names["dls"].vocab[names["label"]]
    pyplot.close("all")
    assert learn.recorder.values[-1][2] > 0.96
    with pytest.raises(AttributeError) as raised:
        _ = learn.to_fp16
    assert f"AttributeError: {raised.value}\n" in (ROOT / "docs/coming_from_fastai.md").read_text()


def test_the_guide_to_the_training_service_trains(folder: Path) -> None:
    fill(folder / "photos", {"cat": 12, "dog": 12})
    names = run(ROOT / "docs" / "workbench.md", {})
    with service(folder / "home") as started:
        content = names["train_on_photos"](started.address)
        (training,) = started.client.trainings()
    assert training["state"] == "finished"
    assert content == (folder / "home" / "runs" / "0001-cnn" / "model.onnx").read_bytes()


def test_no_other_document_has_python() -> None:
    """That of own_images.md is run by tests/cli/test_own_images_guide.py."""
    run_here = ["coming_from_fastai", "evaluation", "loader", "models", "own_images", "serving"]
    run_here += ["quick_start", "several_machines", "workbench"]
    guides = {f"{name}.md" for name in run_here}
    others = [path for path in documents() if path.name not in {"README.md", *guides}]
    assert [block for path in others for block in blocks(path, "python")] == []


@every_document
def test_every_command_of_a_document_is_one_that_there_is(document: Path) -> None:
    lines = (
        line
        for block in blocks(document, "sh")
        for line in block.code.replace("\\\n", " ").splitlines()
    )
    for line in lines:
        for command in re.split(r"&&|\|", line):
            words = shlex.split(command, comments=True)
            if words and words[0].endswith("mnist-sgd"):
                parsed(_parser(), words[1:], line)


def parsed(parser: ArgumentParser, words: list[str], line: str) -> None:
    try:
        parser.parse_args(words)
    except SystemExit:
        pytest.fail(f"there is no such command: {line}")


@every_document
def test_every_file_that_a_document_links_to_exists(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if not target.startswith(("http:", "https:")):
            path, _, anchor = target.partition("#")
            file = document.parent / path if path else document
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), target


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}
