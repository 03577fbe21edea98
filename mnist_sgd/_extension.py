"""The C++ extension `mnist_sgd._core`; importing this explains why it cannot be imported.

What needs the extension takes it from here, so that the error is the same wherever it is noticed.
"""

import os
from importlib.machinery import EXTENSION_SUFFIXES

from mnist_sgd._installed import is_source_tree


def _explained(error: ImportError) -> ImportError:
    """Say why there is no extension, and what to do."""
    package = os.path.dirname(os.path.abspath(__file__))
    root = os.path.dirname(package)
    needs = "the training side of mnist_sgd needs its C++ extension"
    files = [os.path.join(package, f"_core{suffix}") for suffix in EXTENSION_SUFFIXES]
    there = [file for file in files if os.path.exists(file)]
    if there:
        how = "pip install --force-reinstall --no-deps . in a clone rebuilds it"
        return ImportError(f"{needs}, and {there[0]} cannot be loaded ({error}); {how}")
    if is_source_tree(root):
        return ImportError(
            f"{needs}, and {package} is a source folder without one for this Python; "
            f"in {root}, pip install . builds and installs it, pip install -e . builds it there"
        )
    return ImportError(
        f"{needs}, which this installation was made without; "
        "pip install . without MNIST_SGD_WITHOUT_EXTENSION installs it and torch"
    )


try:
    from mnist_sgd import _core as _core
except ImportError as error:
    raise _explained(error) from error
