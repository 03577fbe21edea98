"""The home folder of a workbench, its names, and the lock that keeps a second service out.

HOME/sets/NAME/CLASS/<pictures>    as `train --data` takes it
HOME/runs/NAME/                    a training, see `trainings`
HOME/served/model.onnx             what is served, see `serving`
HOME/workbench.lock                held by the service
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mnist_sgd._lock import holding
from mnist_sgd._names import is_class_name, is_ignored
from mnist_sgd.workbench.errors import Refusal

LONGEST_NAME = 64

_SET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_SPLITS = {"train", "training", "valid", "validation", "val", "test", "testing"}
"""Folders of these names would split the set instead of being classes."""


class HomeInUseError(ValueError):
    """Another service holds the home folder; the message names it."""


class Home:
    """The folders of a workbench; they are created.

    Args:
        path: of the home folder.

    Raises:
        OSError: a folder cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.sets, self.runs, self.served = (
            self.path / name for name in ("sets", "runs", "served")
        )
        for folder in (self.sets, self.runs, self.served):
            folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def only_service(self) -> Iterator[None]:
        """Be the only service of this home while the block runs.

        Raises:
            HomeInUseError: another one is.
            OSError: the folder cannot be locked.
        """

        def refuse() -> None:
            raise HomeInUseError(
                f"{self.path}: another workbench is running here; stop it, or choose another --home"
            )

        with holding(self.path / "workbench.lock", refuse):
            yield


def check_set_name(name: str) -> str:
    """Return the name of a set.

    Raises:
        Refusal: it is not 1 to 64 letters, digits, hyphens and underscores, a letter or digit
            first.
    """
    if len(name) > LONGEST_NAME or _SET_NAME.fullmatch(name) is None:
        raise Refusal(
            "a set's name is 1 to 64 letters, digits, '-' and '_', a letter or digit first; got "
            f"{name[:LONGEST_NAME]!r}"
        )
    return name


def check_class_name(name: str) -> str:
    """Return the name of a class, which becomes a folder.

    Raises:
        Refusal: it cannot be one.
    """
    if (
        not is_class_name(name)
        or len(name.encode()) > LONGEST_NAME
        or is_ignored(name)
        or "/" in name
        or "\\" in name
        or name != name.strip()
        or name.endswith(".")
    ):
        raise Refusal(
            "a class's name has 1 to 64 bytes, no slash, begins with no dot or space and ends in "
            f"none; got {name[:LONGEST_NAME]!r}"
        )
    if name.casefold() in _SPLITS:
        raise Refusal(f"a class cannot be called {name!r}, which names a part of a set")
    return name
