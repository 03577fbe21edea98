"""A command loads only what it needs; benchmarks/cold_start.py measures what that is worth."""

import json
import subprocess
import sys
from pathlib import Path

from mnist_sgd.data import sample_digits
from trained import TrainedFiles

SCRIPT = """\
import json, sys
from mnist_sgd.cli import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]))
"""


def modules_of(cwd: Path, *arguments: str) -> set[str]:
    """The modules that a successful command loads."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=cwd,
        check=True,
        capture_output=True,
        text=True,
    )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    return set(modules)


def test_predict_loads_neither_torch_nor_torchvision_nor_the_loader(
    trained: TrainedFiles, tmp_path: Path
) -> None:
    arguments = [str(sample_digits()[0]), "--model", str(trained.artifact)]
    modules = modules_of(tmp_path, "predict", *arguments)
    assert "onnxruntime" in modules
    assert not {"torch", "torchvision", "onnx", "mnist_sgd._core"} & modules
    assert not {"mnist_sgd.cli.train", "mnist_sgd_serve.settings"} & modules  # other commands


def test_training_on_the_sample_loads_nothing_that_reads_folders_of_pictures(
    tmp_path: Path,
) -> None:
    modules = modules_of(tmp_path, "train", "--epochs", "1")
    assert "torch" in modules
    assert not {"mnist_sgd.data.source", "PIL", "onnxscript", "torchvision"} & modules
    assert not {name for name in modules if name.startswith("mnist_sgd.data.pictures.")} - {
        "mnist_sgd.data.pictures.outputs"
    }
