"""Weights files hold everything in a model, each tensor once, or name what they cannot hold."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, distributed, nn
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel

from hooks import StopAfter
from mnist_sgd import (
    Checkpoint,
    CheckpointError,
    DataLoader,
    DataLoaders,
    Learner,
    SaveBest,
    batch_accuracy,
    create_model,
    summary,
)
from mnist_sgd.models.builtin import model_name
from mnist_sgd.models.weights import WeightsError, load_weights, open_weights, save_weights
from mnist_sgd.models.wrappers import plain_copy, plain_state, unwrapped
from mnist_sgd_serve import Metadata, Predictor
from networks import compiled
from runs import easy_set
from values import same

METADATA = Metadata(classes=("left", "right"))


class Tied(nn.Module):
    """Two layers with one weight, of which one is transposed in use, and one layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(784, 6)
        self.inner = nn.Linear(6, 6)
        self.same = nn.Linear(6, 6)
        self.same.weight = self.inner.weight
        self.again = self.inner
        self.last = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(self.inner(self.first(x).relu()).relu())
        logits: Tensor = self.last(self.same(x))
        return logits


class Untied(Tied):
    """The same names with a tensor for each."""

    def __init__(self) -> None:
        super().__init__()
        self.same.weight = nn.Parameter(self.inner.weight.detach().clone())
        self.again = copy.deepcopy(self.inner)


class Counting(nn.Module):
    """Has an extra state of the given value, which must come back as it was."""

    def __init__(self, extra: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(784, 1)
        self.extra = extra

    def get_extra_state(self) -> Any:
        return self.extra

    def set_extra_state(self, state: Any) -> None:
        self.extra = state

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x)
        return logits


def with_buffers() -> nn.Module:
    """A buffer that is saved, one that is not, and a layer without parameters."""
    model = nn.Sequential(nn.Linear(784, 4), nn.Identity(), nn.Linear(4, 1))
    model.register_buffer("kept", torch.arange(3))
    model.register_buffer("left_out", torch.ones(2), persistent=False)
    return model


def strided() -> nn.Module:
    """A weight that is a column of another's memory, and one in another order of axes."""
    model = nn.Sequential(nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 2, 28), nn.Flatten())
    model.append(nn.Linear(2, 1))
    wide = torch.rand(4, 1, generator=torch.Generator().manual_seed(0))
    model[3].weight = nn.Parameter(wide[::2].t())
    return model.to(memory_format=torch.channels_last)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "tied": Tied,
    "untied": Untied,
    "one activation twice": lambda: nn.Sequential(
        nn.Linear(784, 3), act := nn.PReLU(), nn.Linear(3, 3), act, nn.Linear(3, 1)
    ),
    "buffers": with_buffers,
    "strides": strided,
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(784, 1)),
    "numbers": lambda: Counting({"seen": 7, "scale": 0.1, "names": ["a", None], "pair": (1, 2)}),
    "tensors": lambda: Counting({"history": [torch.arange(3.0)], "3": {4: torch.ones(2, 2)}}),
    "a tensor": lambda: Counting(torch.arange(5)),
    "nothing": lambda: Counting(None),
    "cnn": lambda: create_model("cnn", 0),
    "cnn_histogram": lambda: create_model("cnn_histogram", 0),
}


def learner(
    model: nn.Module, epochs: int = 1, cbs: Any = (), resume: Path | None = None
) -> Learner:
    data = DataLoaders(DataLoader(easy_set(120), 20), DataLoader(easy_set(60, flipped=3), 16))
    learn = Learner(data, model, metrics=batch_accuracy)
    with learn.no_logging():
        learn.fit(epochs, lr=0.05, cbs=cbs, resume=resume)
    return learn


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_what_a_model_holds_is_saved_loaded_exported_and_resumed(
    make: Callable[[], nn.Module], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    learn = learner(make(), cbs=[SaveBest(), Checkpoint(tmp_path / "checkpoint")])
    path = tmp_path / "w.safetensors"
    learn.save(path)
    torch.manual_seed(1)
    other = learner(make(), epochs=0).load(path)
    assert same(plain_state(other.model), plain_state(learn.model))
    other.save(tmp_path / "again.safetensors")
    assert open_weights(tmp_path / "again.safetensors").state.keys() == plain_state(make()).keys()
    learn.export(tmp_path / "one.onnx")
    other.export(tmp_path / "two.onnx")
    one, two = Predictor(tmp_path / "one.onnx"), Predictor(tmp_path / "two.onnx")
    images = easy_set(9).images
    assert one.probabilities(images).tobytes() == two.probabilities(images).tobytes()
    resumed = learner(
        make(), cbs=[SaveBest(), Checkpoint(tmp_path / "c")], resume=tmp_path / "checkpoint"
    )
    assert same(plain_state(resumed.model), plain_state(learn.model))
    resumed.save(path)
    assert path.read_bytes() == (tmp_path / "w.safetensors").read_bytes()


def test_a_shared_tensor_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(Tied(), path, METADATA)
    with safe_open(path, "pt") as file:
        assert sorted(file.keys()) == [
            f"{layer}.{kind}"
            for layer in ("first", "inner", "last", "same")
            for kind in ("bias", "weight")
            if (layer, kind) != ("same", "weight")
        ]
        shared = json.loads(json.loads(file.metadata()["mnist_sgd"])["mnist_sgd.shared"])
    assert shared == {
        "same.weight": "inner.weight",
        "again.weight": "inner.weight",
        "again.bias": "inner.bias",
    }


def test_models_that_share_otherwise_take_the_weights_if_these_are_equal(tmp_path: Path) -> None:
    tied, untied = tmp_path / "tied.safetensors", tmp_path / "untied.safetensors"
    model = Tied()
    save_weights(model, tied, METADATA)
    other = Untied()
    load_weights(other, tied)
    assert same(plain_state(other), plain_state(model))
    save_weights(other, untied, METADATA)
    third = Tied()
    load_weights(third, untied)
    assert same(plain_state(third), plain_state(model))
    with torch.no_grad():
        other.same.weight[0, 0] += 1
    save_weights(other, untied, METADATA)
    before = copy.deepcopy(plain_state(third))
    sentence = (
        f"{untied}: its inner.weight and same.weight differ; in this model they are one tensor"
    )
    with pytest.raises(WeightsError, match=f"^{re.escape(sentence)}$"):
        load_weights(third, untied)
    assert same(plain_state(third), before)


class Unknown:
    """A value that only pickle could write."""


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            Counting({"rule": Unknown()}),
            "_extra_state.rule is a Unknown, which a file of tensors cannot hold",
        ),
        (
            nn.Sequential(nn.LazyLinear(1)),
            "0.weight has no shape yet, as the model has had no batch",
        ),
    ],
)
def test_what_a_file_cannot_hold_is_named(model: nn.Module, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"the old file")
    sentence = f"{path}: these weights cannot be written: {reason}"
    with pytest.raises(WeightsError, match=f"^{re.escape(sentence)}$"):
        save_weights(model, path, METADATA)
    assert path.read_bytes() == b"the old file"


def test_a_checkpoint_of_what_a_file_cannot_hold_is_refused_before_the_fit(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    sentence = (
        f"{path} cannot be written: _extra_state.rule is a Unknown, which a file of tensors cannot "
        "hold"
    )
    learn = learner(Counting({"rule": Unknown()}), epochs=0)
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        learn.fit(1, cbs=Checkpoint(path))
    assert learn.recorder.lrs == []


def test_a_model_that_refuses_its_extra_state_is_unchanged(tmp_path: Path) -> None:
    class Refusing(Counting):
        def set_extra_state(self, state: Any) -> None:
            if state == "new":
                raise KeyError("not mine")

    path = tmp_path / "w.safetensors"
    save_weights(Refusing("new"), path, METADATA)
    model = Refusing("old")
    before = copy.deepcopy(plain_state(model))
    with pytest.raises(
        WeightsError, match=rf"^{re.escape(str(path))}: this model does not take its weights: "
    ):
        load_weights(model, path)
    assert same(plain_state(model), before)


def test_a_lazy_model_takes_the_shapes_of_a_file(tmp_path: Path) -> None:
    save_weights(nn.Sequential(nn.Linear(784, 1)), tmp_path / "w", METADATA)
    lazy = nn.Sequential(nn.LazyLinear(1))
    load_weights(lazy, tmp_path / "w")
    assert same(dict(sorted(lazy.state_dict().items())), load_file(tmp_path / "w"))


@pytest.mark.parametrize(
    "header",
    [
        "[]",
        '"text"',
        "[" * 100_000,
        '{"mnist_sgd.format": "1", "mnist_sgd.shared": "{\\"a\\": \\"none\\"}"}',
        '{"mnist_sgd.format": "1", "mnist_sgd.shared": "[1]"}',
        '{"mnist_sgd.format": "1", "mnist_sgd.shared": 3}',
        '{"mnist_sgd.format": "1", "mnist_sgd.extra_state": "{\\"a\\": {\\"$tensor\\": \\"b\\"}}"}',
        '{"mnist_sgd.format": "1", "mnist_sgd.extra_state": "nothing"}',
    ],
)
def test_a_header_that_is_wrong_is_refused_in_one_sentence(header: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(save({"weight": torch.zeros(1)}, {"mnist_sgd": header}))
    with pytest.raises(WeightsError, match=rf"^{re.escape(str(path))}: not weights of mnist_sgd: "):
        open_weights(path)


def test_a_checkpoint_is_distinguished_from_weights(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    learn = learner(create_model("linear", 0), cbs=Checkpoint(path))
    with pytest.raises(WeightsError) as refused:
        learn.load(path)
    assert str(refused.value) == (
        f"{path}: a checkpoint of a training, not weights: resume that training, which writes them "
        "at its end (train --resume; in Python fit(resume=...) and save)"
    )


def test_a_file_of_an_earlier_version_is_loaded(tmp_path: Path) -> None:
    model = create_model("mlp", 0)
    properties = METADATA.to_properties()
    tensors = {name: t.detach().contiguous() for name, t in model.state_dict().items()}
    old = save(tensors, {"mnist_sgd": json.dumps(properties)})
    path = tmp_path / "w.safetensors"
    path.write_bytes(old)
    other = create_model("mlp", 1)
    load_weights(other, path)
    assert same(plain_state(other), plain_state(model))
    save_weights(other, path, METADATA)
    assert path.read_bytes() == old


# --- wrapped models


def compiled_inside(model: nn.Module) -> nn.Module:
    assert isinstance(model, nn.Sequential)
    model[0] = compiled(model[0])
    model[2] = nn.DataParallel(model[2])
    return model


def compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "compiled": compiled,
    "compiled in place": compiled_in_place,
    "DataParallel": nn.DataParallel,
    "AveragedModel": AveragedModel,
    "compiled DataParallel": lambda model: compiled(nn.DataParallel(model)),
    "wrapped layers": compiled_inside,
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_wrapped_model_is_the_model_inside_to_every_file(
    wrap: Callable[[nn.Module], nn.Module], tmp_path: Path
) -> None:
    plain = learner(create_model("mlp", 0), epochs=0)
    plain.save(tmp_path / "plain.safetensors")
    learn = learner(wrap(create_model("mlp", 0)), epochs=0)
    if wrap is not compiled_inside:  # its layers are of other classes
        assert model_name(learn.model) == "mlp"
        learn.save(tmp_path / "wrapped.safetensors")
        assert (tmp_path / "wrapped.safetensors").read_bytes() == (
            tmp_path / "plain.safetensors"
        ).read_bytes()
        assert summary(learn.model) == summary(plain.model)
    with torch.no_grad():
        for parameter in learn.model.parameters():
            parameter.mul_(2)
    learn.save(tmp_path / "doubled.safetensors")
    plain.load(tmp_path / "doubled.safetensors")
    assert same(plain_state(plain.model), plain_state(learn.model))
    learn.load(tmp_path / "plain.safetensors")
    assert not same(plain_state(plain.model), plain_state(learn.model))
    for suffix in (".onnx", ".pt", ".pt2"):
        learn.export(tmp_path / f"model{suffix}")
    assert not [name for name in plain_copy(learn.model).state_dict() if "orig_mod" in name]


def test_a_checkpoint_of_a_compiled_model_resumes_in_a_plain_one(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    whole = learner(create_model("mlp", 0), epochs=2)
    learner(
        compiled(create_model("mlp", 0)), epochs=2, cbs=[Checkpoint(path, every=7), StopAfter(8)]
    )
    resumed = learner(create_model("mlp", 5), epochs=2, resume=path)
    assert same(plain_state(resumed.model), plain_state(whole.model))


def test_a_distributed_model_is_saved_as_the_model_inside(tmp_path: Path) -> None:
    model = create_model("mlp", 0)
    save_weights(model, tmp_path / "plain", METADATA)
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    try:
        wrapped = nn.parallel.DistributedDataParallel(model)
        assert unwrapped(wrapped) is model
        save_weights(wrapped, tmp_path / "wrapped", METADATA)
    finally:
        distributed.destroy_process_group()
    assert (tmp_path / "wrapped").read_bytes() == (tmp_path / "plain").read_bytes()


def test_a_model_inside_two_wrappers_is_found_and_any_other_is_itself() -> None:
    model = nn.Linear(784, 1)
    assert unwrapped(compiled(nn.DataParallel(AveragedModel(model)))).weight.shape == (1, 784)
    assert unwrapped(nn.DataParallel(compiled(model))) is model
    assert unwrapped(model) is model

    class Own(nn.Module):
        """Not a wrapper, for all its attribute's name."""

        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(784, 1)

    own = Own()
    assert unwrapped(own) is own
    assert list(plain_state(own)) == ["module.weight", "module.bias"]


def test_a_folder_in_place_of_the_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"^{re.escape(str(tmp_path))}: this is a folder$"):
        open_weights(tmp_path)
    file = tmp_path / "model.safetensors"
    file.touch()
    sentence = f"{tmp_path}: this is a folder; the weights are {file}"
    with pytest.raises(WeightsError, match=f"^{re.escape(sentence)}$"):
        open_weights(tmp_path)
