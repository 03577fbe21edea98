"""Random rotation, translation, scaling and shear of training images in the C++ core."""

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from hashlib import blake2b
from numbers import Real
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mnist_sgd._extension import _core


@dataclass(frozen=True)
class Augmentation:
    """Ranges of random affine transforms of training images.

    An image is sheared along its rows, rotated and scaled about its centre, then shifted, like
    torchvision's `RandomAffine`, in one bilinear pass. Unlike there, shifts are not rounded to
    whole pixels, and the draws depend only on the seed, the epoch and the image's index: they are
    the same for any number of threads, ranks or images in a batch, on every processor.

    Args:
        degrees: the angle is uniform in -degrees to degrees; 0 to 180.
        translate: the shifts along rows and columns are each uniform in -translate to translate,
            as fractions of the image's side; 0 to 1.
        scale: the scale factor is uniform in low to high; 0.1 to 10.
        shear: the angle by which columns lean is uniform in -shear to shear, in degrees; 0 to 60.
        outside: pixels from outside of the image: "black", for the dark background of preprocessed
            characters, or "edge", the nearest pixel of the image, for whole pictures.
        share: fraction of the images that are changed, 0 to 1, drawn again in each epoch.

    Raises:
        TypeError: a number is not one; the message names it.
        ValueError: a number is out of range, or `outside` is neither; the message names it.
    """

    degrees: float = 0.0
    translate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shear: float = 0.0
    outside: Literal["black", "edge"] = "black"
    share: float = 1.0

    def __post_init__(self) -> None:
        for name in ("degrees", "translate", "shear", "share"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        object.__setattr__(self, "scale", _pair("scale", self.scale))
        if self.outside not in ("black", "edge"):
            raise ValueError(f"outside must be 'black' or 'edge', got {self.outside!r}")
        self.core()

    def core(self) -> _core.Augmentation:
        """Convert to the C++ core's type, which checks the ranges."""
        return _core.Augmentation(
            degrees=self.degrees,
            translate=self.translate,
            scale=self.scale,
            shear=self.shear,
            outside=self.outside,
            share=self.share,
        )

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that identify the augmentation.

        They are the 8-byte BLAKE2b digest of the algorithm's version and the ranges as JSON, with
        `outside` and `share` if these are not "black" and 1.
        """
        *ranges, outside, share = astuple(self)
        others = [fact for fact in (outside, share) if fact not in ("black", 1.0)]
        facts = [_core.AUGMENTATION_VERSION, *ranges, *others]
        return blake2b(json.dumps(facts).encode(), digest_size=8).hexdigest()

    def apply(
        self, images: NDArray[np.uint8], *, seed: int, epoch: int, first: int = 0
    ) -> NDArray[np.uint8]:
        """Augment images as a loader does in an epoch.

        Args:
            images: uint8 `[N, 28, 28]`, C-contiguous.
            seed: the loader's, 0 to 2**64 - 1.
            epoch: from 0.
            first: the index in the dataset of the first image; the others follow.

        Returns:
            uint8 `[N, 28, 28]`, new.

        Raises:
            TypeError: the images are not C-contiguous uint8.
            ValueError: they are not `[N, 28, 28]`.
        """
        return self.core().apply(images, seed=seed, epoch=epoch, first_sample=first)


def _number(name: str, value: object) -> float:
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return float(value) + 0.0  # -0.0 becomes 0.0


def _pair(name: str, value: object) -> tuple[float, float]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise TypeError(f"{name} must be a pair of numbers (low, high), got {value!r}")
    return _number(f"the low end of {name}", value[0]), _number(f"the high end of {name}", value[1])
