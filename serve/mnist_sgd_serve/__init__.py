"""The inference side of mnist_sgd: from an artifact and a picture to a prediction.

It needs numpy, onnxruntime and Pillow, and never imports torch or mnist_sgd. Public names are
imported on first use, onnxruntime with the first artifact, Pillow with the first picture.

    from mnist_sgd_serve import Predictor
    Predictor("model.onnx").predict("digit.png")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_sgd_serve.images.decode import decode as decode
    from mnist_sgd_serve.images.errors import (
        BlankImage as BlankImage,
        ImageError as ImageError,
        ImageTooLarge as ImageTooLarge,
        NotAnImage as NotAnImage,
        UnsupportedFormat as UnsupportedFormat,
    )
    from mnist_sgd_serve.images.preprocessing import (
        PREPROCESSING_KINDS as PREPROCESSING_KINDS,
        Preprocessed as Preprocessed,
        preprocess as preprocess,
    )
    from mnist_sgd_serve.model.artifact import (
        Artifact as Artifact,
        ArtifactError as ArtifactError,
        load_artifact as load_artifact,
    )
    from mnist_sgd_serve.model.metadata import Metadata as Metadata, MetadataError as MetadataError
    from mnist_sgd_serve.model.predictor import Prediction as Prediction, Predictor as Predictor

_MODULES = {
    "mnist_sgd_serve.model.artifact": ("Artifact", "ArtifactError", "load_artifact"),
    "mnist_sgd_serve.images.decode": ("decode",),
    "mnist_sgd_serve.images.errors": (
        "BlankImage",
        "ImageError",
        "ImageTooLarge",
        "NotAnImage",
        "UnsupportedFormat",
    ),
    "mnist_sgd_serve.model.metadata": ("Metadata", "MetadataError"),
    "mnist_sgd_serve.model.predictor": ("Prediction", "Predictor"),
    "mnist_sgd_serve.images.preprocessing": ("PREPROCESSING_KINDS", "Preprocessed", "preprocess"),
}
_EARLIER = {
    "Artefact": "Artifact",
    "ArtefactError": "ArtifactError",
    "NoInk": "BlankImage",
    "PREPARATIONS": "PREPROCESSING_KINDS",
    "Prepared": "Preprocessed",
    "load_artefact": "load_artifact",
    "prepare": "preprocess",
}
"""Names of earlier versions, which still work."""

_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name from its module (PEP 562)."""
    name = _EARLIER.get(name, name)
    if name not in _HOME:
        raise AttributeError(f"module 'mnist_sgd_serve' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
