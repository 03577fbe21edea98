"""What a new user's first hour shows in a notebook: tables, pictures and bars, in place of text."""

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import onnx_models
from mnist_sgd import Callback, EarlyStopping, Recorder, evaluate, mnist_sample
from mnist_sgd.training.callbacks.notebook_table import NotebookTable
from mnist_sgd_serve import Predictor
from runs import learner

CELLS = [
    "from mnist_sgd import *\ntrain, valid = mnist_sample()\ntrain",
    "dls = DataLoaders(DataLoader(train, bs=256), DataLoader(valid, bs=256))\n"
    "learn = Learner(dls, linear(), opt_func=SGD, loss_func=mnist_loss, metrics=batch_accuracy)\n"
    "learn",
    "learn.lr_find()",
    "learn.fit(2, lr=1.0)",
    "learn",
    "learn.fit(1, lr=1.0)\nlearn.fit(1, lr=1.0)",
    "try:\n    learn.fit(1, lr='x')\nexcept TypeError as error:\n    print(error)",
    "probabilities, targets = learn.get_preds()\n"
    "evaluate(probabilities.flatten().numpy(), targets.flatten().numpy())",
    "learn.export('model.onnx')\nfrom mnist_sgd_serve import Predictor\n"
    "model = Predictor('model.onnx')\nmodel",
    "model.predict(valid.images[0])",
    "dls",
    "learn.recorder",
    "[EarlyStopping(2), SaveBest()]",
]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The cells, executed, with their outputs."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in CELLS])
    folder = tmp_path_factory.mktemp("notebook")
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}})
    done: Any = client.execute()
    return list(done.cells)


def html(cell: Any) -> list[str]:
    shown = [output.get("data", {}) for output in cell.outputs]
    return [data["text/html"] for data in shown if "text/html" in data]


def test_nothing_shows_an_address_or_a_warning(cells: list[Any]) -> None:
    text = json.dumps([cell.outputs for cell in cells])
    assert "object at 0x" not in text
    assert [o for cell in cells for o in cell.outputs if o.get("name") == "stderr"] == []


def test_a_set_shows_images_of_each_class(cells: list[Any]) -> None:
    (shown,) = html(cells[0])
    assert "MNIST sample, train: 12,396 images" in shown
    assert re.findall(r"<th[^>]*>(.*?)</th>", shown) == ["7: 6,265", "3: 6,131"]
    assert shown.count("data:image/png;base64,") == 2


def test_a_learner_shows_its_parts_and_then_its_last_fit(cells: list[Any]) -> None:
    (before,), (after,) = html(cells[1]), html(cells[4])
    assert "linear" in before
    assert "Not trained yet: call fit." in before
    assert re.findall(r"<th>(.*?)</th>", after) == [
        *("epoch", "train_loss", "valid_loss", "batch_accuracy")
    ]
    assert after.count("<tr><td>") == 2


def test_the_finder_shows_its_plot(cells: list[Any]) -> None:
    (shown,) = html(cells[2])
    assert "<img" in shown
    assert re.search(r"<p>valley: [\d.e-]+</p>", shown)


def test_a_fit_shows_one_table_that_ends_without_a_bar(cells: list[Any]) -> None:
    for cell, fits, epochs in ((cells[3], 1, 2), (cells[5], 2, 1)):
        tables = html(cell)
        assert len(tables) == fits
        for shown in tables:
            assert re.findall(r"<th>(.*?)</th>", shown)[-1] == "time"
            assert shown.count("<tr><td>") == epochs
            assert "progress" not in shown
        assert [output for output in cell.outputs if output.output_type == "stream"] == []


def test_a_refused_fit_leaves_no_table(cells: list[Any]) -> None:
    assert html(cells[6]) == []


def test_an_evaluation_shows_the_share_and_the_confusion_matrix(cells: list[Any]) -> None:
    (shown,) = html(cells[7])
    assert re.search(r"[\d,]+ of 2,038 correct, \d\d\.\d % \(95 % interval", shown)
    assert "predicted positive" in shown


def test_a_prediction_shows_the_picture_and_a_bar_a_class(cells: list[Any]) -> None:
    (shown,) = html(cells[9])
    assert shown.count("<meter") == 2
    assert shown.count("<img") == 1


def test_a_bar_is_shown_while_batches_are_computed() -> None:
    table = NotebookTable()
    shown: list[str] = []
    table._show = lambda: shown.append(table._repr_html_())  # type: ignore[method-assign]
    table("epoch     loss      time    ")
    table.draw("Epoch 1/1 train ", 3, 10, " 3/10 loss 0.5")
    table("0         0.250000  00:00     ")
    table.erase()
    assert '<progress value="3" max="10">' in shown[1]
    assert shown[2].count("<td>") == 3
    assert "progress" not in shown[3]
    table("1         123456789.123456  00:00     ")
    assert table._repr_html_().count("<td>") == 6
    table("2         1234567890.12345600:00     ")  # columns that touch
    assert table._repr_html_().startswith("<pre>epoch")


def test_texts_are_escaped(tmp_path: Path) -> None:
    from dataclasses import replace

    train, _ = mnist_sample()
    odd = replace(train, name="<b>", classes=("<i>", "&"))
    assert "<b>" not in odd._repr_html_()
    assert "<i>" not in odd._repr_html_()
    model = tmp_path / "model.onnx"
    model.write_bytes(onnx_models.content(onnx_models.linear()))
    prediction = replace(Predictor(model).predict(np.eye(28, dtype=np.uint8) * 255), label="<b>")
    assert "<b>" not in prediction._repr_html_()


def test_objects_say_in_text_what_they_are() -> None:
    learn = learner()
    assert repr(learn).startswith("Learner(model: ")
    assert repr(learn.dls).startswith("DataLoaders(train=DataLoader(ImageSet(")
    assert repr(EarlyStopping(2)).startswith("EarlyStopping(patience=2")
    assert repr(Callback()) == "Callback()"
    assert repr(Recorder([])) == "Recorder(0 epochs, 0 batches: train_loss, valid_loss)"
    found = evaluate([0.9, 0.2, 0.7], [1, 0, 0])
    assert repr(found) == "Evaluation(2 of 3 correct, accuracy=0.6667, auc=1.0000)"
