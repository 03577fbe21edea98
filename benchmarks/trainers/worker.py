"""A process that trains in one contender, a turn each time it is told to.

    python worker.py LOOP THREADS PACKAGE

It is asked with a number of epochs, and answers `ends`, the time and the processor time in seconds
at which each epoch ended; `accuracy`, after the last of them; `version`, of the package; `stages`,
if the loop says how long its parts took.
"""

import importlib
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from harness.answers import serve


def make() -> Callable[[int], dict[str, Any]]:
    """Import the loop."""
    loop, threads, package = sys.argv[1:]
    torch.set_num_threads(int(threads))
    train = importlib.import_module(f"loops.{loop}").train

    def answer(epochs: int) -> dict[str, Any]:
        torch.manual_seed(0)
        return {**train(epochs), "version": version(package)}

    return answer


if __name__ == "__main__":
    serve(make)
