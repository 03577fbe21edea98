"""An identity changes with an object's content, and is the same in every process where possible."""

import json
import subprocess
from functools import partial
from sys import executable
from typing import Any

import torch
from torch import Tensor, nn

from mnist_sgd import cross_entropy, mnist_loss
from mnist_sgd.training.identity import identity

DESCRIBED = """
import json
from functools import partial
import torch
from torch import nn
from mnist_sgd import mnist_loss
from mnist_sgd.training.identity import identity

def weighted(factor):
    return lambda p, y, names={"b", "a", "c"}: mnist_loss(p, y) * factor

described = [
    mnist_loss,
    partial(mnist_loss, factor=2),
    weighted(2.0),
    weighted(3.0),
    nn.BCEWithLogitsLoss(),
    nn.BCEWithLogitsLoss(reduction="sum"),
    nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0])),
    [(torch.ones(2, 3), torch.zeros(2, 1))],
    [(torch.ones(2, 3), torch.ones(2, 1))],
    [(torch.ones(3, 2), torch.zeros(2, 1))],
    torch.float32,
    {"a": 1},
    {"a": 2},
]
print(json.dumps([identity(each) for each in described]))
"""


def test_objects_of_known_content_have_the_same_identity_in_every_process() -> None:
    given = [
        json.loads(
            subprocess.run(
                [executable, "-c", DESCRIBED],
                env={"PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for seed in ("1", "2")
    ]
    assert given[0] == given[1]
    assert len(set(given[0])) == len(given[0])
    assert given[0][0] == identity(mnist_loss)
    assert given[0][4] == identity(nn.BCEWithLogitsLoss())


class Loader:
    """Its content is not known."""

    __slots__ = ("__weakref__", "batches")


class Unknown:
    """It takes no weak reference, so a later object at the same address looks the same."""

    __slots__ = ()


def test_objects_of_unknown_content_have_different_identities() -> None:
    one, other = Loader(), Loader()
    assert identity(one) == identity(one) != identity(other)
    assert identity([one, 1]) == identity([one, 1]) != identity([other, 1])
    assert identity(Unknown()) != identity(Unknown())
    found = {identity(Loader()) for _ in range(100)}  # one after the other, at the same address
    assert len(found) == 100


def test_a_change_in_place_changes_the_identity() -> None:
    large, small, loss = torch.zeros(100, 100), torch.zeros(3), nn.BCEWithLogitsLoss()
    things: list[Any] = [large, small, loss]
    before = [identity(each) for each in things]
    assert [identity(each) for each in things] == before
    loss.eval()  # does not change what the loss computes
    assert identity(loss) == before[2]
    large[3, 4] = 1
    small[1] = 1
    loss.reduction = "sum"
    assert not {identity(each) for each in things} & set(before)


def test_a_function_that_calls_itself_has_an_identity() -> None:
    def loss(predictions: Tensor, targets: Tensor, again: bool = True) -> Tensor:
        return loss(predictions, targets, False) if again else mnist_loss(predictions, targets)

    assert identity(loss) == identity(loss) != identity(partial(loss, again=False))


def test_a_subclass_of_list_is_identified_as_an_object() -> None:
    class Shuffled(list[Any]):
        """May yield other content than it holds."""

    one = Shuffled([1])
    assert identity(one) == identity(one) != identity(Shuffled([1]))


def test_the_packages_losses_have_the_fingerprints_that_earlier_checkpoints_hold() -> None:
    """They depend neither on docstrings nor on where the functions lie."""
    assert identity(mnist_loss) == "d049557e6f16263792380084c2ad7220"
    assert identity(cross_entropy) == "5fbef9c5cdc62c0b231d7ff9b09a74be"
    parts = [partial(mnist_loss), partial(cross_entropy), mnist_loss]
    assert len({identity(each) for each in parts}) == 3
