"""In the root of a clone, make `import mnist_sgd` import the installed package, if there is one.

Python looks in the current folder first, and so finds the source folder `mnist_sgd/` there. After
`pip install .` that has no C++ extension, and `git pull` may have made it newer than the installed
extension and `mnist_sgd_serve`. So the source folder steps aside, and everything imported is from
one installation. An editable install has no second copy, and uses the source folder.
"""

import os
import sys
from importlib import import_module


def prefer_installed(init: str) -> None:
    """Replace the package of a source tree by the installed one.

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
    """Tell whether a folder, "" for the current one, is the root of a clone or unpacked sdist."""
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
