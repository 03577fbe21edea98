"""Every kernel gives torch's arithmetic bit for bit, and the environment chooses among them."""

import math
import os
import subprocess
import sys
from hashlib import sha256

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from mnist_sgd import DataLoader, _core
from mnist_sgd.data import ImageSet, mnist_sample
from waiting import PATIENCE

KERNELS = _core.kernels()
BYTES = np.resize(np.arange(256, dtype=np.uint8), 784)
MNIST = (0.1307, 0.3081)

every_kernel = pytest.mark.parametrize("kernel", KERNELS)


def bits(values: NDArray[np.float32] | torch.Tensor) -> list[int]:
    """The values' bit patterns, so that -0.0 is not 0.0."""
    array = np.asarray(values)
    assert array.dtype == np.float32
    return array.view(np.uint32).ravel().tolist()


def torchs(pixels: NDArray[np.uint8], mean: float = 0.0, std: float = 1.0) -> torch.Tensor:
    return (torch.from_numpy(pixels).float() / 255 - mean) / std


def bfloat16_bits(values: torch.Tensor) -> list[int]:
    return values.to(torch.bfloat16).view(torch.uint16).tolist()


def test_every_machine_has_the_portable_kernel_as_its_last_choice() -> None:
    assert KERNELS[-1] == "portable"
    assert set(KERNELS) <= {"avx512vbmi", "avx512", "avx2", "neon", "portable"}


@every_kernel
def test_every_byte_over_255_is_torchs_quotient(kernel: str) -> None:
    ours = bits(_core.normalize(BYTES, kernel=kernel))
    pixels = torch.from_numpy(BYTES)
    assert ours == bits(pixels.float() / 255)
    assert ours == bits(pixels.float().div_(255))
    assert ours == bits(pixels.float() / torch.tensor(255.0))


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(0, width=32, exclude_min=True, allow_infinity=False)


@settings(deadline=None)
@given(mean=FLOATS, std=POSITIVE)
def test_any_float32_mean_and_deviation_give_torchs_bits(mean: float, std: float) -> None:
    theirs = bits(torchs(BYTES, mean, std))
    for kernel in KERNELS:
        assert bits(_core.normalize(BYTES, mean=mean, std=std, kernel=kernel)) == theirs, kernel


@settings(deadline=None)
@given(mean=st.floats(-10, 10), std=st.floats(1e-3, 10))
def test_a_double_mean_and_deviation_are_rounded_as_torch_rounds_them(
    mean: float, std: float
) -> None:
    theirs = bits(torchs(BYTES, mean, std))
    for kernel in KERNELS:
        assert bits(_core.normalize(BYTES, mean=mean, std=std, kernel=kernel)) == theirs, kernel


@every_kernel
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), MNIST])
def test_images_at_any_address_give_the_same_bits(kernel: str, mean: float, std: float) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, 3 * 784 + 64, np.uint8)
    for start in range(64):
        images = pixels[start : start + 3 * 784]
        theirs = torchs(images, mean, std)
        ours = _core.normalize(images, mean=mean, std=std, kernel=kernel)
        assert ours.tobytes() == theirs.numpy().tobytes(), start
        ours = _core.normalize(images, mean=mean, std=std, dtype="bfloat16", kernel=kernel)
        assert ours.tolist() == bfloat16_bits(theirs), start
        assert np.array_equal(_core.normalize(images, dtype="uint8", kernel=kernel), images), start


@settings(deadline=None)
@given(mean=FLOATS, std=POSITIVE)
def test_bfloat16_is_rounded_as_torch_rounds_it(mean: float, std: float) -> None:
    theirs = bfloat16_bits(torchs(BYTES, mean, std))
    for kernel in KERNELS:
        ours = _core.normalize(BYTES, mean=mean, std=std, dtype="bfloat16", kernel=kernel)
        assert ours.dtype == np.uint16
        assert ours.tolist() == theirs, kernel


@every_kernel
def test_images_come_out_as_torchvision_makes_them(kernel: str) -> None:
    from torchvision.transforms import Compose, Normalize, ToTensor

    mean, std = MNIST
    transform = Compose([ToTensor(), Normalize((mean,), (std,))])
    images = mnist_sample()[1].images[:8]
    theirs = torch.cat([transform(image.copy()) for image in images])  # torch wants it writable
    assert bits(_core.normalize(images, mean=mean, std=std, kernel=kernel)) == bits(theirs)


def test_the_shape_is_kept() -> None:
    for shape in [(0,), (784,), (2, 28, 28), (0, 28, 28), (3, 1, 784)]:
        result = _core.normalize(np.full(shape, 255, np.uint8))
        assert result.shape == shape
        assert result.dtype == np.float32
        assert np.all(result == 1)


def test_a_part_of_an_image_is_refused() -> None:
    for shape in [(), (1,), (783,), (785,), (28, 27)]:
        text = f"^images must hold 784 pixels each, got {math.prod(shape)} together$"
        with pytest.raises(ValueError, match=text):
            _core.normalize(np.zeros(shape, np.uint8))


def test_another_dtype_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^dtype must be float32, bfloat16 or uint8, got float16$"
    ):
        _core.normalize(BYTES, dtype="float16")


def test_without_a_name_the_best_kernel_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for unset in (None, ""):
        if unset is None:
            monkeypatch.delenv("MNIST_SGD_KERNEL", raising=False)
        else:
            monkeypatch.setenv("MNIST_SGD_KERNEL", unset)
        assert _core.default_kernel() == KERNELS[0]


def digest() -> str:
    """The digest of a batch from the kernel that the environment names."""
    pixels = np.arange(90 * 784, dtype=np.uint32).astype(np.uint8).reshape(90, 28, 28)
    data = ImageSet(pixels, np.ones(90, np.uint8), ("a", "b"))
    ((xb, _),) = DataLoader(data, 90, shuffle=True, mean=0.5, std=0.25)
    return sha256(xb.numpy().tobytes()).hexdigest()


def started(kernel: str) -> subprocess.CompletedProcess[str]:
    """The output of a new process with this kernel in its environment."""
    code = "from mnist_sgd import _core; print(_core.default_kernel())"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"MNIST_SGD_KERNEL": kernel, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_the_environment_forces_a_kernel_and_none_changes_the_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digests = set()
    for kernel in KERNELS:
        assert started(kernel).stdout == f"{kernel}\n"
        monkeypatch.setenv("MNIST_SGD_KERNEL", kernel)
        digests.add(digest())
    assert len(digests) == 1


def test_a_kernel_that_the_machine_has_not_is_refused_with_the_names_of_those_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = f"there is no kernel 'abacus' on this processor; there are: {', '.join(KERNELS)}"
    with pytest.raises(ValueError, match=f"^{text}$"):
        _core.normalize(BYTES, kernel="abacus")
    monkeypatch.setenv("MNIST_SGD_KERNEL", "abacus")
    with pytest.raises(ValueError, match=f"^{text}$"):
        DataLoader(mnist_sample()[1])
    assert started("abacus").stderr.endswith(f"ValueError: {text}\n")


@pytest.mark.parametrize(
    ("pixels", "got"),
    [
        (BYTES.astype(np.float32), "one of float32"),
        (BYTES.view(np.int8), "one of int8"),
        (BYTES.view(bool), "one of bool"),
        (np.resize(BYTES, 1568)[::2], "a strided one of uint8"),
    ],
)
def test_other_pixels_are_refused(pixels: NDArray[np.uint8], got: str) -> None:
    with pytest.raises(TypeError) as caught:
        _core.normalize(pixels)
    assert str(caught.value) == f"images must be a C-contiguous array of uint8, got {got}"


@pytest.mark.parametrize(
    ("mean", "std", "text"),
    [
        (float("nan"), 1.0, "mean must be a finite number, got nan"),
        (float("-inf"), 1.0, "mean must be a finite number, got -inf"),
        (0.0, 0.0, "std must be a finite number above 0, got 0"),
        (0.0, -1e-9, "std must be a finite number above 0, got -1e-09"),
        (0.0, float("nan"), "std must be a finite number above 0, got nan"),
        (0.0, float("inf"), "std must be a finite number above 0, got inf"),
    ],
)
def test_a_useless_mean_or_deviation_is_refused(mean: float, std: float, text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        _core.normalize(BYTES, mean=mean, std=std)
    assert str(caught.value) == text
