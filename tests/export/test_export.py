"""An exported file predicts what torch does, is reproducible, and names no machine or path."""

import io
import json
import math
import os
import pickle
import re
import subprocess
import sys
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from mnist_sgd.data import ImageSet, mnist_sample
from mnist_sgd.export import (
    Classifier,
    ExportError,
    export_model,
    exported_program,
    onnx_file,
    torchscript,
    versions,
)
from mnist_sgd.export.parity import BATCH, compare, predict_all, torch_predict_fn
from mnist_sgd.models.builtin import create_model
from mnist_sgd.training.losses import mnist_loss
from mnist_sgd_serve.model.metadata import Metadata

SUFFIXES = (".onnx", ".pt", ".pt2")
OLDER_TORCH = not hasattr(Tensor, "__dlpack_c_exchange_api__")
LEFT_BY_TORCH = ["-W", "ignore:Implicitly cleaning up:ResourceWarning"] if OLDER_TORCH else []
"""torch before 2.10 leaves a temporary folder to the end of the process."""

LOADERS = {".onnx": onnx_file.load, ".pt": torchscript.load, ".pt2": exported_program.load}
METADATA = Metadata(
    classes=("7", "3"),
    threshold=0.5,
    mean=0.1307,
    std=0.3081,
    model="linear",
    metrics={"accuracy": 0.968},
    data={"name": "MNIST sample", "train": "0123456789abcdef"},
    versions=versions(),
    licence="CC-BY-SA-3.0",
)


class Case(NamedTuple):
    """A trained model, the shape of its input, and its files by suffix."""

    model: nn.Module
    input_shape: tuple[int, ...]
    files: dict[str, Path]


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(196, 1),
    )


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(784, 1), (784,)),
    "mlp": (lambda: nn.Sequential(nn.Linear(784, 30), nn.ReLU(), nn.Linear(30, 1)), (784,)),
    "cnn": (cnn, (1, 28, 28)),
}


def train(model: nn.Module, input_shape: tuple[int, ...], data: ImageSet) -> None:
    """Two epochs of plain SGD on every fourth image, enough for answers of both kinds."""
    x = (torch.from_numpy(data.images[::4].copy()) / 255 - METADATA.mean) / METADATA.std
    y = torch.from_numpy(data.labels[::4].copy()).float().unsqueeze(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        order = torch.randperm(len(x), generator=generator)
        for rows in torch.split(order, 128):
            logits = model(x[rows].reshape(-1, *input_shape))
            loss = nn.functional.binary_cross_entropy_with_logits(logits, y[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            optimizer.step()


@pytest.fixture(scope="module")
def sample() -> tuple[ImageSet, ImageSet]:
    return mnist_sample()


@pytest.fixture(scope="module")
def images(sample: tuple[ImageSet, ImageSet]) -> NDArray[np.uint8]:
    return sample[1].images


@pytest.fixture(scope="module")
def cases(
    sample: tuple[ImageSet, ImageSet], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Case]:
    """Every model, trained, left in training mode and exported to every format."""
    folder = tmp_path_factory.mktemp("exported")
    made = {}
    for name, (make, input_shape) in MODELS.items():
        torch.manual_seed(0)
        model = make()
        train(model, input_shape, sample[0])
        files = {suffix: folder / f"{name}{suffix}" for suffix in SUFFIXES}
        for path in files.values():
            export_model(
                model,
                path,
                metadata=METADATA,
                images=sample[1].images[:2],
                input_shape=input_shape,
            )
        made[name] = Case(model, input_shape, files)
    return made


@pytest.fixture(params=MODELS)
def case(request: pytest.FixtureRequest, cases: dict[str, Case]) -> Case:
    return cases[request.param]


@pytest.fixture
def constant(tmp_path: Path) -> tuple[nn.Module, Path]:
    """A model that answers 0.5 exactly, and the path of an older file that stands there."""
    model = nn.Linear(784, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the old file")
    return model, path


def eager(case: Case) -> Classifier:
    return Classifier(
        case.model, mean=METADATA.mean, std=METADATA.std, input_shape=case.input_shape
    )


def by_hand(case: Case, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities by the caller's own model, without a line of the export's code."""
    x = (torch.from_numpy(np.array(images)).float() / 255 - METADATA.mean) / METADATA.std
    case.model.eval()
    with torch.no_grad():
        answers = torch.sigmoid(case.model(x.reshape(-1, *case.input_shape)))
    case.model.train()
    result: NDArray[np.float32] = answers.numpy()[:, 0]
    return result


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_validation_image_gets_the_label_and_the_probability_that_torch_gives(
    case: Case, suffix: str, images: NDArray[np.uint8]
) -> None:
    expected = by_hand(case, images)
    assert 900 < np.sum(expected > 0.5) < 1100  # it has learned: both labels are given
    answers = LOADERS[suffix](case.files[suffix])(np.array(images))
    assert answers.dtype == np.float32
    np.testing.assert_array_equal(answers > 0.5, expected > 0.5)
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_answers_batches_of_any_size(
    case: Case, suffix: str, images: NDArray[np.uint8]
) -> None:
    expected, answer = by_hand(case, images), LOADERS[suffix](case.files[suffix])
    for size in (1, 2, 7, 256, 2038):
        answers = answer(np.array(images[:size]))
        assert answers.shape == (size,)
        np.testing.assert_allclose(answers, expected[:size], rtol=0, atol=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_report_says_what_was_compared_and_nothing_is_printed(
    cases: dict[str, Case],
    suffix: str,
    images: NDArray[np.uint8],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / f"model{suffix}"
    report = export_model(cases["linear"].model, str(path), metadata=METADATA, images=images)
    assert (report.path, report.size) == (path, path.stat().st_size)
    assert (report.images, report.label_disagreements) == (2038, 0)
    assert 0 <= report.max_difference <= 1e-6
    assert capfd.readouterr() == ("", "")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_the_chapters_ten_epochs_stay_within_a_millionth(
    sample: tuple[ImageSet, ImageSet], tmp_path: Path
) -> None:
    # With this seed the sum of a plain matrix product in onnxruntime strays by 1.1e-6.
    model = create_model("linear", 3)
    x = (torch.from_numpy(sample[0].images.copy()) / 255).reshape(-1, 784)
    y = torch.from_numpy(sample[0].labels.astype(np.int64)).unsqueeze(1)
    generator = torch.Generator().manual_seed(3)
    for _ in range(10):
        for rows in torch.split(torch.randperm(len(x), generator=generator), 256):
            gradients = torch.autograd.grad(
                mnist_loss(model(x[rows]), y[rows]), list(model.parameters())
            )
            with torch.no_grad():
                for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                    parameter.sub_(gradient)
    metadata = Metadata(classes=("7", "3"))
    path = tmp_path / "model.onnx"
    report = export_model(model, path, metadata=metadata, images=sample[1].images)
    assert report.label_disagreements == 0
    assert report.max_difference <= 1e-6


def test_the_graph_preprocesses_images_to_the_last_bit_as_the_loader_does() -> None:
    class Seen(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            return x.sum((1, 2, 3), keepdim=True).reshape(-1, 1)

    every_byte = np.resize(np.arange(256, dtype=np.uint8), (2, 28, 28))
    scaled = every_byte.astype(np.float32) / np.float32(255)
    shifted = (scaled - np.float32(0.1307)) / np.float32(0.3081)
    for mean, std, expected in ((0.0, 1.0, scaled), (0.1307, 0.3081, shifted)):
        classifier = Classifier(Seen(), mean=mean, std=std, input_shape=(1, 28, 28))
        classifier(torch.from_numpy(every_byte))
        assert isinstance(classifier.model, Seen)
        assert classifier.model.x.shape == (2, 1, 28, 28)
        assert classifier.model.x.numpy().tobytes() == expected.tobytes()


def test_the_callers_model_and_random_state_stay_as_they_were(
    images: NDArray[np.uint8], tmp_path: Path
) -> None:
    model = nn.Sequential(cnn(), nn.Dropout(), nn.Identity())
    model[2].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    for suffix in SUFFIXES:
        path = tmp_path / f"model{suffix}"
        export_model(model, path, metadata=METADATA, images=images[:2], input_shape=(1, 28, 28))
    assert [module.training for module in model] == [True, True, False]
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_the_artifact_keeps_its_contract(case: Case) -> None:
    model = onnx.load(case.files[".onnx"])
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    assert (model.ir_version, model.producer_name) == (8, "mnist_sgd")
    assert model.producer_version == versions()["mnist_sgd"]
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions
    assert onnx.printer.to_text(model.graph).splitlines()[0].strip() == (
        "mnist_sgd (uint8[batch,28,28] image) => (float[batch,1] probability)"
    )
    assert all(tensor.data_location == 0 for tensor in model.graph.initializer)


def test_the_artifacts_names_come_from_the_graph_alone(cases: dict[str, Case]) -> None:
    graph = onnx.load(cases["mlp"].files[".onnx"]).graph
    assert [node.output[0] for node in graph.node] == [
        *("cast_0", "div_1", "sub_2", "div_3", "reshape_4", "gemm_5", "relu_6"),
        *("mul_7", "reducesum_8", "add_9", "probability"),
    ]
    weights = [tensor.name for tensor in graph.initializer if tensor.name.startswith("model.")]
    assert weights == [f"model.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")]


def test_the_artifact_carries_the_metadata_and_no_other_property(case: Case) -> None:
    model = onnx.load(case.files[".onnx"])
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties == METADATA.to_properties()
    assert Metadata.from_properties(properties) == METADATA
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        assert not part.doc_string
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        assert not part.metadata_props
    assert not graph.value_info


@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:FutureWarning")
def test_torchscript_and_pt2_carry_the_metadata_as_an_extra_file(case: Case) -> None:
    script, program = {"metadata.json": ""}, {"metadata.json": ""}
    torch.jit.load(case.files[".pt"], _extra_files=script)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    torch.export.load(case.files[".pt2"], extra_files=program)
    for extra in (script, program):
        assert Metadata.from_properties(json.loads(extra["metadata.json"])) == METADATA


def test_the_linear_files_are_under_100_kb(cases: dict[str, Case]) -> None:
    assert max(path.stat().st_size for path in cases["linear"].files.values()) < 100_000


# --- nothing of the machine that made it


def records(content: bytes, name: str = "") -> Iterator[tuple[str, bytes]]:
    """Names and bytes of a file's records, and of the archives inside its records."""
    yield name, content
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from records(archive.read(member), member)


MAKERS = re.compile(
    rb"stack_trace|nn_module_stack|Traceback|site-packages|debug_pkl|L__self__|\w{3}\.py\b"
    rb"|/(home|root|tmp|usr|opt|var|work|Users)/|[A-Z]:\\"
)
TORCHSCRIPTS_OWN = b"code/__torch__.py"
"""The name of the record that holds a TorchScript file's code, in every such file."""


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_path_and_no_stack_trace_is_in_any_record(case: Case, suffix: str) -> None:
    content = case.files[suffix].read_bytes()
    strangers = [
        str(Path.home()),
        os.getcwd(),
        str(Path(torch.__file__).parent),
        Path(__file__).name,
    ]
    for name, record in records(content):
        text = record.replace(TORCHSCRIPTS_OWN, b"")
        assert MAKERS.search(text) is None, name
        assert MAKERS.search(name.replace(TORCHSCRIPTS_OWN.decode(), "").encode()) is None
        assert not [path for path in strangers if path.encode() in text], name
    assert (suffix == ".onnx") == (len(list(records(content))) == 1)


def test_the_search_for_paths_finds_them_in_what_torch_writes_by_itself(
    cases: dict[str, Case],
) -> None:
    program = torch.export.export(eager(cases["mlp"]), (torch.zeros(2, 28, 28, dtype=torch.uint8),))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    found = [name for name, record in records(buffer.getvalue()) if MAKERS.search(record)]
    newer, older = "archive/models/model.json", "serialized_exported_program.json"
    assert newer in found or older in found


# --- whatever a model looks at, and whatever has been hung on its layers


class Head(nn.Module):
    """A head with one output, which every model here asks in a way of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(784, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.relu(self.body(x)))
        return logits


class ReadsSizes(Head):
    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.body(x)).view(-1, self.head.in_features, self.head.out_features)
        logits: Tensor = self.head(x.reshape(-1, self.head.weight.shape[1]))
        return logits


class AsksForTheClass(Head):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if type(self.head) is nn.Linear else x[:, :1]


class CallsTwice(Head):
    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(1, 8)
        self.same = self.head

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.same(self.wide(super().forward(x)))
        return logits


class UsesTheWeight(Head):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(torch.relu(self.body(x)), self.head.weight * 2, self.head.bias)


class Doubling(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


def doubling() -> nn.Module:
    model = Head()
    model.head = Doubling(8, 1)
    return model


def with_hook() -> nn.Module:
    model = Head()
    model.head.register_forward_hook(lambda module, inputs, output: output * 3 + 1)
    return model


def with_pre_hook() -> nn.Module:
    model = Head()
    model.head.register_forward_pre_hook(lambda module, inputs: (1 - inputs[0],))
    return model


def with_parametrization() -> nn.Module:
    model = Head()
    nn.utils.parametrizations.weight_norm(model.head)
    return model


def with_the_older_weight_norm() -> nn.Module:
    model = Head()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(model.head)
    model(torch.zeros(2, 784))  # which leaves a weight with a history in the layer
    return model


def with_a_forward_of_its_own() -> nn.Module:
    model = Head()
    model.head.forward = lambda x: x.sum(1, keepdim=True)  # type: ignore[assignment, method-assign]
    return model


def with_kept_activations() -> nn.Module:
    model = Head()
    model.body.register_forward_hook(lambda module, inputs, output: setattr(module, "kept", output))
    model(torch.zeros(2, 784))
    return model


LOOKED_AT = [
    *(ReadsSizes, AsksForTheClass, CallsTwice, UsesTheWeight, doubling, with_hook, with_pre_hook),
    *(with_parametrization, with_the_older_weight_norm, with_a_forward_of_its_own),
    with_kept_activations,
]


@pytest.mark.parametrize("make", LOOKED_AT)
def test_layers_stay_what_they_are_to_the_model(
    make: Callable[[], nn.Module], images: NDArray[np.uint8], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = make().eval()
    x = torch.from_numpy(np.array(images)).float().reshape(-1, 784) / 255
    with torch.no_grad():
        expected = torch.sigmoid(model(x)).numpy()[:, 0]
    for suffix in SUFFIXES:
        path = tmp_path / f"model{suffix}"
        export_model(model, path, metadata=Metadata(classes=("7", "3")), images=images[:300])
        given = LOADERS[suffix](path)(np.array(images))
        np.testing.assert_allclose(given, expected, rtol=0, atol=1e-6)


def test_a_model_that_cannot_be_copied_is_refused_in_one_line(tmp_path: Path) -> None:
    model = nn.Linear(784, 1)
    model.lock = threading.Lock()  # type: ignore[assignment]
    path = tmp_path / "model.onnx"
    sentence = (
        f"{path} was not written: the model cannot be copied: cannot pickle '_thread.lock' object"
    )
    with pytest.raises(ExportError, match=f"^{re.escape(sentence)}$"):
        export_model(model, path, metadata=METADATA, images=np.zeros((1, 28, 28), np.uint8))


def test_a_model_that_does_not_take_the_metadatas_dtype_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    sentence = (
        f"{path} was not written: given uint8 [B, 784], the model fails: mat1 and mat2 must have "
        "the same dtype, but got Byte and Float"
    )
    metadata = Metadata(classes=("7", "3"), dtype="uint8")
    with pytest.raises(ExportError, match=f"^{re.escape(sentence)}$"):
        export_model(
            nn.Linear(784, 1), path, metadata=metadata, images=np.zeros((1, 28, 28), np.uint8)
        )


# --- the same bytes


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_second_export_after_other_models_gives_the_same_bytes(
    cases: dict[str, Case], suffix: str, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    case = cases["cnn"]
    again = tmp_path / f"another name{suffix}"
    export_model(
        case.model, again, metadata=METADATA, images=images[:5], input_shape=case.input_shape
    )
    assert again.read_bytes() == case.files[suffix].read_bytes()


FRESH_PROCESS = """
import json, pickle, sys
import torch
from mnist_sgd.export import export_model

early = {"onnx", "onnxscript", "onnxruntime", "torch._dynamo"} & set(sys.modules)
with open("job.pickle", "rb") as file:
    metadata, images, models = pickle.load(file)
for name, (model, input_shape) in reversed(models.items()):
    for suffix in (".pt", ".pt2", ".onnx"):
        path = name + suffix
        export_model(model, path, metadata=metadata, images=images, input_shape=input_shape)
print(json.dumps(sorted(early)))
"""


def test_a_fresh_process_elsewhere_gives_the_same_bytes_and_imports_exporters_late(
    cases: dict[str, Case], images: NDArray[np.uint8], tmp_path: Path
) -> None:
    chosen = {name: cases[name] for name in ("linear", "cnn")}
    models = {name: (case.model, case.input_shape) for name, case in chosen.items()}
    (tmp_path / "job.pickle").write_bytes(pickle.dumps((METADATA, images[:3], models)))
    done = subprocess.run(
        [sys.executable, "-W", "error", *LEFT_BY_TORCH, "-c", FRESH_PROCESS],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | {"PYTHONHASHSEED": "123"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert json.loads(done.stdout) == []
    for name, case in chosen.items():
        for suffix, path in case.files.items():
            assert (tmp_path / (name + suffix)).read_bytes() == path.read_bytes(), name + suffix


# --- what is refused


class BranchOnData(nn.Module):
    """Answers by a branch that tracing cannot see: the blank example takes the other one."""

    def forward(self, x: Tensor) -> Tensor:
        total = x.sum(1, keepdim=True)
        return total * 0 - 1 if x.sum() == 0 else total * 0 + 1


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_torchscript_file_that_answers_otherwise_is_refused_and_the_old_one_stays(
    images: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"the old file")
    with pytest.raises(ExportError) as error:
        export_model(BranchOnData(), path, metadata=Metadata(classes=("7", "3")), images=images)
    assert str(error.value) == (
        f"{path} was not written: TorchScript and torch give 2,038 of 2,038 images different "
        "labels and probabilities up to 0.46 apart; 1e-05 is allowed"
    )
    assert path.read_bytes() == b"the old file"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pt"]


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_a_model_that_cannot_be_traced_is_refused_in_one_line_and_nothing_is_printed(
    suffix: str, images: NDArray[np.uint8], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"model{suffix}"
    sentence = (
        f"{path} was not written: the model branches on the values of its input, and a file's "
        "graph does the same for every image (Could not guard on data-dependent expression "
        "Eq(u0, 1))"
    )
    with pytest.raises(ExportError, match=f"^{re.escape(sentence)}$"):
        export_model(BranchOnData(), path, metadata=METADATA, images=images[:9])
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_what_a_model_prints_while_it_is_exported_is_not_lost(
    images: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Talking(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            print("hello", file=sys.stderr)
            return super().forward(x)

    model = Talking(784, 1)
    nn.init.constant_(model.bias, -9.0)
    export_model(model, tmp_path / "model.pt2", metadata=METADATA, images=images[:1])
    assert capsys.readouterr().err.splitlines() == ["hello", "hello"]  # torch's own, the trace


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_frozen_batch_size_is_refused(images: NDArray[np.uint8], tmp_path: Path) -> None:
    class Frozen(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).reshape(int(x.shape[0]), 1)

    with pytest.raises(
        ExportError, match=r"model\.pt was not written: The following operation failed"
    ):
        export_model(Frozen(784, 1), tmp_path / "model.pt", metadata=METADATA, images=images[:2])


@pytest.mark.parametrize("shift", [2e-5, float("nan")])
def test_an_onnx_runtime_that_answers_otherwise_is_refused_and_the_old_file_stays(
    shift: float,
    constant: tuple[nn.Module, Path],
    images: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shift_onnx_answers(monkeypatch, shift)
    model, path = constant
    with pytest.raises(ExportError, match=r"up to (2e-05|nan) apart; 1e-05 is allowed$"):
        export_model(model, path, metadata=METADATA, images=images[:300])
    assert path.read_bytes() == b"the old file"


def test_a_label_that_differs_within_the_tolerance_asked_for_is_reported_not_refused(
    constant: tuple[nn.Module, Path],
    images: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shift_onnx_answers(monkeypatch, 2e-5)
    model, path = constant
    report = export_model(model, path, metadata=METADATA, images=images[:300], tolerance=3e-5)
    assert report.label_disagreements == 300
    assert report.max_difference == pytest.approx(2e-5, rel=0.1)
    assert path.stat().st_size == report.size


def shift_onnx_answers(monkeypatch: pytest.MonkeyPatch, shift: float) -> None:
    from mnist_sgd_serve.model.predictor import Predictor

    true_answers = Predictor.probabilities

    def shifted(self: Predictor, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return true_answers(self, images) + np.float32(shift)

    monkeypatch.setattr(Predictor, "probabilities", shifted)


def test_a_model_that_diverged_is_refused_with_what_to_do(
    images: NDArray[np.uint8], tmp_path: Path
) -> None:
    model = nn.Linear(784, 1)
    with torch.no_grad():
        model.weight.fill_(math.inf)  # inf - inf is nan: only an image of one grey is answered
    some = images[:300].copy()
    some[7:9] = 255
    path = tmp_path / "model.onnx"
    with pytest.raises(ExportError) as error:
        export_model(model, path, metadata=METADATA, images=some)
    assert str(error.value) == (
        f"{path} was not written: for 298 of 300 images the model predicts nan, as after a "
        "training that diverged; train with a smaller learning rate"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_model_with_two_logits_is_refused(images: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(ExportError) as refused:
        export_model(nn.Linear(784, 2), path, metadata=METADATA, images=images)
    assert str(refused.value) == (
        f"{path} was not written: the model must have one output, torch.float32 [B, 1]; for a "
        "batch of 1 it returns torch.float32 [1, 2]"
    )


def test_a_model_that_gives_no_tensor_is_refused(images: NDArray[np.uint8], tmp_path: Path) -> None:
    class Both(nn.Linear):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            return super().forward(x), x

    with pytest.raises(
        ExportError,
        match=r"model\.pt was not written: given float32 \[B, 784\], the model fails: it returns a "
        r"tuple, not a tensor of logits \[B, 1\]$",
    ):
        export_model(Both(784, 1), tmp_path / "model.pt", metadata=METADATA, images=images)


class Norm(nn.Module):
    """Batch norm without running statistics, of one value or of one picture per channel."""

    def __init__(self, pictures: bool) -> None:
        super().__init__()
        self.pictures = pictures
        kind = nn.BatchNorm2d if pictures else nn.BatchNorm1d
        self.norm = kind(1 if pictures else 784, track_running_stats=False)
        self.head = nn.Linear(784, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x.reshape(-1, 1, 28, 28)).flatten(1) if self.pictures else self.norm(x)
        logits: Tensor = self.head(x)
        return logits


@pytest.mark.parametrize("pictures", [False, True])
def test_a_batch_norm_without_running_statistics_is_refused(
    pictures: bool, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(ExportError) as refused:
        export_model(Norm(pictures), path, metadata=METADATA, images=images[:20])
    assert str(refused.value) == (
        f"{path} was not written: batch norm (layer 'norm') keeps no running statistics, so "
        "each prediction depends on the other images of its batch; make it with "
        "track_running_stats=True and train again"
    )


class Centred(nn.Linear):
    """Subtracts the mean of the batch from each image."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(0))


class AtRandom(nn.Linear):
    """Applies dropout in evaluation mode, too."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(x, 0.5, training=True))


@pytest.mark.parametrize("kind", [Centred, AtRandom])
@pytest.mark.parametrize("suffix", [".onnx", ".pt", ".pt2"])
def test_a_model_whose_prediction_depends_on_more_than_the_image_is_refused(
    kind: type[nn.Linear], suffix: str, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    path = tmp_path / f"model{suffix}"
    with pytest.raises(
        ExportError,
        match=r"was not written: the model's probabilities for a single image and for the same "
        r"image in a batch differ by up to [01]\.\d+; 1e-05 is allowed\. A prediction must not "
        r"depend on the other images of its batch, nor on chance$",
    ):
        export_model(kind(784, 1), path, metadata=METADATA, images=images[:20])
    assert list(tmp_path.iterdir()) == []


def test_another_suffix_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"model\.h5: the name must end in one of \.onnx, \.pt, \.pt2"
    ):
        export_model(
            nn.Linear(784, 1),
            tmp_path / "model.h5",
            metadata=METADATA,
            images=np.zeros((1, 28, 28), np.uint8),
        )


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "model.onnx"
    with pytest.raises(FileNotFoundError, match=r"missing does not exist; make it first"):
        export_model(
            nn.Linear(784, 1), path, metadata=METADATA, images=np.zeros((1, 28, 28), np.uint8)
        )


@pytest.mark.parametrize(
    ("shape", "dtype", "given_as"),
    [
        ((2, 28, 28), "float32", r"float32 \[2, 28, 28\]"),
        ((0, 28, 28), "uint8", r"uint8 \[0, 28, 28\]"),
        ((2, 784), "uint8", r"uint8 \[2, 784\]"),
    ],
)
def test_images_of_another_kind_are_refused(
    shape: tuple[int, ...], dtype: str, given_as: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"uint8 \[N, 28, 28\] with N at least 1, got {given_as}"):
        export_model(
            nn.Linear(784, 1),
            tmp_path / "model.onnx",
            metadata=METADATA,
            images=np.zeros(shape, dtype),
        )


def test_an_input_shape_of_other_images_is_refused() -> None:
    with pytest.raises(ValueError, match=r"784 pixels .* got \(3, 28, 28\)"):
        Classifier(nn.Linear(784, 1), input_shape=(3, 28, 28))


# --- the comparison itself


def test_all_images_are_asked_in_order_and_the_first_of_them_alone() -> None:
    sizes = []

    def first_pixels(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        sizes.append(len(batch))
        return batch[:, 0, 0].astype(np.float32)

    images = np.resize(np.arange(600, dtype=np.uint16).astype(np.uint8), (28, 28, 600)).T
    np.testing.assert_array_equal(predict_all(first_pixels, images), images[:, 0, 0])
    assert sizes == [1, BATCH, BATCH, 600 - 1 - 2 * BATCH]
    assert len(predict_all(first_pixels, images[:1])) == 1


probability = st.floats(0, 1, width=32)


@given(st.lists(st.tuples(probability, probability), min_size=1), st.floats(0, 1))
def test_labels_differ_only_where_the_threshold_is_within_the_difference(
    pairs: list[tuple[float, float]], threshold: float
) -> None:
    expected, answers = np.array(pairs, np.float32).T
    parity = compare(expected, answers, threshold=threshold)
    metadata = Metadata(classes=("7", "3"), threshold=threshold)
    differ = [pair for pair in pairs if metadata.label(pair[0]) != metadata.label(pair[1])]
    assert parity.label_disagreements == len(differ)
    assert all(abs(pair[0] - threshold) <= parity.max_difference for pair in differ)


def test_a_torch_module_of_another_answer_shape_is_named() -> None:
    with pytest.raises(ExportError, match=r"of 3 it returns torch\.uint8 \[3, 28, 28\]$"):
        torch_predict_fn(nn.Identity())(np.zeros((3, 28, 28), np.uint8))
