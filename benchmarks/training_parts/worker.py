"""A process that trains in one way, a turn each time it is told to.

    python worker.py LOOP THREADS PACKAGE

It reads a number of epochs a line, and answers with a line of JSON: `ends`, the time and the
processor time in seconds at which each epoch ended; `accuracy`, after the last of them; `version`,
of the package; `stages`, if the loop says how long its parts took.
"""

import importlib
import json
import os
import sys
import warnings
from importlib.metadata import version

import torch


def main() -> None:
    """Serve until standard input ends."""
    loop, threads, package = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a framework prints is no answer
    warnings.simplefilter("ignore")
    torch.set_num_threads(int(threads))
    train = importlib.import_module(f"loops.{loop}").train
    for line in sys.stdin:
        torch.manual_seed(0)
        print(json.dumps({**train(int(line)), "version": version(package)}), file=answers)


if __name__ == "__main__":
    main()
