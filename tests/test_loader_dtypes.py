"""A batch can be float32, bfloat16 or the bytes themselves, and nothing else changes with that."""

import re
from typing import Any

import numpy as np
import pytest
import torch

from image_sets import indices, random_set
from mnist_sgd import DataLoader, _core

DTYPES = [torch.float32, torch.bfloat16, torch.uint8]

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@every_dtype
@pytest.mark.parametrize("flatten", [True, False])
@pytest.mark.parametrize("num_threads", [1, 3])
def test_a_batch_is_torchs_conversion_of_its_images(
    dtype: torch.dtype, flatten: bool, num_threads: int
) -> None:
    data = random_set(100)
    loader = DataLoader(
        data, 32, shuffle=True, seed=3, dtype=dtype, flatten=flatten, num_threads=num_threads
    )
    for epoch in range(2):
        order = indices(loader, epoch)
        for rows, (xb, yb) in zip(order, loader, strict=True):
            pixels = torch.tensor(data.images[rows])
            theirs = pixels if dtype == torch.uint8 else (pixels.float() / 255).to(dtype)
            assert xb.dtype == dtype
            assert xb.shape == ((len(rows), 784) if flatten else (len(rows), 1, 28, 28))
            assert xb.is_contiguous()
            assert torch.equal(xb, theirs.reshape(xb.shape))
            assert yb.dtype == torch.int64
            assert yb.tolist() == data.labels[rows, None].tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_mean_and_a_deviation_are_applied_before_the_rounding(dtype: torch.dtype) -> None:
    data = random_set(9)
    ((xb, _),) = DataLoader(data, 9, mean=0.1307, std=0.3081, dtype=dtype)
    theirs = (torch.tensor(data.images).float() / 255 - 0.1307) / 0.3081
    assert torch.equal(xb, theirs.reshape(9, 784).to(dtype))


@every_dtype
def test_normalize_gives_what_a_batch_holds(dtype: torch.dtype) -> None:
    data = random_set(5)
    for flatten in (True, False):
        loader = DataLoader(data, 5, dtype=dtype, flatten=flatten)
        ((xb, _),) = loader
        ours = loader.normalize(data.images)
        assert ours.dtype == dtype
        assert torch.equal(ours, xb)
        ours.zero_()  # it is the caller's own
        assert np.array_equal(data.images, random_set(5).images)


@every_dtype
def test_a_batch_that_is_held_keeps_its_values(dtype: torch.dtype) -> None:
    data = random_set(60)
    loader = DataLoader(data, 7, shuffle=True, dtype=dtype)
    held = [(xb, yb, xb.clone(), yb.clone()) for _ in range(3) for xb, yb in loader]
    for xb, yb, x_then, y_then in held:
        assert torch.equal(xb, x_then)
        assert torch.equal(yb, y_then)


@every_dtype
def test_a_view_holds_its_batch_when_the_tensors_are_gone(dtype: torch.dtype) -> None:
    loader = DataLoader(random_set(64), 8, dtype=dtype)
    batches = iter(loader)
    view = next(batches)[0][3:5]
    then = view.clone()
    for _ in batches:
        pass
    assert torch.equal(view, then)


@every_dtype
def test_values_lie_on_a_cache_line(dtype: torch.dtype) -> None:
    for xb, _ in DataLoader(random_set(20), 3, dtype=dtype):
        assert xb.data_ptr() % 64 == 0


def test_a_state_goes_on_under_another_dtype() -> None:
    data = random_set(50)
    floats = DataLoader(data, 8, shuffle=True)
    running = iter(floats)
    next(running)
    raw = DataLoader(data, 8, shuffle=True, dtype=torch.uint8)
    raw.load_state_dict(floats.state_dict())
    for (xb, _), (bytes_, _) in zip(running, raw, strict=True):
        assert torch.equal(xb, bytes_.float() / 255)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"dtype": torch.float16},
            "dtype must be torch.float32, torch.bfloat16 or torch.uint8, got torch.float16",
        ),
        (
            {"dtype": "float32"},
            "dtype must be torch.float32, torch.bfloat16 or torch.uint8, got 'float32'",
        ),
        (
            {"dtype": torch.uint8, "mean": 0.1, "std": 0.5},
            "torch.uint8 leaves the pixels as they are, so mean and std must be 0 and 1, "
            "got 0.1 and 0.5",
        ),
    ],
)
def test_what_is_no_dtype_of_a_batch_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        DataLoader(random_set(4), **changes)


def test_a_capsule_that_nobody_takes_frees_its_batch() -> None:
    """`from_dlpack` may fail, and then the slot must find its way back."""

    def refuse(capsule: object) -> torch.Tensor:
        raise RuntimeError("no room")

    data = random_set(8)
    core = _core.Loader(
        data.images,
        data.labels,
        flatten=True,
        batch_size=4,
        shuffle=False,
        drop_last=False,
        seed=0,
        rank=0,
        world_size=1,
        num_threads=1,
        mean=0.0,
        std=1.0,
        dtype="float32",
        from_dlpack=refuse,
    )
    batches = core.epoch(0, 0)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"^no room$"):
            next(batches)
    assert next(batches, None) is None
