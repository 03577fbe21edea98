"""What becomes of an image hangs on the seed, the epoch and the image, and on nothing else."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from image_sets import Bytes, expected, joined, random_set, taken
from mnist_sgd import Augmentation, DataLoader

AUGMENT = Augmentation(degrees=30, translate=0.1, scale=(0.7, 1.4), shear=10)


def loader(count: int = 100, **changes: Any) -> DataLoader:
    arguments: dict[str, Any] = {
        "batch_size": 16,
        "shuffle": True,
        "seed": 3,
        "augment": AUGMENT,
    } | changes
    return DataLoader(random_set(count), **arguments)


def epochs(of: DataLoader, count: int = 2) -> list[list[Bytes]]:
    return [taken(of) for _ in range(count)]


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**64 - 1),
    epoch=st.integers(0, 2**64 - 1),
    batch_size=st.integers(1, 40),
    num_threads=st.integers(1, 3),
    shuffle=st.booleans(),
)
def test_a_batch_is_the_augmented_images_normalised(
    seed: int, epoch: int, batch_size: int, num_threads: int, shuffle: bool
) -> None:
    own = loader(
        33,
        seed=seed,
        batch_size=batch_size,
        num_threads=num_threads,
        shuffle=shuffle,
        mean=0.1307,
        std=0.3081,
    )
    own.set_epoch(epoch)
    assert taken(own) == expected(own, epoch)


@pytest.mark.parametrize("num_threads", [2, 5])
def test_threads_change_nothing(num_threads: int) -> None:
    assert epochs(loader(num_threads=num_threads)) == epochs(loader())


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_ranks_parts_together_are_the_single_processs_batches(world_size: int) -> None:
    parts = [loader(rank=rank, world_size=world_size) for rank in range(world_size)]
    for _ in range(2):
        whole = zip(*(taken(part) for part in parts), strict=True)
        assert [joined(batch) for batch in whole] == taken(parts_whole(parts[0]))


def parts_whole(part: DataLoader) -> DataLoader:
    """One process's loader, in the epoch that `part` has just ended."""
    whole = loader()
    whole.set_epoch(part.state_dict()["epoch"] - 1)
    return whole


@pytest.mark.parametrize("batch_size", [1, 7, 100, 1000])
def test_the_batch_size_changes_only_the_cut(batch_size: int) -> None:
    assert [joined(batches) for batches in epochs(loader(batch_size=batch_size))] == [
        joined(batches) for batches in epochs(loader())
    ]


@pytest.mark.parametrize("flatten", [True, False])
def test_the_dtype_changes_only_the_rounding(flatten: bool) -> None:
    def values(dtype: torch.dtype) -> torch.Tensor:
        return torch.cat([xb.clone() for xb, _ in loader(dtype=dtype, flatten=flatten)])

    raw = values(torch.uint8)
    assert raw.shape == ((100, 784) if flatten else (100, 1, 28, 28))
    assert torch.equal(values(torch.float32), raw.float() / 255)
    assert torch.equal(values(torch.bfloat16), (raw.float() / 255).to(torch.bfloat16))


def test_each_epoch_shows_each_image_anew_and_the_dataset_stays_as_it_is() -> None:
    own = loader(shuffle=False)
    first, second = epochs(own)
    assert all(a != b for a, b in zip(first, second, strict=True))
    own.set_epoch(0)
    assert taken(own) == first
    assert np.array_equal(own.dataset.images, random_set(100).images)


def test_an_augmentation_that_changes_nothing_leaves_the_bytes() -> None:
    assert epochs(loader(augment=Augmentation())) == epochs(loader(augment=None))


def test_a_kernel_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    best = epochs(loader())
    monkeypatch.setenv("MNIST_SGD_KERNEL", "portable")
    assert epochs(loader()) == best


def test_what_a_loader_makes_of_images_for_a_prediction_is_not_augmented() -> None:
    images = random_set(5).images
    assert torch.equal(
        loader().normalize(images), torch.tensor(images).reshape(5, 784).float() / 255
    )


def test_a_rank_with_an_empty_part_gets_it() -> None:
    own = DataLoader(random_set(1), 1, rank=1, world_size=2, augment=AUGMENT)
    assert [(tuple(xb.shape), tuple(yb.shape)) for xb, yb in own] == [((0, 784), (0, 1))]


def test_what_is_no_augmentation_is_refused() -> None:
    text = "augment must be an Augmentation or None, got True"
    with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
        loader(augment=True)
