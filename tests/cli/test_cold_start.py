"""A prediction loads no training code; benchmarks/cold_start.py measures what that is worth."""

import json
import subprocess
import sys

from mnist_sgd.data import sample_digits
from trained import TrainedFiles

SCRIPT = """\
import json, sys
from mnist_sgd.cli import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]))
"""


def test_predict_loads_neither_torch_nor_torchvision_nor_the_loader(trained: TrainedFiles) -> None:
    arguments = ["predict", str(sample_digits()[0]), "--model", str(trained.artifact)]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], check=True, capture_output=True, text=True
    )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert "onnxruntime" in modules
    assert not {"torch", "torchvision", "onnx", "mnist_sgd._core"} & set(modules)
