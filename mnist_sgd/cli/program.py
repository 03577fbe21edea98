"""The command that starts this program, for advice that a reader can type."""

import os
import shlex
import shutil
import sys

NAME = "mnist-sgd"


def program() -> str:
    """The command of this environment: its name if the shell finds it, else its path.

    A path inside the current folder is relative, as in `.venv/bin/mnist-sgd`.
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
