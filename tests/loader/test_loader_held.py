"""A batch that somebody holds is never overwritten, and memory that nobody holds is used again."""

import gc

import pytest

from image_sets import Batch, as_bytes, expected, random_set, shuffled, taken
from mnist_sgd import DataLoader
from mnist_sgd.data import ImageSet

pytestmark = pytest.mark.usefixtures("either_exchange")

any_threads = pytest.mark.parametrize("num_threads", [1, 2, 4])


@any_threads
def test_a_held_batch_survives_a_thousand_later_ones(num_threads: int) -> None:
    loader = shuffled(num_threads=num_threads)
    held = next(iter(loader))
    later = sum(len(taken(loader)) for _ in range(125))
    assert later == 1000
    assert as_bytes(held) == expected(loader, 0)[0]


@any_threads
def test_all_the_batches_of_some_epochs_can_be_held_at_once(num_threads: int) -> None:
    loader = shuffled(num_threads=num_threads)
    held = [batch for _ in range(5) for batch in loader]
    assert taken(held) == [batch for epoch in range(5) for batch in expected(loader, epoch)]
    assert len({xb.data_ptr() for xb, _ in held}) == len(held)


@any_threads
def test_images_and_labels_survive_without_each_other(num_threads: int) -> None:
    loader = shuffled(num_threads=num_threads)
    whole = expected(loader, 0)
    images, labels = [], []
    for number, (xb, yb) in enumerate(loader):
        if number % 2:
            images.append((number, xb))
        else:
            labels.append((number, yb))
    for _ in range(20):
        taken(loader)
    assert [xb.numpy().tobytes() for _, xb in images] == [whole[n][0] for n, _ in images]
    assert [yb.numpy().tobytes() for _, yb in labels] == [whole[n][1] for n, _ in labels]
    row = images[0][1][3]  # a view of a view
    del images, xb
    taken(loader)
    assert row.numpy().tobytes() == whole[1][0][3 * 784 * 4 : 4 * 784 * 4]


@any_threads
def test_a_held_batch_outlives_its_loader_and_its_dataset(num_threads: int) -> None:
    wanted = expected(shuffled(), 0)

    def orphans() -> list[Batch]:
        data = random_set(64)
        copied = ImageSet(data.images.copy(), data.labels.copy(), data.classes)
        return list(DataLoader(copied, 8, True, seed=7, num_threads=num_threads))

    held = orphans()
    gc.collect()
    taken(shuffled(num_threads=num_threads))
    assert taken(held) == wanted


@any_threads
def test_memory_that_nobody_holds_is_used_again(num_threads: int) -> None:
    """Of each thread: the loop's batch and the one before, and those that the threads prepare."""
    loader = shuffled(num_threads=num_threads)
    addresses = {xb.data_ptr() for _ in range(100) for xb, _ in loader}
    assert len(addresses) <= (2 if num_threads == 1 else num_threads * (num_threads + 3))


def test_memory_that_was_held_goes_back() -> None:
    loader = shuffled()
    held = [batch for _ in range(10) for batch in loader]
    assert len({xb.data_ptr() for xb, _ in held}) == 80
    del held
    assert len({xb.data_ptr() for _ in range(10) for xb, _ in loader}) <= 2
