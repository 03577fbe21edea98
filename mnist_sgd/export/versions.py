"""The versions that an artifact names as its makers.

The version of mnist_sgd has one source, pyproject.toml, which an installation copies into the
distribution's metadata; a source tree that was never installed has none and says so.
"""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["versions"]

UNINSTALLED = "0+source"


def versions() -> dict[str, str]:
    """Give the versions of mnist_sgd, torch and onnx, by name, for `Metadata.versions`.

    mnist_sgd is "0+source" when it runs from a source tree that is not installed.
    """
    try:
        own = version("mnist-sgd")
    except PackageNotFoundError:
        own = UNINSTALLED
    return {"mnist_sgd": own, "torch": version("torch"), "onnx": version("onnx")}
