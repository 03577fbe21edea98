"""The metadata of an artifact: the contract between training and serving.

It is stored in the .onnx file as ONNX metadata properties, a map of strings. Training writes it
with `Metadata.to_properties`, serving reads it with `Metadata.from_properties`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mnist_sgd_serve._earlier import accepts_earlier
from mnist_sgd_serve.images.preprocessing import check_preprocessing

FORMAT = "1"
"""The version of the artifact format that this module reads and writes."""

IMAGE_PROPERTIES = {
    "Image.BitmapPixelFormat": "Gray8",
    "Image.NominalPixelRange": "NominalRange_0_255",
}
"""ONNX's standard metadata for image inputs: one byte a pixel, 0 to 255."""

PREFIX = "mnist_sgd."

DTYPES = ("float32", "bfloat16", "uint8")
"""The dtypes of a model's input after normalization."""


class MetadataError(ValueError):
    """The metadata of a file is missing or invalid."""


@accepts_earlier(preparation="preprocessing")
@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The metadata of an artifact.

    Attributes:
        classes: names in label order; the model gives the probability of `classes[1]`.
        threshold: above it, the predicted class is `classes[1]`; in [0, 1].
        image_size: height and width of the input, in pixels.
        mean: subtracted from x / 255 inside the graph.
        std: divides the difference inside the graph; above 0.
        dtype: of the pixels that the graph passes to the model: float32, bfloat16, or uint8 for a
            model that takes the pixels themselves, 0 to 255.
        preprocessing: how a picture of any size becomes an input: mnist, fit or stretch, see
            `preprocessing`.
        paper: for fit and stretch, the median grey level of the training images' borders, 0 to
            255, which is the background that the model knows. None if unknown.
        model: the name of the architecture.
        metrics: on the validation set, by name.
        data: the fingerprints of the training and validation sets, by name.
        versions: of the packages that made the file.
        licence: of the weights and the data, in SPDX terms.
    """

    classes: tuple[str, str]
    threshold: float = 0.5
    image_size: tuple[int, int] = (28, 28)
    mean: float = 0.0
    std: float = 1.0
    dtype: str = "float32"
    preprocessing: str = "mnist"
    paper: int | None = None
    model: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""

    @property
    def preparation(self) -> str:
        """The earlier name of `preprocessing`."""
        return self.preprocessing

    def __post_init__(self) -> None:
        """Check the values that predictions depend on.

        Raises:
            MetadataError: a value is outside its range; the message names it.
        """
        names = {name for name in self.classes if isinstance(name, str) and _is_text(name)}
        if len(self.classes) != 2 or len(names) != 2:
            raise MetadataError(f"classes must be two different names, got {list(self.classes)}")
        if not 0 <= self.threshold <= 1:
            raise MetadataError(f"threshold must lie in [0, 1], got {self.threshold}")
        if self.image_size != (28, 28):
            raise MetadataError(f"image_size must be [28, 28], got {list(self.image_size)}")
        if not math.isfinite(self.mean):
            raise MetadataError(f"mean must be finite, got {self.mean}")
        if not (self.std > 0 and math.isfinite(self.std)):
            raise MetadataError(f"std must be finite and above 0, got {self.std}")
        if self.dtype not in DTYPES:
            raise MetadataError(f"dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}")
        if self.dtype == "uint8" and (self.mean, self.std) != (0.0, 1.0):
            raise MetadataError(
                f"pixels of dtype uint8 have mean 0 and std 1, got {self.mean} and {self.std}"
            )
        if self.paper is not None and not 0 <= self.paper <= 255:
            raise MetadataError(f"paper must be a grey, 0 to 255, got {self.paper}")
        try:
            check_preprocessing(self.preprocessing)
        except ValueError as error:
            raise MetadataError(str(error)) from error

    @property
    def positive(self) -> str:
        """The class whose probability the model gives."""
        return self.classes[1]

    def label(self, probability: float) -> str:
        """Return the predicted class: `classes[1]` above the threshold, else `classes[0]`."""
        return self.classes[int(probability > self.threshold)]

    def class_probabilities(self, probability: float) -> dict[str, float]:
        """Return every class's probability, in label order, from that of the positive class."""
        return dict(zip(self.classes, (1 - probability, probability), strict=True))

    def to_properties(self) -> dict[str, str]:
        """Encode to ONNX metadata properties, in a fixed order."""
        values: dict[str, Any] = {
            "format": FORMAT,
            "classes": list(self.classes),
            "threshold": self.threshold,
            "image_size": list(self.image_size),
            "normalization": self._normalization(),
            "preparation": self.preprocessing,
            **({} if self.paper is None else {"paper": self.paper}),
            "model": self.model,
            "metrics": dict(self.metrics),
            "data": dict(self.data),
            "versions": dict(self.versions),
            "licence": self.licence,
        }
        return {PREFIX + key: _encode(value) for key, value in values.items()} | IMAGE_PROPERTIES

    def _normalization(self) -> dict[str, Any]:
        """The normalization of pixels, without the dtype if it is float32."""
        divisor = 1 if self.dtype == "uint8" else 255
        usual = {"divisor": divisor, "mean": self.mean, "std": self.std}
        return usual if self.dtype == "float32" else usual | {"dtype": self.dtype}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> "Metadata":
        """Decode the ONNX metadata properties of an artifact.

        Raises:
            MetadataError: they are missing, invalid, or of another format version; the message
                says which.
        """
        if PREFIX + "format" not in properties:
            raise MetadataError("it has no mnist_sgd metadata")
        if properties[PREFIX + "format"] != FORMAT:
            given = properties[PREFIX + "format"][:20]
            raise MetadataError(f"its format is {given!r}, this version reads {FORMAT!r}")
        try:
            normalization = _decode(properties, "normalization", dict)
            return cls(
                classes=tuple(_decode(properties, "classes", list)),
                threshold=float(properties[PREFIX + "threshold"]),
                image_size=tuple(_decode(properties, "image_size", list)),
                mean=float(normalization["mean"]),
                std=float(normalization["std"]),
                dtype=normalization.get("dtype", "float32"),
                preprocessing=properties[PREFIX + "preparation"],
                paper=int(properties[PREFIX + "paper"]) if PREFIX + "paper" in properties else None,
                model=properties[PREFIX + "model"],
                metrics=_decode(properties, "metrics", dict),
                data=_decode(properties, "data", dict),
                versions=_decode(properties, "versions", dict),
                licence=properties[PREFIX + "licence"],
            )
        except MetadataError:
            raise
        except KeyError as error:
            raise MetadataError(f"its metadata lacks {error.args[0]!r}") from error
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise MetadataError(f"its metadata cannot be read: {error}") from error


def _is_text(name: str) -> bool:
    """Whether a name is not empty and can be encoded: no lone surrogates."""
    return bool(name) and not any("\ud800" <= character <= "\udfff" for character in name)


def _encode(value: Any) -> str:
    """Encode anything but a string as JSON with sorted keys."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _decode(
    properties: Mapping[str, str], key: str, kind: type[list[Any]] | type[dict[str, Any]]
) -> Any:
    """Decode the JSON value of a property, which must be a list or an object.

    Raises:
        KeyError: there is no such property.
        MetadataError: its value is of another kind.
        ValueError: it is invalid JSON, or has NaN or Infinity.
        RecursionError: it is nested too deep.
    """
    value = json.loads(properties[PREFIX + key], parse_constant=_reject_constant)
    if not isinstance(value, kind):
        raise MetadataError(f"its {key} must be a JSON {'list' if kind is list else 'object'}")
    return value


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
