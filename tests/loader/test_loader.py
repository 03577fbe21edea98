"""What a DataLoader's batches hold: shapes, bytes and order, alike for any threads and ranks."""

import pickle
import random
import re
from collections.abc import Iterator
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from image_sets import as_bytes, expected, joined, random_set, taken
from mnist_sgd import DataLoader, DataLoaders, first
from mnist_sgd.data import ImageSet, mnist_sample

COUNTS = st.integers(1, 200)
SIZES = st.integers(1, 70)
SEEDS = st.integers(0, 2**64 - 1)
THREADS = st.sampled_from([1, 2, 4])


@pytest.fixture(scope="module")
def sample() -> tuple[ImageSet, ImageSet]:
    return mnist_sample()


def test_the_chapters_batches_have_the_chapters_shapes(sample: tuple[ImageSet, ImageSet]) -> None:
    train, valid = (DataLoader(part, batch_size=256) for part in sample)
    assert (len(train), len(valid)) == (49, 8)
    for loader, last in ((train, 108), (valid, 246)):
        batches = list(loader)
        assert len(batches) == len(loader)
        assert [len(xb) for xb, _ in batches] == [256] * (len(loader) - 1) + [last]
        assert {(xb.dtype, xb.shape[1:]) for xb, _ in batches} == {(torch.float32, (784,))}
        assert {(yb.dtype, yb.shape[1:]) for _, yb in batches} == {(torch.int64, (1,))}
        assert all(len(xb) == len(yb) for xb, yb in batches)


def test_an_epoch_of_the_sample_is_torchs_arithmetic(sample: tuple[ImageSet, ImageSet]) -> None:
    train, _ = sample
    xb, yb = (torch.cat(parts) for parts in zip(*DataLoader(train, 256), strict=True))
    pixels = torch.from_numpy(train.images.copy()).reshape(-1, 784)
    assert torch.equal(xb, pixels.float() / 255)
    assert yb.tolist() == train.labels[:, None].tolist()


@settings(deadline=None)
@given(
    count=COUNTS,
    batch_size=SIZES,
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    seed=SEEDS,
    normalization=st.sampled_from([(0.0, 1.0), (0.1307, 0.3081)]),
    threads=THREADS,
)
def test_every_batch_is_the_definitions_for_any_number_of_threads(
    count: int,
    batch_size: int,
    shuffle: bool,
    drop_last: bool,
    seed: int,
    normalization: tuple[float, float],
    threads: int,
) -> None:
    mean, std = normalization
    loader = DataLoader(
        random_set(count),
        batch_size,
        shuffle,
        drop_last,
        seed=seed,
        mean=mean,
        std=std,
        num_threads=threads,
    )
    for epoch in range(2):
        batches = taken(loader)
        assert batches == expected(loader, epoch)
        assert len(batches) == len(loader)


@settings(deadline=None)
@given(
    count=COUNTS,
    batch_size=SIZES,
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    seed=SEEDS,
    world_size=st.integers(1, 7),
    threads=THREADS,
)
def test_the_ranks_batches_together_are_the_single_processs(
    count: int,
    batch_size: int,
    shuffle: bool,
    drop_last: bool,
    seed: int,
    world_size: int,
    threads: int,
) -> None:
    data = random_set(count)
    alone = DataLoader(data, batch_size, shuffle, drop_last, seed=seed)
    ranks = [
        DataLoader(
            data,
            batch_size,
            shuffle,
            drop_last,
            seed=seed,
            num_threads=threads,
            rank=rank,
            world_size=world_size,
        )
        for rank in range(world_size)
    ]
    for _ in range(2):
        for whole, *parts in zip(alone, *ranks, strict=True):
            assert joined(map(as_bytes, parts)) == as_bytes(whole)
            sizes = [len(xb) for xb, _ in parts]
            assert max(sizes) - min(sizes) <= 1


def test_a_rank_without_images_in_a_short_last_batch_gets_an_empty_one() -> None:
    loader = DataLoader(random_set(9), 8, rank=3, world_size=4)
    assert [(xb.shape, yb.shape) for xb, yb in loader] == [((2, 784), (2, 1)), ((0, 784), (0, 1))]


def test_a_batch_size_and_a_world_size_may_be_as_large_as_numbers_go() -> None:
    huge = 2**64 - 1
    data = random_set(5)
    assert [len(xb) for xb, _ in DataLoader(data, huge)] == [5]
    assert len(DataLoader(data, huge, drop_last=True)) == 0
    for rank, size in ((0, 1), (4, 1), (5, 0), (huge - 1, 0)):
        assert [len(xb) for xb, _ in DataLoader(data, rank=rank, world_size=huge)] == [size]


def test_without_flattening_a_batch_is_images_of_one_channel() -> None:
    data = random_set(10)
    flat, square = DataLoader(data, 4), DataLoader(data, 4, flatten=False)
    assert [xb.shape for xb, _ in square] == [(4, 1, 28, 28), (4, 1, 28, 28), (2, 1, 28, 28)]
    square.set_epoch(0)
    assert taken(flat) == taken(square)


def test_labels_stay_with_their_images_in_a_shuffled_epoch() -> None:
    data = random_set(300)
    label_of = {
        image.tobytes(): int(label) for image, label in zip(data.images, data.labels, strict=True)
    }
    for xb, yb in DataLoader(data, 64, shuffle=True, num_threads=2):
        images = (xb * 255).round().to(torch.uint8).numpy()
        assert [label_of[image.tobytes()] for image in images] == yb.flatten().tolist()


def test_labels_of_both_types_give_the_same_batches() -> None:
    small, large = (
        DataLoader(random_set(50, labels), 8, shuffle=True) for labels in (np.uint8, np.int64)
    )
    assert small.dataset.labels.dtype != large.dataset.labels.dtype
    assert taken(small) == taken(large)


def test_epochs_of_a_shuffled_loader_differ_and_those_of_another_do_not() -> None:
    shuffled, plain = DataLoader(random_set(50), 8, shuffle=True), DataLoader(random_set(50), 8)
    assert taken(shuffled) != taken(shuffled)
    assert taken(plain) == taken(plain)


def test_drop_last_leaves_out_a_short_last_batch_alone() -> None:
    for count, length in ((7, 0), (8, 1), (15, 1), (16, 2)):
        loader = DataLoader(random_set(count), 8, drop_last=True)
        assert [len(xb) for xb, _ in loader] == [8] * length
        assert len(loader) == length


def test_images_and_labels_are_read_where_they_lie() -> None:
    """A change of the arrays after the loader was made is in its next batch: it has no copy."""
    images, labels = np.zeros((3, 28, 28), np.uint8), np.zeros(3, np.uint8)
    loader = DataLoader(ImageSet(images, labels, ("no", "yes")), 3)
    images[1], labels[2] = 255, 1
    xb, yb = first(loader)
    assert xb.sum(dim=1).tolist() == [0, 784, 0]
    assert yb.flatten().tolist() == [0, 0, 1]


def test_a_read_only_memory_map_is_read_and_a_batch_of_it_is_writable(tmp_path: Path) -> None:
    data = random_set(20)
    data.images.tofile(tmp_path / "pixels")
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "r", shape=(20, 28, 28))
    assert not data.images.flags.writeable
    loaders = [
        DataLoader(ImageSet(images, data.labels, data.classes), 8, shuffle=True)
        for images in (data.images, mapped)
    ]
    assert taken(loaders[0]) == taken(loaders[1])
    xb, yb = first(loaders[1])
    xb.zero_()
    yb.zero_()
    assert mapped.tobytes() == data.images.tobytes()


def test_whole_batches_begin_on_a_cache_line() -> None:
    for threads in (1, 3):
        loader = DataLoader(random_set(100), 7, num_threads=threads)
        held = [batch for _ in range(3) for batch in loader]
        assert all(xb.data_ptr() % 64 == 0 for xb, _ in held)


def test_no_global_random_state_is_read_or_changed() -> None:
    def states() -> tuple[Any, ...]:
        return torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()

    def epoch() -> list[tuple[bytes, bytes]]:
        return taken(DataLoader(random_set(50), 8, shuffle=True, seed=1, num_threads=2))

    before = states()
    batches = epoch()
    assert states() == before
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        assert epoch() == batches


def test_two_iterators_over_one_loader_do_not_meet() -> None:
    loader = DataLoader(random_set(50), 8, shuffle=True, num_threads=2)
    older, newer = iter(loader), iter(loader)
    pairs = [(as_bytes(a), as_bytes(b)) for a, b in zip(older, newer, strict=True)]
    assert [a for a, _ in pairs] == expected(loader, 0)
    assert [b for _, b in pairs] == expected(loader, 1)


def test_an_iterator_needs_nobody_else_to_hold_its_loader() -> None:
    def orphan() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        data = random_set(50)
        copied = ImageSet(data.images.copy(), data.labels.copy(), data.classes)
        return iter(DataLoader(copied, 8, num_threads=2))

    assert taken(orphan()) == expected(DataLoader(random_set(50), 8), 0)


def test_normalize_makes_of_images_what_a_batch_holds() -> None:
    data = random_set(5)
    for flatten in (True, False):
        loader = DataLoader(data, 5, flatten=flatten, mean=0.1307, std=0.3081)
        assert torch.equal(loader.normalize(data.images), first(loader)[0])


def refused(**arguments: Any) -> str:
    kind = arguments.pop("kind", ValueError)
    with pytest.raises(kind) as caught:
        DataLoader(random_set(4), **arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"batch_size": -3}, "batch_size must be at least 1, got -3"),
        ({"batch_size": 2**64}, f"batch_size must be at most {2**64 - 1}, got {2**64}"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"seed": 2**64}, f"seed must be at most {2**64 - 1}, got {2**64}"),
        ({"world_size": 0}, "world_size must be at least 1, got 0"),
        ({"rank": 5, "world_size": 3}, "rank must be at most 2, got 5"),
        ({"rank": -1}, "rank must be at least 0, got -1"),
        ({"num_threads": 0}, "num_threads must be at least 1, got 0"),
        ({"num_threads": 257}, "num_threads must be at most 256, got 257"),
        ({"std": 0}, "std must be a finite number above 0, got 0"),
        ({"std": -0.5}, "std must be a finite number above 0, got -0.5"),
        ({"mean": float("nan")}, "mean must be a finite number, got nan"),
        ({"mean": 1e39}, "mean must be a finite number, got inf"),
    ],
)
def test_a_number_out_of_range_is_refused_by_name(arguments: dict[str, Any], text: str) -> None:
    assert refused(**arguments) == text


@pytest.mark.parametrize("name", ["batch_size", "seed", "rank", "world_size", "num_threads"])
@pytest.mark.parametrize("value", [1.0, "1", None])
def test_what_is_no_integer_is_refused_by_name(name: str, value: object) -> None:
    arguments: dict[str, Any] = {name: value, "kind": TypeError}
    assert refused(**arguments) == f"{name} must be an integer, got {value!r}"


def test_numpy_integers_and_truth_values_are_taken() -> None:
    plain = DataLoader(random_set(20), 8, shuffle=True, seed=3)
    values: dict[str, Any] = {"batch_size": np.uint8(8), "shuffle": np.True_, "seed": np.int64(3)}
    numpys = DataLoader(random_set(20), **values)
    assert taken(numpys) == taken(plain)
    assert numpys.state_dict() == plain.state_dict()
    assert {type(value) for value in numpys.state_dict().values()} == {int}


def test_a_loader_says_that_it_is_not_pickled_and_what_to_do() -> None:
    text = (
        "a DataLoader cannot be pickled or copied: make one in each process, "
        "and pass its state_dict()"
    )
    for copier in (pickle.dumps, copy, deepcopy):
        with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
            copier(DataLoader(random_set(4)))


def test_first_gives_the_first_batch_and_refuses_to_make_one_up() -> None:
    loader = DataLoader(random_set(20), 8)
    assert as_bytes(first(loader)) == expected(loader, 0)[0]
    with pytest.raises(ValueError, match=r"^there is no first item: the iterable is empty$"):
        first(DataLoader(random_set(4), 8, drop_last=True))


def test_data_loaders_are_a_pair_by_name_and_by_number() -> None:
    train, valid = DataLoader(random_set(4)), DataLoader(random_set(3))
    pair = DataLoaders(train, valid)
    assert pair.train is pair[0] is train
    assert pair.valid is pair[1] is valid
    with pytest.raises(IndexError):
        pair[2]
