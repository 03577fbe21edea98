"""torchvision and matplotlib are needed by what uses them, and by nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from waiting import PATIENCE

WITHOUT = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("matplotlib", "torchvision"):
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
"""


def run_without(code: str, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run code where neither torchvision nor matplotlib can be imported."""
    command = [sys.executable, "-c", WITHOUT + code, *args]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


MAIN = "from mnist_sgd.cli import main; sys.exit(main(sys.argv[1:]))"


def test_the_main_job_needs_neither(tmp_path: Path) -> None:
    done = run_without(MAIN, "train", "--epochs", "2", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["epoch", "train_loss", "valid_loss", "batch_accuracy", "time"]
    assert [line.split()[0] for line in lines[1:3]] == ["0", "1"]
    assert "same answers as PyTorch on 2,038 images" in done.stdout
    assert (tmp_path / "model.onnx").is_file()


def missing(user: str, library: str) -> str:
    return (
        f"{user} needs {library}, which cannot be imported here (No module named '{library}'): "
        f"pip install {library}"
    )


@pytest.mark.parametrize(
    ("args", "user", "library"),
    [
        (["train", "--dataset", "MNIST", "--classes", "7", "3"], "the set MNIST", "torchvision"),
        (["train", "--run", "first"], "train --run", "matplotlib"),
        (["evaluate", "--plot", "curves.svg"], "a chart", "matplotlib"),
        (["compare", "one", "--html", "page.html"], "compare --html", "matplotlib"),
    ],
)
def test_a_command_says_what_it_misses_before_it_does_anything(
    args: list[str], user: str, library: str, tmp_path: Path
) -> None:
    done = run_without(MAIN, *args, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"mnist-sgd: {missing(user, library)}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "user"),
    [
        ("mnist_sgd.Recorder.plot_loss(None)", "Recorder.plot_loss"),
        ("mnist_sgd.Recorder.plot_sched(None)", "Recorder.plot_sched"),
        ("mnist_sgd.DataLoaders(*map(mnist_sgd.DataLoader, sets)).show_batch()", "a chart"),
        ("mnist_sgd.training.lr_finder.LRFind.plot(None)", "LRFind.plot"),
        ("mnist_sgd.write_run(None, 'run')", "write_run"),
    ],
)
def test_python_says_it_as_an_import_error(call: str, user: str, tmp_path: Path) -> None:
    code = f"""
import mnist_sgd
for name in mnist_sgd.__all__:
    getattr(mnist_sgd, name)
sets = mnist_sgd.mnist_sample()
try:
    {call}
except ImportError as error:
    print(error)
"""
    done = run_without(code, cwd=tmp_path)
    assert (done.stdout, done.stderr) == (f"{missing(user, 'matplotlib')}\n", "")
