"""A process that loads in one contender, a turn each time it is told to.

    python worker.py CONTENDER SETTING PACKAGE FOLDER IMAGES

It first checks what the contender delivers, on a few images. It is asked with `seconds` and the
contender's `variants` that shall take a turn, all if there are none, and answers with the images a
second of each, `rates`, and the `version` of the package.
"""

import importlib
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from contenders.common import Data
from harness.answers import serve

CHECKED = 12_396


def make() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Import the contender and check it."""
    contender, setting, package, folder, images = sys.argv[1:]
    prepare = importlib.import_module(f"contenders.{contender}").prepare
    data = Data(Path(folder), int(images))
    few = Data(data.folder, min(data.count, CHECKED))
    for loader in prepare(few, setting).values():
        loader.check(few)
    loaders = prepare(data, setting)

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        names = question["variants"] or list(loaders)
        rates = {name: loaders[name].turn(question["seconds"]) for name in names}
        return {"rates": rates, "version": version(package) if package else ""}

    return answer


if __name__ == "__main__":
    serve(make)
