"""The serving side of mnist_sgd: an artefact and a picture in, an answer out.

It needs numpy, onnxruntime and Pillow, and never imports torch or mnist_sgd. Every public name is
loaded when it is first used; onnxruntime comes with the first artefact, Pillow with the first file.

    from mnist_sgd_serve import Predictor
    Predictor("model.onnx").predict("digit.png")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_sgd_serve.images.decode import (
        ImageError,
        ImageTooLarge,
        NoInk,
        NotAnImage,
        UnsupportedFormat,
        decode,
    )
    from mnist_sgd_serve.images.preprocessing import PREPARATIONS, Prepared, prepare
    from mnist_sgd_serve.model.artifact import Artefact, ArtefactError, load_artefact
    from mnist_sgd_serve.model.metadata import Metadata, MetadataError
    from mnist_sgd_serve.model.predictor import Prediction, Predictor

_MODULES = {
    "mnist_sgd_serve.model.artifact": ("Artefact", "ArtefactError", "load_artefact"),
    "mnist_sgd_serve.images.decode": (
        "ImageError",
        "ImageTooLarge",
        "NoInk",
        "NotAnImage",
        "UnsupportedFormat",
        "decode",
    ),
    "mnist_sgd_serve.model.metadata": ("Metadata", "MetadataError"),
    "mnist_sgd_serve.model.predictor": ("Prediction", "Predictor"),
    "mnist_sgd_serve.images.preprocessing": ("PREPARATIONS", "Prepared", "prepare"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "PREPARATIONS",
    "Artefact",
    "ArtefactError",
    "ImageError",
    "ImageTooLarge",
    "Metadata",
    "MetadataError",
    "NoInk",
    "NotAnImage",
    "Prediction",
    "Predictor",
    "Prepared",
    "UnsupportedFormat",
    "decode",
    "load_artefact",
    "prepare",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'mnist_sgd_serve' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
