"""What an artifact says about itself: the contract between training and serving.

The metadata travels inside the .onnx file as ONNX metadata properties, a map of strings. The
training side writes it with `Metadata.to_properties`, the serving side reads it with
`Metadata.from_properties`; there is no other definition of it.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mnist_sgd_serve._earlier import accepts_earlier
from mnist_sgd_serve.images.preprocessing import check_preprocessing

__all__ = ["FORMAT", "IMAGE_PROPERTIES", "Metadata", "MetadataError"]

FORMAT = "1"
"""The version of the artifact format that this module reads and writes."""

IMAGE_PROPERTIES = {
    "Image.BitmapPixelFormat": "Gray8",
    "Image.NominalPixelRange": "NominalRange_0_255",
}
"""ONNX's own metadata keys for image inputs: one byte a pixel, 0 to 255."""

PREFIX = "mnist_sgd."

DTYPES = ("float32", "bfloat16", "uint8")
"""The types of number in which a model can take its pixels."""


class MetadataError(ValueError):
    """The properties of a file are not those of an artifact."""


@accepts_earlier(preparation="preprocessing")
@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The facts that an artifact carries beside its weights.

    Attributes:
        classes: names in label order; the model gives the probability of `classes[1]`.
        threshold: a probability above it is called `classes[1]`; in [0, 1].
        image_size: height and width of the input, in pixels.
        mean: subtracted from x / 255 inside the graph.
        std: divides the difference inside the graph; above 0.
        dtype: the type of number in which the model inside the graph takes its pixels: float32,
            bfloat16, or uint8 for a model that takes the pixels themselves, 0 to 255.
        preprocessing: how a picture of any size becomes an input: mnist, fit or stretch, see
            `preprocessing`.
        paper: for fit and stretch the median grey of the borders of the training's images, 0 to
            255: the ground on which the model knows things. None where it is not known.
        model: the name of the architecture.
        metrics: figures on the validation set, by name.
        data: what it was trained and validated on: names of sets to their fingerprints.
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
        """Check the values that the answers depend on.

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
        """Name the class of a probability: `classes[1]` above the threshold, else `classes[0]`."""
        return self.classes[int(probability > self.threshold)]

    def class_probabilities(self, probability: float) -> dict[str, float]:
        """Give every class its probability, in label order, from that of the positive class."""
        return dict(zip(self.classes, (1 - probability, probability), strict=True))

    def to_properties(self) -> dict[str, str]:
        """Say the same in ONNX metadata properties, in a fixed order."""
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
        """What is done to the pixels, the usual dtype left out."""
        divisor = 1 if self.dtype == "uint8" else 255
        usual = {"divisor": divisor, "mean": self.mean, "std": self.std}
        return usual if self.dtype == "float32" else usual | {"dtype": self.dtype}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> "Metadata":
        """Read the ONNX metadata properties of an artifact.

        Raises:
            MetadataError: they are missing, of another format version, or wrong; the message
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
    """Whether it says something, and JSON and HTTP can say it: no half of a character."""
    return bool(name) and not any("\ud800" <= character <= "\udfff" for character in name)


def _encode(value: Any) -> str:
    """Leave a string as it is, make anything else JSON with sorted keys."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _decode(
    properties: Mapping[str, str], key: str, kind: type[list[Any]] | type[dict[str, Any]]
) -> Any:
    """Read the JSON value of a property, which must be a list or an object.

    Raises:
        KeyError: there is no such property.
        MetadataError: its value is of another kind.
        ValueError: it is no JSON, or holds NaN or Infinity.
        RecursionError: it is nested too deep.
    """
    value = json.loads(properties[PREFIX + key], parse_constant=_refuse_constant)
    if not isinstance(value, kind):
        raise MetadataError(f"its {key} must be a JSON {'list' if kind is list else 'object'}")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
