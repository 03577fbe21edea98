"""A loader's state is a few integers, and whoever loads it goes on with the same bytes."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from image_sets import Bytes, expected, random_set, taken
from mnist_sgd import Augmentation, DataLoader, _core


def loader(count: int = 22, **changes: Any) -> DataLoader:
    arguments = {"batch_size": 4, "shuffle": True, "seed": 5} | changes
    return DataLoader(random_set(count), **arguments)


def stand(of: DataLoader) -> tuple[int, int]:
    state = of.state_dict()
    return state["epoch"], state["samples_seen"]


def states_of_two_epochs(of: DataLoader) -> Iterator[tuple[dict[str, int], list[Bytes]]]:
    """Every state of two epochs, with the batches up to the end of the third that follow it.

    They are those at each epoch's begin, after each batch, and after the last before the iterator
    is exhausted; that one is followed by the empty rest of its epoch.
    """
    whole = [expected(of, epoch) for epoch in range(3)]
    for epoch in range(2):
        later = [batch for batches in whole[epoch + 1 :] for batch in batches]
        yield of.state_dict(), whole[epoch] + later
        for number, _ in enumerate(of, 1):
            yield of.state_dict(), whole[epoch][number:] + later


def follow(of: DataLoader, state: dict[str, int]) -> list[Bytes]:
    """What a loader gives from `state` to the end of the third epoch."""
    of.load_state_dict(state)
    batches = []
    while of.state_dict()["epoch"] < 3:
        batches += taken(of)
    return batches


every_cut = pytest.mark.parametrize(
    "changes",
    [
        {},
        {"shuffle": False},
        {"drop_last": True},
        {"num_threads": 3},
        {"augment": Augmentation(degrees=30)},
        {"count": 24},
        {"batch_size": 50},
        {"batch_size": 1, "count": 3},
    ],
    ids=str,
)


@every_cut
def test_a_fresh_loader_goes_on_from_every_state_of_two_epochs(changes: dict[str, Any]) -> None:
    cuts = 0
    for state, rest in states_of_two_epochs(loader(**changes)):
        through_json = json.loads(json.dumps(state))
        fresh = loader(**changes)
        fresh.load_state_dict(through_json)
        assert fresh.state_dict() == state
        assert follow(fresh, state) == rest
        cuts += 1
    assert cuts == 2 * (len(loader(**changes)) + 1)


@every_cut
def test_a_used_loader_goes_on_from_every_state_any_number_of_times(
    changes: dict[str, Any],
) -> None:
    cuts = list(states_of_two_epochs(loader(**changes)))
    used = loader(**changes)
    for _ in range(2):
        for state, rest in cuts:
            assert follow(used, state) == rest


def test_the_same_loader_goes_back_in_the_middle_of_its_epoch() -> None:
    own = loader()
    running = iter(own)
    next(running)
    state = own.state_dict()
    next(running)
    for _ in range(3):
        own.load_state_dict(state)
        assert own.state_dict() == state
        next(running)  # an iterator from before the load moves on alone
        assert own.state_dict() == state
        assert taken(own) == expected(own, 0)[1:]


def test_a_state_is_taken_over_all_ranks_and_loaded_by_any_number_of_them() -> None:
    three = [loader(rank=rank, world_size=3) for rank in range(3)]
    for part in three:
        iterator = iter(part)
        next(iterator)
        next(iterator)
    states = [part.state_dict() for part in three]
    assert states[0] == states[1] == states[2]
    one = loader()
    one.load_state_dict(states[0])
    assert taken(one) == expected(one, 0)[2:]


def test_a_state_is_plain_integers_that_say_whose_it_is() -> None:
    own = loader(seed=2**64 - 1)
    state = own.state_dict()
    assert {type(value) for value in state.values()} == {int}
    assert json.loads(json.dumps(state)) == state
    assert state == {
        "epoch": 0,
        "samples_seen": 0,
        "dataset": int(own.dataset.fingerprint(), 16),
        "batch_size": 4,
        "seed": 2**64 - 1,
        "shuffle": 1,
        "drop_last": 0,
        "augmentation": 0,
        "order_version": _core.ORDER_VERSION,
    }


def test_samples_seen_counts_the_images_of_the_batches_given_out() -> None:
    own = loader(count=10)
    assert [stand(own) for _ in own] == [(0, 4), (0, 8), (0, 10)]
    assert stand(own) == (1, 0)
    dropping = loader(count=10, drop_last=True)
    assert [stand(dropping) for _ in dropping] == [(0, 4), (0, 8)]
    assert stand(dropping) == (1, 0)


def test_after_a_broken_off_epoch_the_next_one_begins() -> None:
    own = loader()
    for _ in own:
        break
    assert stand(own) == (0, 4)
    assert taken(own) == expected(own, 1)
    iter(own)  # nothing was taken of epoch 2, but its iterator was made
    assert stand(own) == (2, 0)
    assert taken(own) == expected(own, 3)


def test_only_the_newest_iterator_moves_the_state() -> None:
    own = loader(count=10)
    older = iter(own)
    next(older)
    newer = iter(own)
    next(newer)
    next(newer)
    assert stand(own) == (1, 8)
    assert len(taken(older)) == 2
    assert stand(own) == (1, 8)
    assert len(taken(newer)) == 1
    assert stand(own) == (2, 0)


def test_set_epoch_chooses_the_epoch_that_comes_next() -> None:
    own = loader()
    for epoch in (3, 0, 2**64 - 2, 3):
        own.set_epoch(epoch)
        assert stand(own) == (epoch, 0)
        assert taken(own) == expected(own, epoch)
        assert stand(own) == (epoch + 1, 0)
    for _ in own:
        own.set_epoch(7)
    assert stand(own) == (7, 0)
    assert taken(own) == expected(own, 7)


@pytest.mark.parametrize(
    ("epoch", "kind", "text"),
    [
        (-1, ValueError, "epoch must be at least 0, got -1"),
        (2**64, ValueError, f"epoch must be at most {2**64 - 1}, got {2**64}"),
        (1.5, TypeError, "epoch must be an integer, got 1.5"),
    ],
)
def test_an_epoch_that_is_none_is_refused(epoch: Any, kind: type[Exception], text: str) -> None:
    own = loader()
    next(iter(own))
    attempts: list[Callable[[], None]] = [
        lambda: own.set_epoch(epoch),
        lambda: own.load_state_dict(own.state_dict() | {"epoch": epoch}),
    ]
    for attempt in attempts:
        with pytest.raises(kind) as caught:
            attempt()
        assert str(caught.value) == text
        assert stand(own) == (0, 4)


@pytest.mark.parametrize(
    ("other", "key"),
    [
        ({"batch_size": 2}, "batch_size"),
        ({"seed": 6}, "seed"),
        ({"shuffle": False}, "shuffle"),
        ({"drop_last": True}, "drop_last"),
        ({"count": 21}, "dataset"),
        ({"augment": Augmentation()}, "augmentation"),
    ],
)
def test_a_state_of_another_loader_is_refused_with_both_values(
    other: dict[str, Any], key: str
) -> None:
    own, state = loader(), loader(**other).state_dict()
    next(iter(own))
    with pytest.raises(ValueError, match=r".") as caught:
        own.load_state_dict(state)
    assert str(caught.value) == (
        f"the state is of another {key}: "
        f"it has {state[key]}, this loader has {own.state_dict()[key]}"
    )
    assert stand(own) == (0, 4)


def test_a_state_of_another_version_of_the_order_is_refused() -> None:
    own = loader()
    with pytest.raises(ValueError, match=r".") as caught:
        own.load_state_dict(own.state_dict() | {"order_version": 2})
    assert str(caught.value) == "the state is of another order_version: it has 2, this loader has 1"


def test_what_lacks_a_part_of_a_state_is_refused_by_the_parts_name() -> None:
    own = loader()
    for key in own.state_dict():
        state = own.state_dict()
        del state[key]
        with pytest.raises(ValueError, match=f"^this is not a DataLoader's state: it lacks {key}$"):
            own.load_state_dict(state)
    with pytest.raises(ValueError, match=r"it lacks epoch, samples_seen, dataset, batch_size, "):
        own.load_state_dict({})


NO_CUT = "samples_seen must be a multiple of the batch size 4 or the 22 images of the dataset"


@pytest.mark.parametrize(
    ("seen", "kind", "text"),
    [
        (-4, ValueError, "samples_seen must be at least 0, got -4"),
        (3, ValueError, f"{NO_CUT}, got 3"),
        (24, ValueError, f"{NO_CUT}, got 24"),
        (4.0, TypeError, "samples_seen must be an integer, got 4.0"),
        (None, TypeError, "samples_seen must be an integer, got None"),
    ],
)
def test_a_number_of_samples_that_no_epoch_passes_is_refused(
    seen: Any, kind: type[Exception], text: str
) -> None:
    own = loader()
    next(iter(own))
    with pytest.raises(kind) as caught:
        own.load_state_dict(own.state_dict() | {"samples_seen": seen})
    assert str(caught.value) == text
    assert stand(own) == (0, 4)
