"""The serving side of mnist_sgd: an artefact and a picture in, an answer out.

It needs numpy, onnxruntime and Pillow, and never imports torch or mnist_sgd. Importing it imports
numpy alone; the others come with the first artefact and the first image file.

    from mnist_sgd_serve import Predictor
    Predictor("model.onnx").predict("digit.png")
"""

from mnist_sgd_serve.artefact import Artefact, ArtefactError, load_artefact
from mnist_sgd_serve.images import (
    ImageError,
    ImageTooLarge,
    NoInk,
    NotAnImage,
    UnsupportedFormat,
    decode,
)
from mnist_sgd_serve.metadata import Metadata, MetadataError
from mnist_sgd_serve.predictor import Prediction, Predictor
from mnist_sgd_serve.preparation import Prepared, prepare

__all__ = [
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
