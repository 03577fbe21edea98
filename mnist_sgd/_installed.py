"""In a clone, `import mnist_sgd` gives the package that is installed, where one is.

Python looks into the current folder first. In the root of a clone it therefore finds the source
folder `mnist_sgd/`, which has no C++ extension after `pip install .`, and which `git pull` may have
made newer than the extension and than `mnist_sgd_serve`, both of which only the installed package
brings. So the source folder steps back: everything that is imported is of one installation, as it
is in every other folder. An editable install has no second copy, and the source folder is used.
"""

import os
import sys
from importlib import import_module

__all__ = ["is_source_tree", "need", "prefer_installed"]


def prefer_installed(init: str) -> None:
    """Put the installed package into the place of the one in a source tree.

    Args:
        init: the file of the package that is being imported.
    """
    package = os.path.dirname(init)
    if not is_source_tree(os.path.dirname(package)):
        return
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    elsewhere = [entry for entry in sys.path if not is_source_tree(entry)]
    spec = PathFinder.find_spec("mnist_sgd", elsewhere)
    if spec is None or spec.loader is None:
        return
    del sys.modules[__name__]  # the installed package has its own
    sys.modules["mnist_sgd"] = installed = module_from_spec(spec)
    spec.loader.exec_module(installed)


def is_source_tree(folder: str) -> bool:
    """Whether a folder is the root of a clone or of an unpacked sdist; "" is the current folder."""
    return os.path.isfile(os.path.join(folder, "csrc", "bindings.cpp"))


def need(library: str, user: str) -> None:
    """Import an optional library, or say what needs it and how to install it.

    Args:
        library: its name, for `import` and for pip.
        user: what needs it.

    Raises:
        ImportError: it cannot be imported.
    """
    try:
        import_module(library)
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision beside another torch
        raise ImportError(
            f"{user} needs {library}, which cannot be imported here ({error}): "
            f"pip install {library}"
        ) from error
