"""Checks an installed mnist_sgd without torch: the C++ core, the bundled data, the evaluation.

    python tools/check_wheel.py

It needs NumPy alone, for torch has no wheels for musl and for macOS on Intel processors: every
wheel that is built is checked by this much at least. It says which kernels this machine has and
ends with code 1 at the first thing that is not as it should be.
"""

import platform
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

import mnist_sgd
from mnist_sgd import _core
from mnist_sgd.data import mnist_sample, sample_digits
from mnist_sgd.evaluation import evaluate

ROOT = Path(__file__).resolve().parent.parent
PIXELS = np.resize(np.arange(256, dtype=np.uint8), (2, 28, 28))  # every byte
MNIST = (np.float32(0.1307), np.float32(0.3081))

ORDER = "3187f3b3450dc86fb2d5c4806ce8d9b1cfe8806ca2479ce274dd5a892347a0db"
"""The digest of an epoch's order, as tests/loader/test_order.py has it."""


def main() -> None:
    """Run every check and say what was there."""
    where = Path(mnist_sgd.__file__).resolve()
    require(ROOT not in where.parents, f"{where} is the source tree, not an installed wheel")
    names = _core.kernels()
    require(names[-1] == "portable" and set(names) >= needed_kernels(), f"the kernels are {names}")
    for name in names:
        check_kernel(name)
    check_order(names)
    check_data()
    require("torch" not in sys.modules, "torch was imported")
    print(
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"kernels {', '.join(names)}: as they should be"
    )


def require(condition: bool, otherwise: str) -> None:
    """End with code 1 and a line, unless the condition holds."""
    if not condition:
        sys.exit(f"check_wheel: {otherwise}")


def needed_kernels() -> set[str]:
    """Those that every processor of this kind has, where GCC or Clang built the core."""
    return {"neon", "portable"} if platform.machine() in ("aarch64", "arm64") else {"portable"}


def check_kernel(name: str) -> None:
    """Compare a kernel's bytes with NumPy's arithmetic in float32, which is IEEE 754's."""
    shares = PIXELS.astype(np.float32) / np.float32(255)
    normalized = (shares - MNIST[0]) / MNIST[1]
    plain = _core.normalize(PIXELS, kernel=name)
    require(same_bytes(plain, shares), f"{name} does not give x / 255")
    options: dict[str, Any] = {"mean": float(MNIST[0]), "std": float(MNIST[1]), "kernel": name}
    with_mean = _core.normalize(PIXELS, **options)
    require(same_bytes(with_mean, normalized), f"{name} does not give (x / 255 - mean) / std")
    bits = normalized.view(np.uint32)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    half = _core.normalize(PIXELS, dtype="bfloat16", **options)
    require(same_bytes(half, rounded), f"{name} does not round to bfloat16")
    augmentation = _core.Augmentation(degrees=10, translate=0.1, scale=(0.9, 1.1), shear=5)
    turned = augmentation.apply(PIXELS, seed=1, epoch=2, kernel=name)
    portable = augmentation.apply(PIXELS, seed=1, epoch=2, kernel="portable")
    require(same_bytes(turned, portable), f"{name} augments otherwise than the portable kernel")


def same_bytes(one: "np.typing.NDArray[Any]", other: "np.typing.NDArray[Any]") -> bool:
    """Whether two arrays are equal to the last bit."""
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


def check_order(names: list[str]) -> None:
    """Compare the order of an epoch, from every kernel, with the one there has always been."""
    for name in names:
        order = _core.order(12_396, seed=0, epoch=0, start=0, stop=12_396, kernel=name)
        digest = sha256(order.astype("<i8").tobytes()).hexdigest()
        require(digest == ORDER, f"{name} gives another order: {digest}")


def check_data() -> None:
    """Read the bundled sample, and measure an answer that is always right."""
    train, valid = mnist_sample()
    found = (train.fingerprint(), valid.fingerprint(), len(sample_digits()))
    require(found == ("200cd2762f378b07", "1a004a593db2c07e", 8), f"the sample is {found}")
    require(evaluate(valid.labels, valid.labels).auc == 1, "the evaluation is wrong")


if __name__ == "__main__":
    main()
