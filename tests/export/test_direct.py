"""Models of common layers are exported without torch's exporter, with the same answers."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from mnist_sgd.data import mnist_sample
from mnist_sgd.export import Classifier, export_model, onnx_file
from mnist_sgd.export.onnx_direct import direct_graph
from mnist_sgd.models.builtin import MODELS, create_model
from mnist_sgd.models.layers import Edges, Histogram, Sum
from mnist_sgd_serve.model.metadata import Metadata

METADATA = Metadata(classes=("7", "3"), mean=0.1307, std=0.3081)
PICTURE = (1, 28, 28)
Make = Callable[[], nn.Module]


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return mnist_sample()[1].images[::5].copy()


def seeded(make: Make) -> nn.Module:
    """A model with random weights, whose batch norms have statistics of their own."""
    torch.manual_seed(0)
    model = make()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(0, 0.3)
            layer.running_var.uniform_(0.5, 2)
            if layer.affine:
                nn.init.normal_(layer.weight, 1, 0.3)
                nn.init.normal_(layer.bias, 0, 0.3)
    return model


def answers(path: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    result: NDArray[np.float32] = session.run(None, {"image": images})[0]
    return result


def is_direct(model: nn.Module, input_shape: tuple[int, ...] = (784,)) -> bool:
    return direct_graph(Classifier(model, input_shape=input_shape)) is not None


def check_both_translations(
    model: nn.Module,
    input_shape: tuple[int, ...],
    images: NDArray[np.uint8],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Export a model both ways, and compare the answers with each other and with torch."""
    classifier = Classifier(model, mean=METADATA.mean, std=METADATA.std, input_shape=input_shape)
    assert direct_graph(classifier) is not None
    onnx_file.write(classifier, folder / "direct.onnx", METADATA)
    with monkeypatch.context() as patched:
        patched.setattr(onnx_file, "direct_graph", lambda classifier: None)
        onnx_file.write(classifier, folder / "torch.onnx", METADATA)
    direct, by_torch = (answers(folder / f"{name}.onnx", images) for name in ("direct", "torch"))
    assert direct.std() > 1e-4  # else any graph would do
    np.testing.assert_allclose(direct, by_torch, rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        direct, classifier(torch.from_numpy(images)).numpy(), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("name", MODELS)
def test_each_built_in_model_is_translated_directly_to_the_answers_of_torchs_exporter(
    name: str, images: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = seeded(partial(create_model, name))
    check_both_translations(model, (784,), images, tmp_path, monkeypatch)


def convolutions(*layers: nn.Module, features: int) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 1))


COMBINATIONS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "smooth activations": (
        lambda: nn.Sequential(
            *(nn.Linear(784, 20), nn.GELU(), nn.Linear(20, 20), nn.GELU("tanh")),
            *(nn.Linear(20, 20), nn.SiLU(), nn.Linear(20, 20), nn.Softplus()),
            *(nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 1, bias=False)),
        ),
        (784,),
    ),
    "activations with corners": (
        lambda: nn.Sequential(
            *(nn.Linear(784, 20), nn.LeakyReLU(0.2), nn.Linear(20, 20), nn.ELU(0.7)),
            *(nn.Linear(20, 20), nn.Hardtanh(-0.5, 0.8), nn.Linear(20, 20), nn.ReLU6()),
            *(nn.Linear(20, 20), nn.Sigmoid(), nn.Linear(20, 1)),
        ),
        (784,),
    ),
    "batch norm of features, with and without weights": (
        lambda: nn.Sequential(
            *(nn.Linear(784, 20, bias=False), nn.BatchNorm1d(20), nn.ReLU(inplace=True)),
            *(nn.Dropout(), nn.Linear(20, 9), nn.BatchNorm1d(9, affine=False, eps=1e-3)),
            *(nn.Identity(), nn.Linear(9, 1)),
        ),
        (784,),
    ),
    "padding that keeps the size": (
        lambda: convolutions(
            nn.Conv2d(1, 4, (4, 3), padding="same", dilation=(1, 2)),
            nn.ReLU(),
            nn.AvgPool2d(4),
            features=196,
        ),
        PICTURE,
    ),
    "groups, stride and dilation": (
        lambda: convolutions(
            nn.Conv2d(1, 6, 3, stride=(2, 1), padding=(1, 0)),
            nn.BatchNorm2d(6, affine=False),
            nn.Conv2d(6, 6, 3, dilation=2, groups=3, padding="valid"),
            nn.Dropout2d(),
            nn.AdaptiveMaxPool2d(1),
            features=6,
        ),
        PICTURE,
    ),
    "overlapping windows": (
        lambda: convolutions(
            nn.MaxPool2d(3, stride=2, padding=1, dilation=1),
            nn.AvgPool2d((3, 2), stride=1, padding=1, count_include_pad=False),
            nn.AvgPool2d(3, padding=1),
            features=25,
        ),
        PICTURE,
    ),
    "dilated windows, and a global mean": (
        lambda: convolutions(
            nn.Conv2d(1, 5, 3),
            nn.MaxPool2d(2, dilation=3),
            nn.AdaptiveAvgPool2d((1, 1)),
            features=5,
        ),
        PICTURE,
    ),
    "layers of rows": (
        lambda: nn.Sequential(
            *(nn.Unflatten(1, (28, 28)), nn.Linear(28, 8), nn.LayerNorm([28, 8])),
            *(nn.Linear(8, 1), nn.Flatten(1), nn.LayerNorm(28, elementwise_affine=False)),
            nn.Linear(28, 1),
        ),
        (784,),
    ),
    "branches within a sequence within a sequence": (
        lambda: nn.Sequential(
            nn.Unflatten(-1, PICTURE),
            nn.Sequential(Edges(), nn.Sequential()),
            Sum(
                [
                    convolutions(nn.Conv2d(3, 4, 5, stride=4), nn.Tanh(), features=144),
                    nn.Sequential(nn.Flatten(), nn.Linear(2352, 1)),
                    nn.Sequential(nn.AvgPool2d(28), nn.Flatten(), nn.Linear(3, 1)),
                ]
            ),
        ),
        (784,),
    ),
    "grey levels": (
        lambda: nn.Sequential(Histogram(7), nn.Linear(7, 5), nn.ELU(), nn.Linear(5, 1)),
        PICTURE,
    ),
}


EVEN = "ignore:Using padding='same' with even kernel:UserWarning"


@pytest.mark.filterwarnings(EVEN)
@pytest.mark.parametrize("name", COMBINATIONS)
def test_layers_in_combination_are_translated_to_the_answers_of_torchs_exporter(
    name: str, images: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, input_shape = COMBINATIONS[name]
    check_both_translations(seeded(make), input_shape, images, tmp_path, monkeypatch)


# --- any sequence of layers


def activations() -> st.SearchStrategy[nn.Module]:
    makers: list[Make] = [nn.ReLU, nn.Tanh, nn.SiLU, nn.GELU, nn.ELU, nn.Softplus, nn.Dropout]
    makers += [nn.LeakyReLU, nn.Hardtanh, nn.ReLU6, nn.Sigmoid, nn.Identity]
    return st.sampled_from(makers).map(lambda make: make())


@st.composite
def sequences(draw: st.DrawFn) -> nn.Sequential:
    """A few layers of pictures, a few of features, and one output."""
    layers: list[nn.Module] = [nn.Unflatten(1, PICTURE)]
    x = torch.zeros(2, *PICTURE)
    for _ in range(draw(st.integers(0, 3))):
        channels = x.shape[1]
        size = draw(st.integers(1, min(4, x.shape[2])))
        padding = draw(st.integers(0, size // 2))
        stride = draw(st.integers(1, 2))
        choices: list[Make] = [
            partial(nn.Conv2d, channels, draw(st.integers(1, 4)), size, stride, padding),
            partial(nn.Conv2d, channels, channels, size, padding="same", groups=channels),
            partial(nn.BatchNorm2d, channels, affine=draw(st.booleans())),
            partial(nn.MaxPool2d, size, stride, padding),
            partial(nn.AvgPool2d, size, stride, padding, count_include_pad=draw(st.booleans())),
        ]
        layers += [draw(st.sampled_from(choices))(), draw(activations())]
        x = nn.Sequential(*layers).eval()(torch.zeros(2, 784))
    layers.append(nn.Flatten())
    features = x[0].numel()
    for _ in range(draw(st.integers(0, 2))):
        wide = draw(st.integers(1, 9))
        layers.append(nn.Linear(features, wide, bias=draw(st.booleans())))
        norm = draw(st.sampled_from([nn.Identity, nn.BatchNorm1d, nn.LayerNorm]))
        layers += [norm(wide), draw(activations())]
        features = wide
    return nn.Sequential(*layers, nn.Linear(features, 1))


@pytest.mark.filterwarnings(EVEN)
@settings(max_examples=40, deadline=None)
@given(sequences(), st.integers(0, 2**32 - 1))
def test_any_sequence_of_these_layers_gives_torchs_logits(model: nn.Sequential, seed: int) -> None:
    seeded(lambda: model)
    classifier = Classifier(model, mean=0.5, std=0.25)
    graph = direct_graph(classifier)
    assert graph is not None
    del graph.node[-1]  # the sigmoid, which would hide differences
    value = onnx.helper.make_tensor_value_info
    graph.input.append(value("image", onnx.TensorProto.UINT8, ["batch", 28, 28]))
    graph.output.append(value(graph.node[-1].output[0], onnx.TensorProto.FLOAT, ["batch", 1]))
    whole = onnx.helper.make_model(
        graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 18)]
    )
    onnx.checker.check_model(whole, full_check=True)
    images = np.random.default_rng(seed).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    session = onnxruntime.InferenceSession(whole.SerializeToString())
    expected = classifier.logits(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(session.run(None, {"image": images})[0], expected, rtol=0, atol=1e-5)


# --- what it does not know


class Doubling(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class Halved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(784, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x) / 2
        return logits


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(784, 1))
    model[0].register_forward_hook(lambda module, inputs, output: output * 3 + 1)
    return model


def hooked_before() -> nn.Module:
    model = nn.Sequential(nn.Linear(784, 1))
    model.register_forward_pre_hook(lambda module, inputs: (1 - inputs[0],))
    return model


def with_another_forward() -> nn.Module:
    model = nn.Sequential(nn.Linear(784, 1))
    model[0].forward = lambda x: x.sum(1, keepdim=True) / 99
    return model


def parametrized() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(784, 1)))


def in_place_in_a_branch() -> nn.Module:
    branches = [nn.Sequential(nn.Hardtanh(0.3, 0.4, inplace=True), nn.Linear(784, 1))]
    return Sum([*branches, nn.Sequential(nn.Linear(784, 1))])


UNKNOWN: dict[str, tuple[Make, tuple[int, ...]]] = {
    "a subclass": (lambda: nn.Sequential(Doubling(784, 1)), (784,)),
    "a module": (Halved, (784,)),
    "a hook": (hooked, (784,)),
    "a hook before": (hooked_before, (784,)),
    "another forward": (with_another_forward, (784,)),
    "a parametrization": (parametrized, (784,)),
    "work in place in a branch": (in_place_in_a_branch, (784,)),
    "padding by reflection": (
        lambda: convolutions(nn.Conv2d(1, 2, 5, 4, 2, padding_mode="reflect"), features=98),
        PICTURE,
    ),
    "windows beyond the edge": (
        lambda: convolutions(nn.MaxPool2d(5, ceil_mode=True), features=36),
        PICTURE,
    ),
    "pooling to two rows": (
        lambda: convolutions(nn.AdaptiveAvgPool2d(2), features=4),
        PICTURE,
    ),
    "a steeper softplus": (
        lambda: nn.Sequential(nn.Linear(784, 9), nn.Softplus(beta=2), nn.Linear(9, 1)),
        (784,),
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_goes_to_torchs_exporter_and_gives_the_models_answers(
    name: str, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    make, input_shape = UNKNOWN[name]
    model = seeded(make)
    assert not is_direct(model, input_shape)
    path = tmp_path / "model.onnx"
    export_model(model, path, metadata=METADATA, images=images[:9], input_shape=input_shape)
    x = (torch.from_numpy(images) / 255 - METADATA.mean) / METADATA.std
    with torch.no_grad():
        expected = model.eval()(x.reshape(-1, *input_shape)).sigmoid().numpy()
    np.testing.assert_allclose(answers(path, images), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes_go_to_torchs_exporter(dtype: torch.dtype) -> None:
    classifier = Classifier(nn.Linear(784, 1).to(dtype), dtype=dtype)
    assert direct_graph(classifier) is None


def test_a_hook_on_all_modules_goes_to_torchs_exporter() -> None:
    assert is_direct(nn.Linear(784, 1))
    handle = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: None)
    try:
        assert not is_direct(nn.Linear(784, 1))
    finally:
        handle.remove()
    assert is_direct(nn.Linear(784, 1))


def test_a_layer_used_twice_is_stored_once(tmp_path: Path) -> None:
    same = nn.Linear(784, 784)
    classifier = Classifier(nn.Sequential(same, nn.ReLU(), same, nn.Linear(784, 1)))
    onnx_file.write(classifier, tmp_path / "model.onnx", METADATA)
    graph = onnx.load(tmp_path / "model.onnx").graph
    weights = [each.name for each in graph.initializer if each.name.startswith("model.")]
    assert weights == ["model.0.weight", "model.0.bias", "model.3.weight", "model.3.bias"]


# --- processes of their own

TWO_EXPORTS = """
import hashlib, json, sys
from pathlib import Path
from mnist_sgd.export import Classifier, onnx_file
from mnist_sgd.models.builtin import create_model
from mnist_sgd_serve.model.metadata import Metadata
for name in ("linear", "cnn_histogram"):
    classifier = Classifier(create_model(name, 0), mean=0.1307, std=0.3081)
    onnx_file.write(classifier, Path("model.onnx"), Metadata(classes=("7", "3")))
    print(hashlib.sha256(Path("model.onnx").read_bytes()).hexdigest())
print(json.dumps(sorted(sys.modules)))
"""

UNNEEDED = {"onnxscript", "onnx_ir", "torch._dynamo", "torch._inductor", "torchvision"}
UNNEEDED |= {"torch.onnx._internal.exporter", "matplotlib", "sympy"}
"""What takes seconds to import, and what only torch's exporter, or a report, needs."""


def test_two_processes_write_the_same_bytes_and_import_no_exporter(tmp_path: Path) -> None:
    written = []
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", TWO_EXPORTS],
            cwd=tmp_path,
            env=environment | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        *hashes, modules = done.stdout.splitlines()
        written.append(hashes)
        assert UNNEEDED & set(json.loads(modules)) == set()
    classifier = Classifier(create_model("linear", 0), mean=0.1307, std=0.3081)
    onnx_file.write(classifier, tmp_path / "here.onnx", Metadata(classes=("7", "3")))
    here = hashlib.sha256((tmp_path / "here.onnx").read_bytes()).hexdigest()
    assert written[0] == written[1]
    assert written[0][0] == here


TRAIN = """
import json, sys
from mnist_sgd.cli import main
code = main(["train", "--epochs", "1"])
print(json.dumps([code, sorted(sys.modules)]))
"""


def test_the_main_job_imports_no_exporter_no_compiler_and_no_charts(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRAIN], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert (tmp_path / "model.onnx").is_file()
    assert UNNEEDED & set(modules) == set()
