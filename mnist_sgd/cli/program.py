"""How this program is started, for advice that a reader can type as it stands."""

import os
import shlex
import shutil
import sys

__all__ = ["program"]

NAME = "mnist-sgd"


def program() -> str:
    """The command of this environment: by its name if the shell finds it, else by its path.

    A path inside the current folder is relative to it, as in `.venv/bin/mnist-sgd`.
    """
    own = shutil.which(NAME, path=os.path.dirname(sys.executable))
    if own is None:
        return NAME
    found = shutil.which(NAME)
    if found is not None and os.path.abspath(found) == os.path.abspath(own):
        return NAME
    try:
        relative = os.path.relpath(own)
    except (OSError, ValueError):  # the current folder is gone, or on another drive
        return shlex.quote(own)
    return shlex.quote(own if relative.startswith("..") else relative)
