"""The command in processes that start at once and may be killed at any moment.

They are forked off a server that has imported what training needs, so that a start costs a fraction
of a second instead of several.
"""

import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from mnist_sgd.cli import main

__all__ = ["start"]

_FORKING = get_context("forkserver")
_FORKING.set_forkserver_preload(["killing", "mnist_sgd.learner", "torch.onnx"])


def start(arguments: list[str], output: Path, cwd: Path | None = None) -> ForkServerProcess:
    """Start the command with `arguments`, its output and errors going to the file `output`.

    It runs in the folder `cwd`, or in that of the tests.
    """
    process = _FORKING.Process(target=_run, args=(arguments, output, cwd))
    process.start()
    return process


def _run(arguments: list[str], output: Path, cwd: Path | None) -> None:
    if cwd is not None:
        os.chdir(cwd)
    with output.open("w", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        code = main(arguments)
    sys.exit(code)
