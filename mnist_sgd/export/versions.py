"""The versions recorded in an artifact."""

from importlib.metadata import PackageNotFoundError, version


def versions() -> dict[str, str]:
    """Return the versions of mnist_sgd, torch and onnx by name, for `Metadata.versions`.

    mnist_sgd's is "0+source" in a source tree that is not installed.
    """
    try:
        own = version("mnist-sgd")
    except PackageNotFoundError:
        own = "0+source"
    return {"mnist_sgd": own, "torch": version("torch"), "onnx": version("onnx")}
