"""Exported files agree with the learner and its metrics, with any loader, model or callback."""

import copy
import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from inspect import getsource
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor, nn
from torch.utils.data import Dataset

from hooks import StopAfter
from mnist_sgd import (
    Augmentation,
    Callback,
    Checkpoint,
    DataLoader,
    DataLoaders,
    ExportError,
    Learner,
    SaveBest,
    batch_accuracy,
    create_model,
    cross_entropy,
    mnist_loss,
    mnist_sample,
    write_run,
)
from mnist_sgd.cli import main
from mnist_sgd.data import ImageSet
from mnist_sgd.export import exported_program, onnx_file, torchscript
from mnist_sgd.models.weights import WeightsError, read_weights
from mnist_sgd.report.folder import ARTIFACT, WEIGHTS
from mnist_sgd.training.metadata import measured_row, measured_state
from mnist_sgd_serve import Metadata, Predictor
from runs import easy_set

RUNTIMES = {".onnx": onnx_file.load, ".pt": torchscript.load, ".pt2": exported_program.load}


class Reader(nn.Module):
    """Takes pixels of any dtype and shape, as a model for such a loader does."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.layers = nn.Sequential(nn.Linear(784, 4), nn.ReLU(), nn.Linear(4, 1)).to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.uint8:
            x = x.float() / 255
        logits: Tensor = self.layers(self.flatten(x).to(self.layers[0].weight.dtype))
        return logits


def learner(
    model: nn.Module | None = None,
    *,
    epochs: int = 2,
    valid: ImageSet | None = None,
    kind: type[DataLoader] = DataLoader,
    valid_options: dict[str, Any] | None = None,
    metrics: Any = batch_accuracy,
    cbs: Any = (),
    **options: Any,
) -> Learner:
    """A learner that has trained; three labels are wrong, so its accuracy is below 1."""
    torch.manual_seed(0)
    model = create_model("linear", 0) if model is None else model
    valid = easy_set(60, flipped=3) if valid is None else valid
    dls = DataLoaders(
        DataLoader(easy_set(120), 20, shuffle=True, **options),
        kind(valid, 16, **options, **(valid_options or {})),
    )
    learn = Learner(dls, model, metrics=metrics, cbs=cbs)
    with learn.no_logging():
        learn.fit(epochs, lr=0.5)
    return learn


def answers(path: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return RUNTIMES[path.suffix](path)(np.array(images))


def metadata_of(path: Path) -> Metadata:
    """Of a file in any of the formats."""
    if path.suffix == ".onnx":
        return Predictor(path).metadata
    with safe_open(path, "pt") as file:
        return Metadata.from_properties(json.loads(file.metadata()["mnist_sgd"]))


NORMALISATIONS = [(0.0, 1.0), (0.1307, 0.3081)]
KINDS = [
    (dtype, normalisation)
    for dtype, normalisation in product(
        [torch.float32, torch.bfloat16, torch.uint8], NORMALISATIONS
    )
    if dtype != torch.uint8 or normalisation == NORMALISATIONS[0]
]


@pytest.mark.parametrize("suffix", RUNTIMES)
@pytest.mark.parametrize("flatten", [True, False])
@pytest.mark.parametrize(("dtype", "normalisation"), KINDS, ids=str)
def test_a_file_predicts_what_the_learner_does(
    dtype: torch.dtype,
    normalisation: tuple[float, float],
    flatten: bool,
    suffix: str,
    tmp_path: Path,
) -> None:
    mean, std = normalisation
    model = Reader(torch.bfloat16 if dtype == torch.bfloat16 else torch.float32)
    learn = learner(model, dtype=dtype, mean=mean, std=std, flatten=flatten)
    path = tmp_path / f"model{suffix}"
    learn.export(path)
    images, labels = learn.own_loader().dataset.images, learn.own_loader().dataset.labels
    given = answers(path, images)
    expected, targets = learn.get_preds()
    np.testing.assert_allclose(given, expected.float().numpy().reshape(-1), rtol=0, atol=1e-5)
    loss, accuracy = learn.validate()
    assert 0.6 < accuracy < 1
    assert np.mean((given > 0.5) == (labels == 1)) == pytest.approx(accuracy, abs=1e-6)
    assert np.abs(targets.numpy().reshape(-1) - given).mean() == pytest.approx(loss, abs=1e-5)
    for i in (0, 1, 7):
        name, label, probability = learn.predict(images[i])
        assert (name, label) == (("left", "right")[label], int(given[i] > 0.5))
        assert probability == pytest.approx(given[i], abs=1e-5)


def test_a_float_model_on_a_bfloat16_loader_sees_the_rounded_pixels(tmp_path: Path) -> None:
    class Sharp(nn.Module):
        """Tells a pixel from the one that bfloat16 makes of it."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            x = x.float() * 255
            return ((x - x.round()).abs().sum(1, keepdim=True) - 10) * self.scale

    learn = learner(Sharp(), epochs=0, dtype=torch.bfloat16)
    learn.export(tmp_path / "model.onnx")
    given = answers(tmp_path / "model.onnx", learn.own_loader().dataset.images)
    assert given.min() > 0.9  # the pixels themselves would give 0
    np.testing.assert_allclose(given, learn.get_preds()[0].numpy().reshape(-1), atol=1e-5)


@pytest.mark.parametrize("name", ["linear", "mlp", "cnn", "cnn_histogram"])
def test_bfloat16_models_are_rounded_in_onnxruntime_where_torch_rounds_them(
    name: str, tmp_path: Path
) -> None:
    learn = learner(create_model(name, 0).bfloat16(), dtype=torch.bfloat16)
    report = learn.export(tmp_path / "model.onnx")
    assert report.max_difference < 1e-6
    assert metadata_of(tmp_path / "model.onnx").dtype == "bfloat16"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.uint8], ids=str)
@pytest.mark.parametrize("flatten", [True, False])
def test_the_command_exports_saved_weights_as_the_learner_did(
    dtype: torch.dtype,
    flatten: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    imports = "import torch\nfrom torch import Tensor, nn\n\n"
    (tmp_path / "check_nets.py").write_text(imports + getsource(Reader))
    monkeypatch.setitem(sys.modules, "check_nets", None)  # and after the test as before it
    del sys.modules["check_nets"]
    monkeypatch.chdir(tmp_path)
    model = Reader(torch.bfloat16 if dtype == torch.bfloat16 else torch.float32)
    learn = learner(model, dtype=dtype, flatten=flatten, epochs=1)
    learn.save("w.safetensors")
    learn.export("learner.onnx")
    factory = ["--model", "check_nets:Reader"]
    assert main(["export", "w.safetensors", "command.onnx", *factory]) == 0
    capsys.readouterr()
    images = easy_set(60).images
    command, own = (answers(Path(f"{name}.onnx"), images) for name in ("command", "learner"))
    np.testing.assert_array_equal(command, own)


# --- what the graph cannot do


class Inverted(Callback):
    """Turns light and dark round, as a preprocessing would."""

    def before_batch(self, learn: Learner) -> None:
        learn.xb = 1 - learn.xb


class Flat(Callback):
    """Takes the certainty off the answers."""

    def after_pred(self, learn: Learner) -> None:
        learn.pred = learn.pred / 10


class InvertedLoader(DataLoader):
    """Turns light and dark round in its batches."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:  # type: ignore[override]
        for xb, yb in super().__iter__():
            yield 1 - xb, yb


class ShuffledLoader(DataLoader):
    """Answers in another order, which is no harm."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:  # type: ignore[override]
        for xb, yb in super().__iter__():
            yield xb.flip(0), yb.flip(0)


class HalfLoader(DataLoader):
    """Leaves batches out."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:  # type: ignore[override]
        for i, batch in enumerate(super().__iter__()):
            if i % 2:
                yield batch


OTHER_ANSWERS = (
    r"model\.onnx was not written: the learner and the file give \d+ of 60 validation images "
    r"different labels and probabilities up to [01][.\d]* apart; 1e-05 is allowed\. The file holds "
    r"the model and the loader's mean, std and dtype, but not what callbacks or a loader's "
    r"subclass do to batches and predictions: do that in the model$"
)


@pytest.mark.parametrize(
    "options",
    [{"cbs": Inverted()}, {"cbs": Flat()}, {"kind": InvertedLoader}],
    ids=["inverted", "flat", "inverted loader"],
)
def test_a_file_that_predicts_something_else_than_the_learner_is_refused(
    options: dict[str, Any], tmp_path: Path
) -> None:
    learn = learner(**options)
    with pytest.raises(ExportError, match=OTHER_ANSWERS):
        learn.export(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


class Normalised(Callback):
    """Changes the answers a little, and hardly a label."""

    def before_batch(self, learn: Learner) -> None:
        learn.xb = (learn.xb - 0.01) / 0.99


class Squashed(nn.Module):
    """Returns probabilities, as many people write it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(784, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.layer(x).squeeze(1)).unsqueeze(1)


@pytest.mark.parametrize("options", [{}, {"mean": 0.5, "std": 0.5}], ids=str)
def test_a_model_that_gives_probabilities_itself_is_not_squashed_again(
    options: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match="^the model ends in a sigmoid, and mnist_loss applies"):
        learn = learner(Squashed(), **options)
    message = "^the model ends in a sigmoid, and its output goes through another, after which a"
    with pytest.raises(ExportError, match=message.replace("^", r"model\.onnx was not written: ")):
        learn.export(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=message + r".*; or give act=None$"):
        learn.get_preds()
    with pytest.raises(ValueError, match=message):
        learn.predict(learn.own_loader().dataset.images[0])
    probabilities, _ = learn.get_preds(act=None)
    assert 0 <= probabilities.min() <= probabilities.max() <= 1


def test_a_sigmoid_before_the_last_layer_is_allowed(tmp_path: Path) -> None:
    learn = learner(nn.Sequential(nn.Linear(784, 4), nn.Sigmoid(), nn.Linear(4, 1)))
    learn.export(tmp_path / "model.onnx")
    learn.get_preds()


@pytest.mark.parametrize("callback", [Inverted(), Normalised()], ids=["inverted", "normalised"])
def test_a_callback_of_the_fit_alone_is_found_by_the_figures_of_its_row(
    callback: Callback, tmp_path: Path
) -> None:
    learn = learner(epochs=0)
    with learn.no_logging():
        learn.fit(1, lr=0.01, cbs=callback)
    with pytest.raises(
        ExportError,
        match=r"model\.onnx was not written: the fit measured a valid_loss of 0\.\d{6} with these "
        r"weights, the file's is 0\.\d{6}: that fit differed in more than the weights, as by a "
        r"callback that changes the batches or the predictions, which the file cannot do; do that "
        r"in the model, or, if the model was changed after the fit, call learn\.fit\(0\), after "
        r"which export measures it again$",
    ):
        learn.export(tmp_path / "model.onnx")


def total(logits: Tensor, targets: Tensor) -> Tensor:
    return mnist_loss(logits, targets) * len(targets)


def spread(logits: Tensor, targets: Tensor) -> Tensor:
    return mnist_loss(logits, targets) + logits.std()


def pairs(logits: Tensor, targets: Tensor) -> Tensor:
    """Each of a class with each of the other, as for the area under the curve."""
    ones, others = logits[targets == 1], logits[targets == 0]
    return torch.relu(1 - ones[:, None] + others).sum() / max(1, len(ones) * len(others))


def noisy(logits: Tensor, targets: Tensor) -> Tensor:
    return mnist_loss(logits + torch.randn_like(logits) / 10, targets)


class OfBatches(nn.Module):
    """Has a weight for each place in a batch, and takes no other number of images."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = {size: torch.linspace(0, 1, size)[:, None] for size in (20, 16, 12)}

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return ((logits.sigmoid() - targets).abs() * self.weights[len(targets)]).mean()


@pytest.mark.parametrize(
    "loss",
    [total, spread, pairs, noisy, OfBatches()],
    ids=["total", "spread", "pairs", "noisy", "of batches"],
)
def test_a_loss_that_is_no_mean_over_images_is_no_hindrance(
    loss: Callable[[Tensor, Tensor], Tensor], tmp_path: Path
) -> None:
    """Its figure depends on how a validation in another order cuts the images into batches."""

    class Relabelled(Callback):
        def before_batch(self, learn: Learner) -> None:
            learn.yb = 1 - learn.yb

    learn = learner(valid_options={"shuffle": True})
    learn.loss_func = loss
    with learn.no_logging():
        learn.fit(1, lr=0.01)
    state = torch.get_rng_state()
    learn.export(tmp_path / "model.onnx")
    assert torch.equal(torch.get_rng_state(), state)
    with learn.no_logging():
        learn.fit(1, lr=0.0, cbs=Relabelled())  # which the accuracy tells
    with pytest.raises(ExportError, match="the fit measured a batch_accuracy of "):
        learn.export(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "loss",
    [cross_entropy, nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0]))],
    ids=["cross_entropy", "BCEWithLogitsLoss"],
)
def test_a_loss_that_is_a_mean_over_images_proves_a_file(
    loss: Callable[[Tensor, Tensor], Tensor], tmp_path: Path
) -> None:
    class Halved(Callback):
        def before_batch(self, learn: Learner) -> None:
            learn.xb = learn.xb / 2

    def take_floats(logits: Tensor, targets: Tensor) -> Tensor:
        return loss(logits, targets.float())

    learn = learner(epochs=0, metrics=None, valid_options={"shuffle": True})
    learn.loss_func = take_floats
    with learn.no_logging():
        learn.fit(1, lr=0.01)
    learn.export(tmp_path / "model.onnx")
    with learn.no_logging():
        learn.fit(1, lr=0.01, cbs=Halved())
    with pytest.raises(ExportError, match="the fit measured a valid_loss of "):
        learn.export(tmp_path / "model.onnx")


def test_a_callback_that_changes_the_loss_alone_is_no_hindrance(tmp_path: Path) -> None:
    class Penalty(Callback):
        def after_loss(self, learn: Learner) -> None:
            learn.loss = learn.loss + 1

    learn = learner(epochs=0)
    with learn.no_logging():
        learn.fit(1, lr=0.5, cbs=Penalty())
    learn.export(tmp_path / "model.onnx")
    assert metadata_of(tmp_path / "model.onnx").metrics["valid_loss"] > 1


def test_a_loader_of_another_order_is_verified_and_one_that_omits_images_is_refused(
    tmp_path: Path,
) -> None:
    learn = learner(kind=ShuffledLoader)
    before = learn.own_loader().state_dict()
    learn.export(tmp_path / "shuffled.onnx")
    assert learn.own_loader().state_dict() == before
    with pytest.raises(
        ExportError,
        match=r"half\.onnx was not written: the learner predicts 28 images, not each of the 60 of "
        r"the validation set once: a callback or the loader omits or repeats some$",
    ):
        learner(kind=HalfLoader).export(tmp_path / "half.onnx")


def test_a_wider_tolerance_is_the_callers_choice(tmp_path: Path) -> None:
    class Nudge(Callback):
        def after_pred(self, learn: Learner) -> None:
            learn.pred = learn.pred + 1e-3

    learn = learner(cbs=Nudge(), epochs=0)
    with pytest.raises(ExportError, match="1e-05 is allowed"):
        learn.export(tmp_path / "model.onnx")
    learn.export(tmp_path / "model.onnx", tolerance=1e-3)


def test_comparing_with_the_learner_does_not_change_it_also_in_a_fit(tmp_path: Path) -> None:
    class Exporting(Callback):
        def after_batch(self, learn: Learner) -> None:
            if learn.training and learn.batch == 1:
                before = {name: getattr(learn, name) for name in ("xb", "yb", "pred", "loss")}
                learn.export(tmp_path / "model.pt")
                assert all(getattr(learn, name) is value for name, value in before.items())
                assert learn.training
                assert learn.model.training

    model = Reader()
    plain, exporting = learner(copy.deepcopy(model)), learner(model, cbs=Exporting())
    assert exporting.recorder.values == plain.recorder.values
    assert (tmp_path / "model.pt").is_file()


# --- metrics belong to the weights, or are not there


def saved_metrics(learn: Learner, folder: Path) -> dict[str, float]:
    learn.save(folder / "w.safetensors")
    return dict(metadata_of(folder / "w.safetensors").metrics)


def exported_metrics(learn: Learner, folder: Path) -> dict[str, float]:
    learn.export(folder / "m.onnx")
    return dict(metadata_of(folder / "m.onnx").metrics)


def row(learn: Learner, index: int = -1) -> dict[str, float]:
    _, loss, accuracy = learn.recorder.values[index]
    return {"valid_loss": loss, "batch_accuracy": accuracy, "images": 60}


def load_others(learn: Learner) -> None:
    learn.load(OTHERS)


def stop_within_an_epoch(learn: Learner) -> None:
    with learn.no_logging():
        learn.fit(2, lr=0.1, cbs=StopAfter(9))


def interrupt_within_an_epoch(learn: Learner) -> None:
    with learn.no_logging(), pytest.raises(KeyboardInterrupt):
        learn.fit(2, lr=0.1, cbs=StopAfter(9, KeyboardInterrupt))


def change_by_hand(learn: Learner) -> None:
    next(learn.model.parameters()).data[0, :400] = 0


def change_after_the_epoch(learn: Learner) -> None:
    class Clip(Callback):
        def after_epoch(self, learn: Learner) -> None:
            next(learn.model.parameters()).data.clamp_(-0.01, 0.01)

    with learn.no_logging():
        learn.fit(1, lr=0.1, cbs=Clip())


def take_other_images(learn: Learner) -> None:
    learn.dls.valid = DataLoader(easy_set(60, flipped=9), 16)


def take_another_model(learn: Learner) -> None:
    learn.model = create_model("linear", 5)


OTHERS = Path("others.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        load_others,
        stop_within_an_epoch,
        interrupt_within_an_epoch,
        change_by_hand,
        change_after_the_epoch,
        take_other_images,
        take_another_model,
    ],
)
def test_metrics_of_other_weights_are_never_in_a_file(
    change: Callable[[Learner], None], here: Path
) -> None:
    learner(create_model("linear", 9), epochs=0).save(OTHERS)
    learn = learner()
    assert saved_metrics(learn, here) == exported_metrics(learn, here) == row(learn)
    change(learn)
    assert saved_metrics(learn, here) == {"images": 60}
    loss, accuracy = learn.validate()
    expected = {"valid_loss": loss, "batch_accuracy": accuracy, "images": 60}
    assert exported_metrics(learn, here) == expected


def test_weights_of_an_earlier_epoch_have_its_metrics(tmp_path: Path) -> None:
    learn = learner(epochs=0)
    with learn.no_logging():
        learn.fit(4, lr=0.5, cbs=SaveBest(tmp_path / "best.safetensors", monitor="train_loss"))
        learn.fit(1, lr=0.5)
        learn.save(tmp_path / "first.safetensors")
        first = row(learn)
        learn.fit(2, lr=0.5)
    learn.load(tmp_path / "first.safetensors")
    assert saved_metrics(learn, tmp_path) == {"images": 60}  # the recorder is of another fit
    assert metadata_of(tmp_path / "first.safetensors").metrics == first


@pytest.mark.parametrize(
    "options", [{"augment": Augmentation(degrees=30)}, {"drop_last": True}], ids=str
)
def test_metrics_of_other_images_than_the_validation_images_are_measured_anew(
    options: dict[str, Any], tmp_path: Path
) -> None:
    learn = learner(valid_options=options)
    assert saved_metrics(learn, tmp_path) == {"images": 60}
    learn.export(tmp_path / "m.onnx")
    images, labels = learn.own_loader().dataset.images, learn.own_loader().dataset.labels
    given = answers(tmp_path / "m.onnx", images)
    metrics = metadata_of(tmp_path / "m.onnx").metrics
    assert metrics["batch_accuracy"] == pytest.approx(np.mean((given > 0.5) == (labels == 1)))
    assert metrics["valid_loss"] == pytest.approx(np.abs(labels - given).mean(), abs=1e-6)


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """Makes each item on access."""

    def __init__(self, images: ImageSet) -> None:
        self.x = torch.tensor(images.images).reshape(-1, 784).float() / 255
        self.y = torch.tensor(images.labels).long()[:, None]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


def batches_of(images: ImageSet) -> list[tuple[Tensor, Tensor]]:
    return [(x, y) for x, y in DataLoader(images, 16)]


Source = Callable[[ImageSet], Any]

SOURCES: dict[str, Source] = {
    "whole": lambda images: DataLoader(images, 16),
    "dropped": lambda images: DataLoader(images, 16, drop_last=True),
    "augmented": lambda images: DataLoader(images, 16, augment=Augmentation(degrees=40)),
    "normalised": lambda images: DataLoader(images, 16, mean=0.1),
    "subclass": lambda images: InvertedLoader(images, 16),
    "half": lambda images: DataLoader(images, 16, rank=0, world_size=2),
    "pairs": lambda images: DataLoader(Pairs(images), 16),
    "dropped pairs": lambda images: DataLoader(Pairs(images), 16, drop_last=True),
    "torch": lambda images: torch.utils.data.DataLoader(Pairs(images), 16),
    "torch dropped": lambda images: torch.utils.data.DataLoader(Pairs(images), 16, drop_last=True),
    "batches": batches_of,
}
REFUSED = ("normalised", "half")
"""A fit with these is refused."""


@pytest.mark.parametrize("before", [name for name in SOURCES if name not in REFUSED])
def test_metrics_of_other_validation_data_are_never_in_a_file(before: str, tmp_path: Path) -> None:
    """A file has metrics only if the data are known to be the same."""
    learn = learner(epochs=0)
    learn.dls.valid = SOURCES[before](easy_set(60, flipped=3))
    with learn.no_logging():
        learn.fit(1, lr=0.5)
    _, loss, accuracy = learn.recorder.values[0]
    for after in SOURCES:
        learn.dls.valid = SOURCES[after](easy_set(60, flipped=9))
        assert set(saved_metrics(learn, tmp_path)) <= {"images"}
        learn.dls.valid = SOURCES[after](easy_set(60, flipped=3))
        saved = saved_metrics(learn, tmp_path)
        assert saved.pop("images", 60) == 60
        known = before == after == "whole"
        assert saved == ({"valid_loss": loss, "batch_accuracy": accuracy} if known else {})


@pytest.mark.parametrize("kind", ["pairs", "subclass", "torch", "batches"])
def test_metrics_of_unchanged_validation_data_are_in_the_file(kind: str, tmp_path: Path) -> None:
    learn = learner(epochs=0)
    learn.dls.valid = SOURCES[kind](easy_set(60, flipped=3))
    with learn.no_logging():
        learn.fit(1, lr=0.5)
    _, loss, accuracy = learn.recorder.values[0]
    saved = saved_metrics(learn, tmp_path)
    assert (saved["valid_loss"], saved["batch_accuracy"]) == (loss, accuracy)


def test_a_batch_that_was_changed_in_place_counts_as_other_data(tmp_path: Path) -> None:
    learn = learner(epochs=0)
    learn.dls.valid = batches = batches_of(easy_set(60, flipped=3))
    with learn.no_logging():
        learn.fit(1, lr=0.5)
    assert saved_metrics(learn, tmp_path) != {}
    for changed in (batches[1][0], batches[2][1]):
        state = measured_state(learn)
        changed.add_(1)
        assert measured_state(learn) != state
        assert saved_metrics(learn, tmp_path) == {}


def test_a_model_of_other_layers_has_no_metrics_of_the_one_before(tmp_path: Path) -> None:
    """The weights have the same names in both; dropout in training changes nothing."""
    learn = learner(nn.Sequential(nn.Linear(784, 4), nn.ReLU(), nn.Dropout(0.1), nn.Linear(4, 1)))
    layers: Any = learn.model
    layers[2].p = 0.5
    assert saved_metrics(learn, tmp_path) == row(learn)
    layers[1] = nn.Tanh()
    assert saved_metrics(learn, tmp_path) == {"images": 60}


class Steep(nn.Module):
    """Multiplies its logits by a number that is no weight."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(784, 1)
        self.steepness = 1.0

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x)
        return logits * self.steepness


class Watched(Steep):
    """Counts its calls and keeps what it answered last, to be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.last: Any = None

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        self.calls += 1
        self.last = logits.detach()
        return logits


def test_what_a_model_notes_of_its_calls_does_not_take_its_metrics(tmp_path: Path) -> None:
    learn = learner(Watched())
    assert saved_metrics(learn, tmp_path) == row(learn)
    learn.predict(learn.own_loader().dataset.images[0])
    assert saved_metrics(learn, tmp_path) == row(learn)
    learn.export(tmp_path / "model.onnx")
    assert Predictor(tmp_path / "model.onnx").metadata.metrics == row(learn)
    flatten_model(learn)
    assert saved_metrics(learn, tmp_path) == {"images": 60}


class Settings:
    """An object that nothing looks into."""

    steepness = 1.0


def test_a_model_that_was_changed_out_of_sight_can_be_measured_anew(tmp_path: Path) -> None:
    class Hidden(Steep):
        def __init__(self) -> None:
            super().__init__()
            self.settings = Settings()

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = super().forward(x) * self.settings.steepness
            return logits

    learn = learner(Hidden())
    model: Any = learn.model
    model.settings.steepness = 0.5
    with pytest.raises(ExportError, match=r"call learn\.fit\(0\), after which export measures it"):
        learn.export(tmp_path / "model.onnx")
    learn.fit(0)
    learn.export(tmp_path / "model.onnx")
    loss, accuracy = learn.validate()
    metrics = Predictor(tmp_path / "model.onnx").metadata.metrics
    assert metrics == {"valid_loss": loss, "batch_accuracy": accuracy, "images": 60}


class Weighted:
    """A loss with a number in it, as an object or as its method."""

    def __init__(self) -> None:
        self.weight = 1.0

    def __call__(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return mnist_loss(predictions, targets) * self.weight

    def loss(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return self(predictions, targets)


def flatten_model(learn: Learner) -> None:
    model: Any = learn.model
    model.steepness = 0.5


def flatten_by_tensor(learn: Learner) -> None:
    model: Any = learn.model
    model.steepness = torch.tensor(0.5)


def halve_object(learn: Learner) -> None:
    loss: Any = learn.loss_func
    loss.weight /= 2


def halve_method(learn: Learner) -> None:
    loss: Any = learn.loss_func
    loss.__self__.weight /= 2


@pytest.mark.parametrize("when", ["in the fit", "after it"])
@pytest.mark.parametrize(
    ("loss", "change"),
    [
        (mnist_loss, flatten_model),
        (mnist_loss, flatten_by_tensor),
        (Weighted(), halve_object),
        (Weighted().loss, halve_method),
    ],
    ids=["model", "tensor", "object", "method"],
)
def test_figures_from_before_a_number_of_the_model_or_the_loss_changed_are_never_in_a_file(
    loss: Any, change: Callable[[Learner], None], when: str, tmp_path: Path
) -> None:
    class Change(Callback):
        def after_epoch(self, learn: Learner) -> None:
            change(learn)

    learn = learner(Steep(), epochs=0)
    learn.loss_func = loss
    with learn.no_logging():
        learn.fit(1, lr=0.5, cbs=Change() if when == "in the fit" else None)
    if when == "after it":
        assert saved_metrics(learn, tmp_path) == row(learn)
        change(learn)
    assert saved_metrics(learn, tmp_path) == {"images": 60}
    value, accuracy = learn.validate()
    expected = {"valid_loss": value, "batch_accuracy": accuracy, "images": 60}
    assert exported_metrics(learn, tmp_path) == expected


# --- metrics and losses of one name


def scaled(factor: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda predictions, targets: mnist_loss(predictions, targets) * factor


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return mnist_loss(predictions, targets) * self.factor


def partly(factor: float) -> Any:
    def loss(predictions: Tensor, targets: Tensor, *, factor: float) -> Tensor:
        return mnist_loss(predictions, targets) * factor

    return partial(loss, factor=factor)


@pytest.mark.parametrize("make", [scaled, Scaled, partly])
def test_another_loss_of_the_same_name_is_another_loss(
    make: Callable[[float], Any], tmp_path: Path
) -> None:
    learn = learner(epochs=0)
    learn.loss_func = make(3.0)
    with learn.no_logging():
        learn.fit(1, lr=0.1)
    learn.loss_func = make(3.0)
    assert saved_metrics(learn, tmp_path) == row(learn)
    learn.loss_func = make(1.0)
    assert saved_metrics(learn, tmp_path) == {"images": 60}
    loss, accuracy = learn.validate()
    measured_now = {"valid_loss": loss, "batch_accuracy": accuracy, "images": 60}
    assert exported_metrics(learn, tmp_path) == measured_now


def called(name: str, value: float) -> Any:
    def metric(predictions: Tensor, targets: Tensor) -> float:
        return value

    metric.__name__ = name
    return metric


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ([batch_accuracy, called("batch_accuracy", 0.25)], {"batch_accuracy_2": 0.25}),
        ([called("batch_accuracy", 0.25), batch_accuracy], {"batch_accuracy_2": 0.25}),
        ([called("valid_loss", 0.75), batch_accuracy], {"valid_loss_2": 0.75}),
        ([called("images", 0.5), batch_accuracy], {"images_2": 0.5}),
        (
            [called("f1", 0.5), batch_accuracy, called("f1", 0.25), called("images", 0.125)],
            {"f1": 0.5, "f1_2": 0.25, "images_2": 0.125},
        ),
    ],
)
def test_metrics_of_one_name_are_all_in_a_file_and_no_hindrance(
    metrics: list[Any], expected: dict[str, float], tmp_path: Path
) -> None:
    learn = learner(metrics=metrics)
    loss, *figures = learn.recorder.values[-1][1:]
    accuracy = figures[metrics.index(batch_accuracy)]
    everything = {"valid_loss": loss, "batch_accuracy": accuracy, "images": 60, **expected}
    assert saved_metrics(learn, tmp_path) == exported_metrics(learn, tmp_path) == everything
    change_by_hand(learn)
    again = exported_metrics(learn, tmp_path)
    assert again.keys() == everything.keys()
    assert {key: again[key] for key in expected} == expected


def test_another_metric_that_heads_the_column_is_no_accuracy(tmp_path: Path) -> None:
    learn = learner(metrics=called("batch_accuracy", 0.25))
    learn.metrics = [batch_accuracy]
    assert exported_metrics(learn, tmp_path)["batch_accuracy"] == 0.25


def test_a_run_says_what_its_files_say(tmp_path: Path) -> None:
    learn = learner()
    write_run(learn, tmp_path / "trained")
    change_by_hand(learn)
    write_run(learn, tmp_path / "changed")
    for name in ("trained", "changed"):
        folder = tmp_path / name
        evaluation = json.loads((folder / "evaluation.json").read_text())
        metrics = metadata_of(folder / ARTIFACT).metrics
        assert evaluation["accuracy"] == pytest.approx(metrics["batch_accuracy"])
        if name == "trained":
            assert evaluation["kept_epoch"] == 1
            assert evaluation["valid_loss"] == metrics["valid_loss"]
            assert metadata_of(folder / WEIGHTS).metrics == metrics
            assert "it was trained for 2 epochs" in (folder / "MODEL_CARD.md").read_text()
        else:
            assert (evaluation["kept_epoch"], evaluation["valid_loss"]) == (None, None)
            assert "it was trained for" not in (folder / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.uint8], ids=str)
def test_a_report_is_of_the_pixels_as_the_model_takes_them(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    model = Reader(torch.bfloat16 if dtype == torch.bfloat16 else torch.float32)
    learn = learner(model, dtype=dtype)
    write_run(learn, tmp_path / "run")
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert evaluation["accuracy"] == pytest.approx(learn.validate()[1])
    assert json.loads((tmp_path / "run" / "config.json").read_text())["resolved"]["valid"][
        "dtype"
    ] == str(dtype).removeprefix("torch.")


def test_a_resumed_fit_that_is_finished_still_knows_its_metrics(tmp_path: Path) -> None:
    def fitted(resume: Path | None) -> Learner:
        learn = learner(epochs=0)
        with learn.no_logging():
            learn.fit(2, lr=0.5, cbs=Checkpoint(tmp_path / "c"), resume=resume)
        return learn

    first = saved_metrics(fitted(None), tmp_path)
    assert saved_metrics(fitted(tmp_path / "c"), tmp_path) == first == row(fitted(tmp_path / "c"))


# --- batches from elsewhere


def test_weights_trained_on_other_loaders_are_saved_with_what_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = torch.rand(32, 784, generator=torch.Generator().manual_seed(0))
    batches = [(images[:16], torch.ones(16, 1)), (images[16:], torch.zeros(16, 1))]
    learn = Learner(DataLoaders(batches, batches), create_model("linear", 0), metrics=[])
    path = tmp_path / "best.safetensors"
    with learn.no_logging():
        learn.fit(2, lr=0.1, cbs=SaveBest(path))
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["mnist_sgd"])
    assert sorted(header) == [
        f"mnist_sgd.{name}"
        for name in ("data", "format", "licence", "metrics", "model", "versions")
    ]
    assert header["mnist_sgd.model"] == "linear"
    best = min(values[1] for values in learn.recorder.values)
    assert json.loads(header["mnist_sgd.metrics"]) == {"valid_loss": best}
    other = Learner(DataLoaders(batches, batches), create_model("linear", 1))
    assert other.load(path) is other
    assert all(map(torch.equal, other.model.parameters(), learn.model.parameters()))
    sentence = (
        f"{path} does not say what its classes are and how its images are normalised, because its "
        "batches did not come from a mnist_sgd.DataLoader; load it into a Learner that has one, "
        "and export from there"
    )
    with pytest.raises(WeightsError, match=f"^{re.escape(sentence)}$"):
        read_weights(path)
    assert main(["export", str(path), str(tmp_path / "m.onnx")]) == 2
    assert capsys.readouterr().err == f"mnist-sgd: {sentence}\n"
    with pytest.raises(TypeError, match="the validation batches come from a list"):
        other.export(tmp_path / "m.onnx")
    learner(epochs=0).load(path).export(tmp_path / "m.onnx")


def test_classes_come_from_the_training_loader_where_only_that_is_known(tmp_path: Path) -> None:
    batch = (torch.zeros(4, 784), torch.zeros(4, 1))
    dls = DataLoaders(DataLoader(easy_set(), 16, mean=0.1, std=0.3), [batch])
    Learner(dls, create_model("linear", 0), mnist_loss).save(tmp_path / "w.safetensors")
    metadata = metadata_of(tmp_path / "w.safetensors")
    assert (metadata.classes, metadata.mean, metadata.std) == (("left", "right"), 0.1, 0.3)
    assert metadata.metrics == {}


# --- weights that name another model than the one that was trained


def test_weights_are_not_exported_as_another_model_of_the_same_shape(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Linear(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(1 - x)

    train, valid = mnist_sample()
    torch.manual_seed(0)
    dls = DataLoaders(DataLoader(train, 256, shuffle=True), DataLoader(valid, 256))
    learn = Learner(dls, Linear(784, 1), metrics=batch_accuracy)
    with learn.no_logging():
        learn.fit(2, lr=1.0)
    learn.save("w.safetensors")
    assert main(["export", "w.safetensors", "m.onnx"]) == 2
    assert capsys.readouterr().err == (
        "mnist-sgd: w.safetensors is of a custom model of the class 'Linear'; name a function that "
        "makes one with --model package.module:factory\n"
    )
    assert main(["export", "w.safetensors", "m.onnx", "--model", "linear"]) == 1
    assert re.fullmatch(
        r"mnist-sgd: m\.onnx was not written: on its validation images it has a batch_accuracy of "
        r"0\.\d{6}, and the weights had 0\.\d{6} when w\.safetensors was written: it is "
        r"another model, or a callback changed its batches\n",
        capsys.readouterr().err,
    )
    assert not Path("m.onnx").exists()


def test_targets_that_a_callback_makes_floats_are_compared_too(tmp_path: Path) -> None:
    class Cast(Callback):
        def before_batch(self, learn: Learner) -> None:
            learn.yb = learn.yb.float()

    learn = learner(cbs=Cast())
    learn.loss_func = nn.functional.binary_cross_entropy_with_logits
    assert learn.export(tmp_path / "model.pt").images == 60


def test_metrics_of_other_items_are_never_in_a_file(tmp_path: Path) -> None:
    """Not even if the loader is of pairs of tensors."""

    def items(seed: int) -> DataLoader:
        torch.manual_seed(seed)
        return DataLoader([(torch.rand(784), torch.tensor([i % 2])) for i in range(8)], 4)

    learn = Learner(DataLoaders(items(0), items(1)), create_model("linear", 0))
    with learn.no_logging():
        learn.fit(1)
    assert measured_row(learn) == 0
    learn.dls = DataLoaders(items(0), items(2))
    assert measured_row(learn) is None
