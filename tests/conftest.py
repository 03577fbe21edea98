"""What several tests need: a model trained once, with its files."""

import os
import signal
from pathlib import Path
from subprocess import CompletedProcess, run
from sys import executable

import pytest
from hypothesis import HealthCheck, settings

from hygiene import (  # noqa: F401  # pytest finds them here
    process_stays_as_it_was,
    pytest_runtest_setup,
    root_stays_as_it_was,
)
from trained import Run, TrainedFiles
from waiting import PATIENCE

# Torch takes one thread, here and in the processes that tests start: on a busy machine several wait
# for each other, and the last digits of a sum depend on their number.
os.environ["OMP_NUM_THREADS"] = "1"

# What a shell starts in the background ignores Ctrl-C, what nohup starts SIGHUP too; the commands
# that tests start must not.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The same examples each time, however slow the machine is. `pytest --hypothesis-profile search`
# looks for new ones; what it finds becomes an @example.
_SEARCH = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", _SEARCH)
settings.register_profile("suite", _SEARCH, derandomize=True)
settings.load_profile("suite")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of the test's own, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=["table", "capsules"])
def either_exchange(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways in which a batch becomes torch's tensors; torch before 2.10 has no table."""
    import torch

    name = "__dlpack_c_exchange_api__"
    if request.param == "capsules":
        monkeypatch.delattr(torch.Tensor, name, raising=False)
    elif not hasattr(torch.Tensor, name):
        pytest.skip("this torch has no table of DLPack")


@pytest.fixture(scope="session")
def command() -> Run:
    """Run `mnist-sgd` with arguments in a process of its own, in the folder `cwd`."""

    def run_command(*args: str | Path, cwd: Path | None = None) -> CompletedProcess[str]:
        line = [executable, "-m", "mnist_sgd", *map(str, args)]
        return run(line, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False)

    return run_command


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small model, `onnx_models.linear()`, which no test changes."""
    import onnx_models

    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(onnx_models.content(onnx_models.linear()))
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, command: Run) -> TrainedFiles:
    """The main job as a user runs it, once for all tests."""
    folder = tmp_path_factory.mktemp("trained")
    done = command("train", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return TrainedFiles(folder, done.stdout)
