"""The order of an epoch is a permutation, the same for ever, had in parts and without memory."""

import math
import re
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from memory import address_space
from mnist_sgd import _core
from processes import in_child

COUNTS = st.integers(1, 5000)
NUMBERS = st.integers(0, 2**64 - 1)


def order(
    count: int, seed: int = 0, epoch: int = 0, start: int = 0, stop: int | None = None
) -> NDArray[np.int64]:
    end = count if stop is None else stop
    return _core.order(count, seed=seed, epoch=epoch, start=start, stop=end)


@settings(deadline=None)
@given(count=COUNTS, seed=NUMBERS, epoch=NUMBERS)
def test_it_is_a_permutation(count: int, seed: int, epoch: int) -> None:
    assert np.array_equal(np.sort(order(count, seed, epoch)), np.arange(count))


def test_every_small_count_is_permuted() -> None:
    for count in range(1, 300):
        assert np.array_equal(np.sort(order(count, seed=count)), np.arange(count)), count


@settings(deadline=None)
@given(count=COUNTS, seed=NUMBERS, epoch=NUMBERS, data=st.data())
def test_any_part_is_the_slice_of_the_whole(
    count: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    start, stop = sorted(data.draw(st.tuples(st.integers(0, count), st.integers(0, count))))
    part = order(count, seed, epoch, start, stop)
    assert part.dtype == np.int64
    assert np.array_equal(part, order(count, seed, epoch)[start:stop])


@settings(deadline=None)
@given(count=COUNTS, seed=NUMBERS, epoch=NUMBERS, data=st.data())
def test_every_kernel_gives_the_same_order(
    count: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start, min(count, start + 300)))
    best = order(count, seed, epoch, start, stop).tolist()
    for kernel in _core.kernels():
        other = _core.order(count, seed=seed, epoch=epoch, start=start, stop=stop, kernel=kernel)
        assert other.tolist() == best, kernel


def test_version_1_of_the_order_never_changes() -> None:
    """What a saved state means hangs on these values: another order needs another version."""
    assert _core.ORDER_VERSION == 1
    assert order(10).tolist() == [0, 3, 5, 1, 4, 7, 6, 9, 8, 2]
    assert order(10, epoch=1).tolist() == [3, 5, 2, 6, 9, 1, 4, 0, 8, 7]
    assert order(10, seed=2**64 - 1).tolist() == [6, 5, 4, 0, 1, 8, 3, 7, 9, 2]
    assert order(12_396, 42, 3, 12_388).tolist() == [
        *[2113, 10758, 10220, 4042, 4893, 4551, 9530, 4246]
    ]
    assert order(10**12, 7, 2**64 - 1, 5 * 10**11, 5 * 10**11 + 4).tolist() == [
        *[497867986880, 492273528353, 843197681366, 637413074101]
    ]
    assert order(2**60, 1, 2, 2**60 - 3).tolist() == [
        *[107710885694510279, 712338407261664406, 681474018775790311]
    ]
    digest = sha256(order(12_396).astype("<i8").tobytes()).hexdigest()
    assert digest == "3187f3b3450dc86fb2d5c4806ce8d9b1cfe8806ca2479ce274dd5a892347a0db"


def test_no_two_of_many_epochs_or_seeds_are_alike() -> None:
    numbers = [*range(1000), *range(2**32 - 5, 2**32 + 5), *range(2**64 - 5, 2**64)]
    epochs = {order(50, seed=3, epoch=n).tobytes() for n in numbers}
    seeds = {order(50, seed=n, epoch=3).tobytes() for n in numbers}
    assert len(epochs) == len(seeds) == len(numbers)
    assert len(epochs & seeds) == 1  # seed 3 in epoch 3


def chi_square(observed: NDArray[np.int64], expected: NDArray[np.float64]) -> float:
    return float(((observed - expected) ** 2 / expected).sum())


def deviations(statistic: float, freedom: int) -> float:
    """How many standard deviations a chi-square statistic lies from its mean."""
    return abs(statistic - freedom) / math.sqrt(2 * freedom)


@pytest.mark.parametrize("count", [10, 16, 17, 23])
def test_every_image_comes_at_every_place_equally_often(count: int) -> None:
    epochs = 4000
    table = np.zeros((count, count), np.int64)
    for epoch in range(epochs):
        table[np.arange(count), order(count, seed=3, epoch=epoch)] += 1
    # Rows and columns add up to the number of epochs, so each cell varies less than Poisson's by
    # the factor 1 - 1 / count, and the mean of the sum is count (count - 1).
    statistic = chi_square(table, np.full((count, count), epochs / count)) * (1 - 1 / count)
    assert deviations(statistic, (count - 1) ** 2) < 5


@pytest.mark.parametrize("count", [100, 1000, 1024, 12_396])
def test_neighbours_in_the_order_are_strangers_in_the_dataset(count: int) -> None:
    steps = [np.diff(order(count, seed=9, epoch=epoch)) % count for epoch in range(100)]
    observed = np.bincount(np.concatenate(steps) * 50 // count, minlength=50)
    share = np.bincount(np.arange(1, count) * 50 // count, minlength=50) / (count - 1)
    assert deviations(chi_square(observed, share * observed.sum()), 49) < 5


@pytest.mark.parametrize("count", [100, 1000, 1024, 12_396])
def test_one_image_an_epoch_stays_in_its_place_on_average(count: int) -> None:
    epochs = 1000
    places = np.arange(count)
    fixed = [np.count_nonzero(order(count, seed=5, epoch=e) == places) for e in range(epochs)]
    assert abs(float(np.mean(fixed)) - 1) < 5 / math.sqrt(epochs)  # as Poisson's: variance 1


@settings(max_examples=20, deadline=None)
@given(start=st.integers(0, 10**12 - 1000), seed=NUMBERS)
def test_a_part_of_a_huge_order_is_of_different_numbers_below_the_count(
    start: int, seed: int
) -> None:
    part = order(10**12, seed, 0, start, start + 1000)
    assert len(np.unique(part)) == 1000
    assert part.min() >= 0
    assert part.max() < 10**12


@pytest.mark.parametrize("count", [10**7, 10**12])
@pytest.mark.parametrize("kernel", _core.kernels())
def test_a_part_of_an_order_costs_no_more_memory_than_the_part(count: int, kernel: str) -> None:
    """A child that may have 8 MiB more, and what earlier tests have freed, but not 8 GB."""

    def first_middle_last() -> list[int]:
        starts = (0, count // 2, count - 1000)
        with address_space(8 * 2**20):
            parts = [
                _core.order(count, seed=7, epoch=0, start=start, stop=start + 1000, kernel=kernel)
                for start in starts
            ]
        return [len(part) for part in parts]

    def the_whole() -> None:
        with address_space(8 * 2**20), pytest.raises(MemoryError):
            _core.order(10**9, seed=7, epoch=0, start=0, stop=10**9, kernel=kernel)

    assert in_child(first_middle_last) == [1000] * 3
    in_child(the_whole)  # so the limit does limit


@pytest.mark.parametrize(
    ("count", "start", "stop", "text"),
    [
        (10, 3, 2, "start and stop must satisfy 0 <= start <= stop <= count, got 3, 2 and 10"),
        (10, 0, 11, "start and stop must satisfy 0 <= start <= stop <= count, got 0, 11 and 10"),
        (0, 0, 0, "count must lie in 1 to 2^60, got 0"),
        (2**60 + 1, 0, 1, "count must lie in 1 to 2^60, got 1152921504606846977"),
    ],
)
def test_what_is_no_part_of_an_order_is_refused(
    count: int, start: int, stop: int, text: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        order(count, start=start, stop=stop)
