"""A fit keeps its position in the batches, whatever batches its callbacks take."""

from itertools import islice

import pytest
import torch

from image_sets import random_set
from learners import BATCHES, figures, learner
from mnist_sgd import (
    Callback,
    CancelTrain,
    DataLoader,
    DataLoaders,
    Learner,
    first,
)
from mnist_sgd.training.callbacks.base import EVENTS
from values import same


class Looks(Callback):
    """Takes a batch of each loader at an event, and notes the training's position."""

    def __init__(self, event: str) -> None:
        self.seen: list[tuple[int, int]] = []
        setattr(self, event, self.look)

    def look(self, learn: Learner) -> None:
        for loader in (learn.dls.train, learn.dls.valid):
            first(loader)
        state = learn.train_place.state_dict()
        self.seen.append((state["epoch"], state["samples_seen"]))


@pytest.mark.parametrize("event", [event for event in EVENTS if event != "after_create"])
def test_a_fit_is_the_same_at_whatever_event_a_callback_takes_batches(event: str) -> None:
    plain, looking = learner(), learner()
    plain.fit(3, lr=0.1)
    looking.fit(3, lr=0.1, cbs=Looks(event))
    assert same(figures(looking), figures(plain))
    assert looking.recorder.measured == plain.recorder.measured


def test_the_position_is_that_of_the_training_after_other_batches_were_taken() -> None:
    looks, learn = Looks("after_loss"), learner()
    looks.run_valid = False
    learn.fit(2, lr=0.1, cbs=looks)
    assert looks.seen == [(epoch, min(4 * n, 22)) for epoch in (0, 1) for n in range(1, 7)]
    assert learn.train_place.samples_seen == 0
    assert learn.train_place.state_dict()["epoch"] == 2


def test_an_epoch_that_a_callback_sets_is_the_one_that_is_trained() -> None:
    class Again(Callback):
        """Trains with the order of epoch 0 in each epoch."""

        def before_epoch(self, learn: Learner) -> None:
            assert isinstance(learn.dls.train, DataLoader)
            learn.dls.train.set_epoch(0)

    class Order(Callback):
        run_valid = False

        def __init__(self) -> None:
            self.seen: list[torch.Tensor] = []

        def before_batch(self, learn: Learner) -> None:
            self.seen.append(learn.xb.clone())

    order = Order()
    learner().fit(2, lr=0.1, cbs=[Again(), order])
    assert same(order.seen[:BATCHES], order.seen[BATCHES:])


def test_the_position_follows_a_partial_epoch_of_a_callback() -> None:
    class Part(Callback):
        order = 1
        run_valid = False

        def __init__(self) -> None:
            self.seen: list[tuple[int, int]] = []

        def before_train(self, learn: Learner) -> None:
            learn.dl = islice(learn.dls.train, 2)

        def after_batch(self, learn: Learner) -> None:
            state = learn.train_place.state_dict()
            self.seen.append((state["epoch"], state["samples_seen"]))

    part = Part()
    learner().fit(2, lr=0.1, cbs=part)
    assert part.seen == [(0, 4), (0, 8), (1, 4), (1, 8)]


def test_a_loader_in_both_roles_has_the_position_of_the_training() -> None:
    class Cut(Callback):
        def before_batch(self, learn: Learner) -> None:
            if learn.training and learn.batch == 3:
                raise CancelTrain

    both = DataLoader(random_set(22), 4, shuffle=True, seed=5)
    learn = learner()
    learn.dls = DataLoaders(both, both)
    looks = Looks("after_epoch")
    learn.fit(2, lr=0.1, cbs=[Cut(), looks])
    assert looks.seen == [(0, 12), (1, 12)]


def test_batches_without_a_position_are_refused() -> None:
    learn = learner()
    learn.dls.train = list(learn.dls.train)
    learn.fit(1, lr=0.1)
    with pytest.raises(
        TypeError, match=r"^only the batches of a mnist_sgd.DataLoader have a place"
    ):
        _ = learn.train_place.samples_seen
