"""Both cnns learn in one epoch, are reproducible from a seed, and export like other models."""

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from mnist_sgd import (
    Augmentation,
    Callback,
    Checkpoint,
    DataLoader,
    DataLoaders,
    ImageSet,
    Learner,
    MixedPrecision,
    adamw,
    batch_accuracy,
    create_model,
    mnist_sample,
)
from mnist_sgd.models.builtin import model_name

AUGMENT = Augmentation(degrees=10, translate=0.05, scale=(0.9, 1.1), shear=5)


@pytest.fixture(scope="module")
def data() -> tuple[ImageSet, ImageSet]:
    """Every sixth training image, and all validation images."""
    train, valid = mnist_sample()
    part = ImageSet(train.images[::6].copy(), train.labels[::6].copy(), train.classes, "part")
    return part, valid


@pytest.fixture(scope="module", params=["cnn", "cnn_histogram"])
def name(request: pytest.FixtureRequest) -> str:
    """Of the model."""
    return str(request.param)


def learner(data: tuple[ImageSet, ImageSet], name: str, seed: int = 0) -> Learner:
    train, valid = data
    dls = DataLoaders(
        DataLoader(train, 128, True, seed=seed, augment=AUGMENT), DataLoader(valid, 256)
    )
    model = create_model(name, seed)
    learn = Learner(dls, model, opt_func=partial(adamw, mom=0.9), metrics=batch_accuracy)
    learn.logger, learn.bar = lambda line: None, False
    return learn


@pytest.fixture(scope="module")
def trained(data: tuple[ImageSet, ImageSet], name: str) -> Learner:
    """After one epoch of 17 batches."""
    learn = learner(data, name)
    learn.fit_one_cycle(1, 0.01)
    return learn


def weights(learn: Learner) -> bytes:
    return b"".join(t.contiguous().numpy().tobytes() for t in learn.model.state_dict().values())


def test_seventeen_batches_reach_97_percent(trained: Learner, name: str) -> None:
    assert trained.recorder.values[-1][-1] > 0.97
    assert model_name(trained.model) == name


def test_a_seed_gives_the_same_weights_to_the_last_bit(
    trained: Learner, data: tuple[ImageSet, ImageSet], name: str
) -> None:
    again, other = learner(data, name), learner(data, name, seed=1)
    again.fit_one_cycle(1, 0.01)
    other.fit_one_cycle(1, 0.01)
    assert weights(again) == weights(trained) != weights(other)


class Stop(Callback):
    """Ends the process's fit after ten batches."""

    order = Checkpoint.order + 1

    def after_batch(self, learn: Learner) -> None:
        if learn.training and learn.batch == 10:
            raise KeyboardInterrupt


def test_an_interrupted_fit_resumes_to_the_same_weights(
    trained: Learner, data: tuple[ImageSet, ImageSet], name: str, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        learner(data, name).fit_one_cycle(1, 0.01, cbs=[Checkpoint(path, every=5), Stop()])
    resumed = learner(data, name, seed=0)
    resumed.fit_one_cycle(1, 0.01, resume=path)
    assert weights(resumed) == weights(trained)


@pytest.mark.parametrize("suffix", [".onnx", ".pt", ".pt2"])
def test_it_exports_to_the_same_small_file_which_answers_as_torch_does(
    trained: Learner, name: str, tmp_path: Path, suffix: str
) -> None:
    files = [tmp_path / f"{letter}{suffix}" for letter in "ab"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report, _ = [trained.export(path) for path in files]
    assert (report.images, report.label_disagreements) == (2038, 0)
    assert report.max_difference <= 1e-6
    assert report.size < {"cnn": 200_000, "cnn_histogram": 210_000}[name]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_artifact_has_the_batch_norms_inside_its_convolutions(
    trained: Learner, name: str, tmp_path: Path
) -> None:
    trained.export(tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    if name == "cnn_histogram":
        assert "BatchNormalization" not in {node.op_type for node in graph.node}
        return
    assert [node.op_type for node in graph.node] == [
        *("Cast", "Div", "Reshape", "Conv", "Relu", "Conv", "Relu", "Conv", "Relu"),
        *("MaxPool", "Reshape", "Mul", "ReduceSum", "Add", "Sigmoid"),
    ]


class Seen(Callback):
    """Notes what the model, the loss and the validation compute in."""

    def __init__(self, learn: Learner) -> None:
        self.dtypes: set[tuple[str, torch.dtype]] = set()
        learn.model.get_submodule("1").register_forward_hook(self.note)

    def note(self, module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        self.dtypes.add(("training" if module.training else "validation", output.dtype))

    def after_loss(self, learn: Learner) -> None:
        self.dtypes |= {("logits", learn.pred.dtype), ("loss", learn.loss.dtype)}
        assert not torch.is_autocast_enabled("cpu")


def test_mixed_precision_trains_in_bfloat16_and_validates_in_float32(
    trained: Learner, data: tuple[ImageSet, ImageSet], name: str
) -> None:
    learn = learner(data, name)
    seen = Seen(learn)
    learn.fit_one_cycle(1, 0.01, cbs=[MixedPrecision(), seen])
    assert seen.dtypes == {
        ("training", torch.bfloat16),
        ("validation", torch.float32),
        ("logits", torch.float32),
        ("loss", torch.float32),
    }
    assert {p.dtype for p in learn.model.parameters()} == {torch.float32}
    assert learn.recorder.values[-1][-1] > {"cnn": 0.97, "cnn_histogram": 0.96}[name]
    assert weights(learn) != weights(trained)


def test_an_empty_part_of_a_batch_changes_no_running_mean(name: str) -> None:
    """A rank has one when a last batch is smaller than the number of ranks."""
    model = create_model(name, 0)
    before = [buffer.clone() for buffer in model.buffers() if buffer.is_floating_point()]
    logits = model(torch.zeros(0, 784))
    logits.sum().backward()
    after = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    assert logits.shape == (0, 1)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
