"""Ctrl-C ends a command with one line and code 130, however early it comes."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_sgd.data import sample_digits
from mnist_sgd_serve.process.interruption import was_interrupted
from trained import TrainedFiles
from waiting import PATIENCE

INTERRUPTED = (130, "", "mnist-sgd: interrupted\n")

AT_AN_IMPORT = """
import os, signal, sys

def interrupt(event, arguments):
    if event == "import" and arguments[0] == sys.argv[1] and not told:
        told.append(os.kill(os.getpid(), signal.SIGINT))

told = []
from mnist_sgd.cli import main
sys.addaudithook(interrupt)
sys.exit(main(sys.argv[2:]))
"""

AS_PYBIND11_SAYS_IT = """
import sys
from mnist_sgd.cli import main

class Finder:
    def find_spec(name, *others):
        if name == "onnxruntime":
            raise ImportError("initialization failed") from KeyboardInterrupt()

sys.meta_path.insert(0, Finder)
sys.exit(main(sys.argv[1:]))
"""


def ended(script: str, *arguments: object) -> tuple[int, str, str]:
    line = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "module",
    [
        *("mnist_sgd.cli.command", "argparse", "mnist_sgd.cli.options.models", "numpy"),
        *("onnxruntime", "PIL.Image"),
    ],
)
def test_ctrl_c_while_a_module_is_imported_is_one_line(module: str, trained: TrainedFiles) -> None:
    arguments = ["predict", sample_digits()[0], "--model", trained.artifact]
    assert ended(AT_AN_IMPORT, module, *arguments) == INTERRUPTED


@pytest.mark.parametrize("name", ["predict", "evaluate", "inspect"])
def test_ctrl_c_that_a_c_module_turns_into_an_import_error_is_one_line(
    name: str, trained: TrainedFiles
) -> None:
    model = ["three.png", "--model"] if name == "predict" else []
    assert ended(AS_PYBIND11_SAYS_IT, name, *model, trained.artifact) == INTERRUPTED


def test_a_server_that_is_interrupted_while_it_starts_ends_with_0(
    trained: TrainedFiles,
) -> None:
    arguments = ["serve", trained.artifact, "--port", "0"]
    assert ended(AS_PYBIND11_SAYS_IT, *arguments) == (0, "", "")


def test_a_missing_module_is_not_reported_as_an_interruption() -> None:
    try:
        try:
            raise ModuleNotFoundError("No module named 'onnxruntime'")
        except ImportError as error:
            raise ImportError("serving needs onnxruntime") from error
    except ImportError as error:
        assert not was_interrupted(error)
    without = AS_PYBIND11_SAYS_IT.replace(" from KeyboardInterrupt()", "")
    code, out, err = ended(without, "inspect", "none.onnx")
    assert (code, out) == (2, "")
    assert err.startswith("mnist-sgd: none.onnx cannot be read")


def test_nothing_slow_is_loaded_before_a_command_begins() -> None:
    """Ctrl-C would have to wait for it, and so would every command."""
    script = (
        "import sys; from mnist_sgd.cli import main; before = set(sys.modules)\n"
        "from mnist_sgd.cli import _parser; _parser()\n"
        "print('argparse' in before, sorted({'numpy', 'PIL', 'torch'} & set(sys.modules)))"
    )
    assert ended(script) == (0, "False []\n", "")


def test_a_running_training_is_interrupted(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "mnist_sgd", "train", "--epochs", "99999", "--out", str(tmp_path)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        assert one.stdout.readline().startswith("epoch")
        one.send_signal(signal.SIGINT)
        _, err = one.communicate(timeout=PATIENCE)
    assert (one.returncode, err) == (130, "mnist-sgd: interrupted\n")
