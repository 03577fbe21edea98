"""A model of one's own is named package.module:factory; what is wrong with one is said."""

import contextlib
import copy
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import learners
from hooks import StopAfter
from mnist_sgd import (
    Checkpoint,
    CheckpointError,
    DataLoader,
    DataLoaders,
    EarlyStopping,
    Learner,
    create_model,
)
from mnist_sgd._state_file import dump, parse
from mnist_sgd.cli import main
from mnist_sgd.export.trial import try_files
from mnist_sgd.models.builtin import model_name
from mnist_sgd.models.summary import ENDS_IN_SIGMOID
from mnist_sgd_serve import Predictor
from runs import easy_set
from trained import Run
from waiting import PATIENCE

NETS = """\
import torch
from torch import nn

SIZE = 3

def small():
    return nn.Sequential(nn.Linear(784, 5), nn.Tanh(), nn.Linear(5, 1))

def lazy():
    return nn.Sequential(nn.LazyLinear(5), nn.Dropout(), nn.ReLU(), nn.LazyLinear(1))

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(784, 1)

    def forward(self, x):
        return self.layer(x)

def wide(width):
    return nn.Linear(784, width)

def text():
    return "a model"

def ten():
    return nn.Linear(784, 10)

def pictures():
    return nn.Conv2d(1, 1, 28)

def pair():
    class Pair(Own):
        def forward(self, x):
            return self.layer(x), x
    return Pair()

def constant():
    return nn.Sequential(nn.Linear(784, 1)).requires_grad_(False)

def half():
    class Half(Own):
        def forward(self, x):
            return self.layer(x).half()
    return Half()
"""

HARD = """\
import torch
from torch import nn

class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(784, 1)

    def forward(self, x):
        return self.layer(x) if x.sum() > 1e6 else self.layer(1 - x)

def probability():
    return nn.Sequential(nn.Linear(784, 1), nn.Sigmoid(), nn.Flatten())

class Noisy(Branch):
    def forward(self, x):
        return self.layer(x + torch.rand_like(x))

class Unknown(Branch):
    def get_extra_state(self):
        return {"rule": object()}

class NotTaken(Branch):
    def get_extra_state(self):
        return 3

def tied():
    model = nn.Sequential(nn.Linear(784, 5), nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 1))
    model[2].weight = model[1].weight
    return model

def compiled():
    return torch.compile(tied(), backend="eager")
"""

WANTED = r"; a model maps float32 \[2, 784\] to logits, float32 \[2, 1\]"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a module and a package; neither stays imported."""
    (tmp_path / "own_nets.py").write_text(NETS)
    (tmp_path / "own_hard.py").write_text(HARD)
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "nets.py").write_text(NETS)
    (tmp_path / "own_needs.py").write_text("import not_installed_anywhere\n")
    (tmp_path / "own_broken.py").write_text("def small(:\n")
    (tmp_path / "own_raises.py").write_text("raise OSError('no licence\\nserver')\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["own_nets:small", "own_package.nets:lazy", "own_nets:Own"])
def test_a_factory_in_the_current_folder_makes_the_same_model_for_a_seed(
    folder: Path, name: str
) -> None:
    random_state, path = torch.get_rng_state(), list(sys.path)
    models = [create_model(name, seed) for seed in (3, 3, 4)]
    weights = [torch.cat([p.flatten() for p in model.parameters()]) for model in models]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert all(module.training for module in models[0].modules())
    assert models[0].eval()(torch.zeros(7, 784)).shape == (7, 1)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert sys.path == path


def test_a_model_is_named_after_its_factory_while_it_lives(folder: Path) -> None:
    assert model_name(create_model("own_nets:Own", 0)) == "own_nets:Own"
    assert model_name(create_model("own_nets:small", 0)) == "own_nets:small"
    assert model_name(nn.Linear(784, 1)) == "linear"
    assert model_name(nn.Linear(784, 2)) == "Linear"


def test_a_factory_of_a_built_in_architecture_keeps_its_own_name(folder: Path) -> None:
    (folder / "own_same.py").write_text("from torch import nn\nsame = lambda: nn.Linear(784, 1)\n")
    model = create_model("own_same:same", 0)
    assert model_name(model) == "own_same:same"
    assert model_name(copy.deepcopy(model)) == "own_same:same"


@pytest.mark.parametrize("earlier", [False, True], ids=["new", "earlier"])
def test_its_checkpoint_resumes_also_under_the_name_that_earlier_versions_gave_it(
    folder: Path, earlier: bool
) -> None:
    (folder / "own_same.py").write_text("from torch import nn\nsame = lambda: nn.Linear(784, 1)\n")

    def learner() -> Learner:
        return learners.learner(create_model("own_same:same", 0))

    path = folder / "checkpoint.safetensors"
    whole = learner()
    whole.fit(2, cbs=Checkpoint(path, every=1))
    cut = learner()
    with contextlib.suppress(KeyboardInterrupt):
        cut.fit(2, cbs=[Checkpoint(path, every=1), StopAfter(3, KeyboardInterrupt)])
    state = parse(path.read_bytes())
    assert state["fit"]["model"] == "own_same:same"
    if earlier:
        state["fit"]["model"] = "linear"
        path.write_bytes(dump(state))
    resumed = learner()
    resumed.fit(2, resume=path)
    assert torch.equal(resumed.model.weight, whole.model.weight)  # type: ignore[arg-type]
    state["fit"]["model"] = "mlp"
    path.write_bytes(dump(state))
    with pytest.raises(CheckpointError, match=r"other model: the checkpoint has mlp, this fit has"):
        learner().fit(2, resume=path)


def test_a_checkpoint_that_an_earlier_version_wrote_resumes(folder: Path) -> None:
    """Its file is of the eighth of twelve batches; it calls the model linear."""
    (folder / "own_same.py").write_text("from torch import nn\nsame = lambda: nn.Linear(784, 1)\n")
    path = Path(__file__).with_name("earlier_checkpoint.safetensors")

    def fit(resume: Path | None) -> Learner:
        model = create_model("own_same:same", 0)
        learn = learners.learner(model, opt_func=torch.optim.AdamW)
        learn.fit(2, lr=0.01, cbs=EarlyStopping(9), resume=resume)
        return learn

    resumed, whole = fit(path), fit(None)
    assert resumed.recorder.lrs == whole.recorder.lrs
    assert resumed.recorder.losses == pytest.approx(whole.recorder.losses, rel=1e-4)
    pairs = zip(resumed.model.parameters(), whole.model.parameters(), strict=True)
    assert all(torch.allclose(*pair, atol=1e-4) for pair in pairs)


class Linear(nn.Linear):
    """Prints as torch's own does, and is another layer."""


class linear(nn.Module):  # noqa: N801 (the name is what is tried)
    """Has the name of a built-in model."""


def hooked() -> nn.Module:
    model = nn.Linear(784, 1)
    model.register_forward_hook(lambda module, inputs, output: -output)
    return model


def with_another_forward() -> nn.Module:
    model = nn.Linear(784, 1)
    model.forward = lambda x: x[:, :1]  # type: ignore[assignment, method-assign]
    return model


def mlp(width: int = 30, activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    return nn.Sequential(nn.Linear(784, width), activation(), nn.Linear(width, 1))


def cnn_with(change: str) -> nn.Module:
    """The built-in cnn with one setting changed, which may change no weight's shape."""
    model = create_model("cnn", 0)
    assert isinstance(model, nn.Sequential)
    if change == "stride":
        model[1].stride = (1, 1)  # type: ignore[assignment]
    elif change == "eps":
        model[2].eps = 0.1  # type: ignore[assignment]
    elif change == "one activation for all":
        model[3] = model[6] = model[9]
    return model


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: nn.Linear(784, 1), "linear"),
        (lambda: nn.Linear(784, 1).bfloat16(), "linear"),
        (lambda: nn.Linear(784, 1).requires_grad_(False), "linear"),
        (lambda: nn.Linear(784, 1, bias=False), "Linear"),
        (lambda: Linear(784, 1), "Linear"),
        (linear, f"{__name__}.linear"),
        (hooked, "Linear"),
        (with_another_forward, "Linear"),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(784, 1)), "ParametrizedLinear"),
        (mlp, "mlp"),
        (lambda: mlp(31), "Sequential"),
        (lambda: mlp(activation=nn.GELU), "Sequential"),
        (lambda: create_model("cnn", 3), "cnn"),
        (lambda: create_model("cnn_histogram", 3), "cnn_histogram"),
        (lambda: cnn_with("one activation for all"), "cnn"),
        (lambda: cnn_with("stride"), "Sequential"),
        (lambda: cnn_with("eps"), "Sequential"),
        (lambda: torch.compile(mlp(), backend="eager"), "mlp"),
        (lambda: nn.DataParallel(mlp()), "mlp"),
    ],
)
def test_a_model_has_a_built_in_name_only_if_it_computes_the_same(
    make: Callable[[], nn.Module], name: str
) -> None:
    assert model_name(make()) == name


def test_a_copy_of_a_custom_model_has_its_name(folder: Path) -> None:
    model = create_model("own_nets:Own", 0)
    assert model_name(copy.deepcopy(model)) == "own_nets:Own"
    assert model_name(AveragedModel(model)) == "own_nets:Own"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "resnet",
            r"there is no model 'resnet'; there are: linear, mlp, cnn, cnn_histogram, and "
            r"package\.module:factory for a custom model",
        ),
        (
            "own_nets.py:small()",
            r"a custom model is named package\.module:factory, such as nets:small; "
            r"got 'own_nets\.py:small\(\)'",
        ),
        (
            "own_nest:small",
            r"own_nest:small: there is no module own_nest in the current folder, .*, nor where "
            r"Python finds its packages",
        ),
        (
            "own_package.nest:small",
            r"own_package\.nest:small: there is no module own_package\.nest in the current .*",
        ),
        (
            "own_needs:small",
            r"own_needs:small: importing own_needs failed: ModuleNotFoundError: "
            r"No module named 'not_installed_anywhere'",
        ),
        (
            "own_broken:small",
            r"own_broken:small: importing own_broken failed: SyntaxError: .*own_broken\.py, "
            r"line 1\)",
        ),
        (
            "own_raises:small",
            r"own_raises:small: importing own_raises failed: OSError: no licence",
        ),
        (
            "own_nets:smal",
            r"own_nets:smal: .*own_nets\.py has no 'smal'; did you mean small\?",
        ),
        ("own_nets:resnet", r"own_nets:resnet: .*own_nets\.py has no 'resnet'"),
        (
            "own_nets:SIZE",
            r"own_nets:SIZE: SIZE is of type int; a factory is a function without arguments, or "
            r"a class, that returns a model",
        ),
        (
            "own_nets:wide",
            r"own_nets:wide failed: TypeError: wide\(\) missing 1 required positional argument: "
            r"'width'; a factory takes no arguments and returns a model",
        ),
        (
            "own_nets:text",
            r"own_nets:text returned an object of type str; a factory returns a torch\.nn\.Module",
        ),
        ("own_nets:ten", r"own_nets:ten: its model returned float32 \[2, 10\]" + WANTED),
        ("own_nets:half", r"own_nets:half: its model returned float16 \[2, 1\]" + WANTED),
        ("own_nets:pair", r"own_nets:pair: its model returned tuple" + WANTED),
        ("own_nets:pictures", r"own_nets:pictures: its model failed: RuntimeError: .*" + WANTED),
        (
            "own_nets:constant",
            r"own_nets:constant: its model has no trainable parameters",
        ),
    ],
)
def test_a_factory_that_cannot_be_used_is_refused(folder: Path, name: str, message: str) -> None:
    path = list(sys.path)
    with pytest.raises(ValueError, match=rf"\A{message}\Z"):
        create_model(name, 0)
    assert sys.path == path


def test_the_commands_train_go_on_with_and_export_it(
    folder: Path, command: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "--model", "own_nets:small", "--epochs", "1", "--resume"]
    begun = command(*train, cwd=folder)
    assert (begun.returncode, begun.stderr) == (
        0,
        "mnist-sgd: no checkpoint yet; starting the training\n",
    )
    assert main(train) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (
        begun.stdout,
        "mnist-sgd: checkpoint.safetensors: the training is complete\n",
    )
    assert Predictor("model.onnx").metadata.model == "own_nets:small"
    assert main(["export", "model.safetensors", "again.onnx"]) == 2
    assert capsys.readouterr().err == (
        "mnist-sgd: model.safetensors is of a model that own_nets:small makes; its code is run if "
        "you name it with --model own_nets:small\n"
    )
    assert main(["export", "model.safetensors", "again.onnx", "--model", "own_nets:small"]) == 0
    assert Path("again.onnx").read_bytes() == Path("model.onnx").read_bytes()


BRANCHES = (
    "it could not be exported: the model branches on the values of its input, and a file's graph "
    "does the same for every image (Could not guard on data-dependent expression Eq(u0, 1))"
)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Branch", re.escape(BRANCHES)),
        ("probability", re.escape(f"it could not be exported: {ENDS_IN_SIGMOID}")),
        (
            "Noisy",
            r"it could not be exported: the model's probabilities for a single image and for the "
            r"same image in a batch differ by up to 0\.\d+; 1e-05 is allowed\. A prediction must "
            r"not depend on the other images of its batch, nor on chance",
        ),
        (
            "Unknown",
            r"its weights could not be saved and loaded: these weights cannot be written: "
            r"_extra_state\.rule is a object, which a file of tensors cannot hold",
        ),
        (
            "NotTaken",
            r"its weights could not be saved and loaded: this model does not take its weights: .+",
        ),
    ],
)
@pytest.mark.parametrize("options", [["--run", "first"], ["--out", "out", "--resume"]], ids=str)
def test_a_model_that_leaves_no_files_is_refused_before_the_first_batch(
    folder: Path,
    name: str,
    reason: str,
    options: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", "--model", f"own_hard:{name}", "--epochs", "1", *options]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(rf"mnist-sgd: own_hard:{name}: {reason}; nothing was trained\n", err), err
    assert not Path("runs").exists()
    assert not Path("out").exists()


def test_all_ranks_end_alike_where_a_model_is_refused(folder: Path) -> None:
    line = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python"]
    line += ["sh", "-c", '"$0" -m mnist_sgd "$@"; echo "rank $RANK ends with $?"; exit 0']
    line += [sys.executable, "train", "--model", "own_hard:Branch", "--epochs", "1"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert sorted(done.stdout.splitlines()) == ["rank 0 ends with 2", "rank 1 ends with 2"]
    assert f"mnist-sgd: own_hard:Branch: {BRANCHES}; nothing was trained" in done.stderr


def test_a_trial_changes_nothing(folder: Path) -> None:
    model = nn.Sequential(nn.Linear(784, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 1))
    model[1].eval()
    loader = DataLoader(easy_set(), 16)
    learn = Learner(DataLoaders(loader, loader), model)
    before = copy.deepcopy(model.state_dict())
    random_state = torch.get_rng_state()
    try_files(learn, "nets:model")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [module.training for module in model] == [True, False, True, True]
    assert torch.equal(torch.get_rng_state(), random_state)
    assert loader.state_dict()["samples_seen"] == 0
    assert not list(folder.glob("model*"))


@pytest.mark.parametrize("name", ["tied", "compiled"])
def test_shared_and_compiled_models_leave_their_files(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--model", f"own_hard:{name}", "--epochs", "1"]) == 0
    factory = ["--model", f"own_hard:{name}"]
    assert main(["export", "model.safetensors", "again.onnx", *factory]) == 0
    assert Path("again.onnx").read_bytes() == Path("model.onnx").read_bytes()
    assert Predictor("model.onnx").metadata.model == f"own_hard:{name}"
