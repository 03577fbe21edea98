"""Classifies pictures: an artifact and the preprocessing of pictures in one object.

A `Predictor` is thread-safe, and pickles as the bytes of its artifact, so it can be sent to workers
of multiprocessing (spawn), Ray or Spark. Do not use one after a fork: a child process must create
its own, as onnxruntime's sessions do not survive a fork.
"""

import base64
import html
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.decode import decode, decode_own
from mnist_sgd_serve.images.errors import BlankImage, ImageError
from mnist_sgd_serve.images.preprocessing import Preprocessed, preprocess
from mnist_sgd_serve.model.artifact import Artifact, load_artifact
from mnist_sgd_serve.model.metadata import Metadata

if TYPE_CHECKING:
    from PIL import Image

    Source = (
        str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | NDArray[np.uint8]
    )


@dataclass(frozen=True)
class Prediction:
    """The prediction for one picture.

    Attributes:
        label: the predicted class.
        probabilities: of every class by its name, in label order; each in [0, 1], their sum is 1.
        inverted: whether the picture was dark on light, and so was inverted.
        image: uint8 `[28, 28]`, the model's input.
    """

    label: str
    probabilities: Mapping[str, float] = field(hash=False)
    inverted: bool
    image: NDArray[np.uint8] = field(repr=False, compare=False)

    @classmethod
    def of(cls, metadata: Metadata, probability: float, preprocessed: Preprocessed) -> "Prediction":
        """Make a prediction from a model's output.

        Args:
            metadata: of the model, with the classes and the threshold.
            probability: of the positive class, in [0, 1].
            preprocessed: the model's input.
        """
        label = metadata.label(probability)
        probabilities = metadata.class_probabilities(probability)
        return cls(label, probabilities, preprocessed.inverted, preprocessed.image)

    @property
    def confidence(self) -> float:
        """The probability of `label`, in [0, 1]; with a threshold other than 0.5 it may be low."""
        return self.probabilities[self.label]

    @property
    def positive(self) -> str:
        """The positive class, which is the last in label order."""
        return [*self.probabilities][-1]

    @property
    def probability(self) -> float:
        """The probability of the positive class, whatever the label; in [0, 1]."""
        return self.probabilities[self.positive]

    def __iter__(self) -> Iterator[str | int | float]:
        """Yield what `Learner.predict` returns: class, label, probability of the positive class."""
        yield from (self.label, [*self.probabilities].index(self.label), self.probability)

    def _repr_html_(self) -> str:
        """Show the model's input and a bar for each class, in a notebook."""
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(self.image).save(file, "PNG")
        address = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
        bars = "".join(
            f'<tr><th style="text-align: left">{html.escape(name)}</th>'
            f'<td><meter min="0" max="1" value="{share}"></meter></td>'
            f"<td>{100 * share:.4g} %</td></tr>"
            for name, share in reversed([*self.probabilities.items()])
        )
        return (
            f'<img src="{address}" alt="what the model sees" width="84" height="84" '
            f'style="image-rendering: pixelated"><p><strong>{html.escape(self.label)}</strong></p>'
            f"<table>{bars}</table>"
        )

    def as_dict(self) -> dict[str, Any]:
        """Convert to a dictionary for JSON, without the image."""
        return {
            "label": self.label,
            "confidence": self.confidence,
            "probabilities": dict(self.probabilities),
            "probability": self.probability,
            "positive": self.positive,
            "inverted": self.inverted,
        }


class Predictor:
    """Classifies pictures of any size: files, bytes and arrays.

    Args:
        model: the path of an artifact, or its bytes.

    Attributes:
        artifact: the loaded artifact.

    Raises:
        ArtifactError: it cannot be used.
    """

    def __init__(self, model: str | os.PathLike[str] | bytes) -> None:
        self.artifact: Artifact = load_artifact(model)

    def __repr__(self) -> str:
        return f"Predictor({' or '.join(reversed(self.metadata.classes))})"

    def __reduce__(self) -> tuple[type["Predictor"], tuple[bytes]]:
        return type(self), (self.artifact.content,)

    @property
    def artefact(self) -> Artifact:
        """The earlier name of `artifact`."""
        return self.artifact

    @property
    def metadata(self) -> Metadata:
        """The artifact's metadata."""
        return self.artifact.metadata

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the positive class's probability for preprocessed images.

        A C-contiguous array is used in place, any other is copied.

        Args:
            images: uint8 `[N, 28, 28]` with N at least 1, as `preprocess` makes them.

        Returns:
            float32 `[N]`.

        Raises:
            TypeError: `images` is not a uint8 array.
            ValueError: its shape is another.
        """
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            given = getattr(images, "dtype", type(images).__name__)
            raise TypeError(f"images must be an array of dtype uint8, got {given}")
        if images.ndim != 3 or images.shape[1:] != (28, 28) or len(images) == 0:
            raise ValueError(f"images must have the shape [N, 28, 28], got {list(images.shape)}")
        feed = {"image": np.ascontiguousarray(images)}
        answers: NDArray[np.float32] = self.artifact.session.run(None, feed)[0]
        return answers[:, 0]

    def predict(self, source: "Source") -> Prediction:
        """Classify one picture.

        Args:
            source: the path of an image file, which may also be TIFF; the bytes of one; a Pillow
                image (see `decode` for what is lost once it is loaded or copied); or a grey array
                uint8 `[height, width]`, also of another library that NumPy can convert, such as a
                torch tensor.

        Raises:
            ImageError: it cannot be decoded, is too large, or has no ink; see `decode`.
            OSError: the file cannot be opened or read.
            TypeError: `source` is none of these, or an array of another dtype.
            ValueError: the array has another number of axes, or no pixels.
        """
        return self._predict([self._preprocess(source)])[0]

    def predict_many(self, sources: Iterable["Source"]) -> list[Prediction]:
        """Classify many pictures in one run of the model, in their order.

        Raises:
            ImageError: one of them cannot be used; the message has its position, from 0.
            OSError, TypeError, ValueError: as for `predict`.
        """
        preprocessed = []
        for position, source in enumerate(sources):
            try:
                preprocessed.append(self._preprocess(source))
            except ImageError as error:
                raise type(error)(f"image {position}: {error}") from error
        return self._predict(preprocessed) if preprocessed else []

    def _preprocess(self, source: "Source") -> Preprocessed:
        """Decode and preprocess a picture as the model requires; errors name its file."""
        path = source if isinstance(source, (str, os.PathLike)) else None
        if isinstance(source, np.ndarray) or hasattr(source, "__array__"):
            grey = np.asarray(source)
        elif isinstance(source, (bytes, bytearray, memoryview)):
            grey = decode(source, reduce=True)
        else:
            grey = decode_own(source)
        try:
            return preprocess(grey, self.metadata.preprocessing)
        except BlankImage as error:
            if path is not None:
                raise BlankImage(f"{os.fspath(path)}: {error}") from error
            raise

    def _predict(self, preprocessed: list[Preprocessed]) -> list[Prediction]:
        probabilities = self.probabilities(np.stack([one.image for one in preprocessed])).tolist()
        return [
            Prediction.of(self.metadata, probability, one)
            for probability, one in zip(probabilities, preprocessed, strict=True)
        ]
