"""Whatever a loader is made and continued with, its batches are those of a model in NumPy."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from image_sets import random_set
from mnist_sgd import DataLoader, _core

Images = tuple[NDArray[Any], NDArray[np.int64]]

DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.uint8])
NORMALIZATIONS = st.sampled_from([(0.0, 1.0), (0.1307, 0.3081)])


def bfloat16_bits(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The nearest bfloat16 numbers' bits; of two as near, the even one."""
    bits = values.view(np.uint32).astype(np.uint64)
    lower, upper = bits & 0xFFFF, bits >> 16
    up = (lower > 0x8000) | ((lower == 0x8000) & (upper % 2 == 1))
    rounded: NDArray[np.uint16] = (upper + up).astype(np.uint16)
    return rounded


def model(loader: DataLoader, epoch: int) -> list[Images]:
    """The batches of an epoch over all ranks: bits `[B, 784]` of the loader's dtype, and labels."""
    data, count = loader.dataset, len(loader.dataset)
    order = np.arange(count)
    if loader.shuffle:
        order = _core.order(count, seed=loader.seed, epoch=epoch, start=0, stop=count)
    pixels = data.images.reshape(count, 784)
    quotients = pixels.astype(np.float32) / np.float32(255)
    floats = (quotients - np.float32(loader.mean)) / np.float32(loader.std)
    bits: dict[torch.dtype, NDArray[Any]] = {
        torch.float32: floats.view(np.uint32),
        torch.bfloat16: bfloat16_bits(floats),
        torch.uint8: pixels,
    }
    whole = count - count % loader.batch_size if loader.drop_last else count
    cuts = [order[i : i + loader.batch_size] for i in range(0, whole, loader.batch_size)]
    return [(bits[loader.dtype][rows], data.labels[rows].astype(np.int64)) for rows in cuts]


def bits_of(xb: torch.Tensor) -> NDArray[Any]:
    """The bit patterns of a batch's values."""
    integers = {torch.float32: torch.uint32, torch.bfloat16: torch.uint16, torch.uint8: torch.uint8}
    array: NDArray[Any] = xb.view(integers[xb.dtype]).numpy()
    return array


def united(loaders: list[DataLoader], batches: int | None = None) -> Iterator[Images]:
    """The batches of the ranks' next iterators, put together: at most so many, or to the end."""
    for parts in islice(zip(*map(iter, loaders), strict=True), batches):
        yield (
            np.concatenate([bits_of(xb) for xb, _ in parts]),
            np.concatenate([yb.numpy()[:, 0] for _, yb in parts]),
        )


def same(ours: list[Images], theirs: list[Images]) -> bool:
    return len(ours) == len(theirs) and all(
        np.array_equal(a, b) and np.array_equal(c, d)
        for (a, c), (b, d) in zip(ours, theirs, strict=True)
    )


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_any_loader_of_any_ranks_goes_on_with_any_other_ranks_as_the_model(
    data: st.DataObject,
) -> None:
    count = data.draw(st.integers(1, 120), "count")
    batch_size = data.draw(st.integers(1, 50) | st.just(2**64 - 1), "batch_size")
    shuffle = data.draw(st.booleans(), "shuffle")
    drop_last = data.draw(st.booleans(), "drop_last")
    seed = data.draw(st.integers(0, 2**64 - 1), "seed")
    dtype = data.draw(DTYPES, "dtype")
    normalization = (0.0, 1.0) if dtype == torch.uint8 else data.draw(NORMALIZATIONS, "mean, std")
    epoch = data.draw(st.integers(0, 3) | st.integers(0, 2**64 - 3), "epoch")

    def ranks(of: str) -> list[DataLoader]:
        world_size = data.draw(st.integers(1, 6), f"world_size {of}")
        threads = data.draw(st.sampled_from([1, 2, 3]), f"threads {of}")
        return [
            DataLoader(
                random_set(count),
                batch_size,
                shuffle,
                drop_last,
                seed=seed,
                dtype=dtype,
                mean=normalization[0],
                std=normalization[1],
                num_threads=threads,
                rank=rank,
                world_size=world_size,
            )
            for rank in range(world_size)
        ]

    before, after = ranks("before"), ranks("after")
    whole = model(before[0], epoch)
    cut = data.draw(st.integers(0, len(whole)), "batches before the cut")
    for loader in before:
        loader.set_epoch(epoch)
    assert same(list(united(before, cut)), whole[:cut])

    states = [loader.state_dict() for loader in before]
    assert all(state == states[0] for state in states)
    seen = min(cut * batch_size, len(whole) * batch_size if drop_last else count)
    assert (states[0]["epoch"], states[0]["samples_seen"]) == (epoch, seen)

    for loader in after:
        loader.load_state_dict(states[0])
    assert same(list(united(after)), whole[cut:])
    assert same(list(united(after)), model(after[0], epoch + 1))
