"""What one rank, or a single process, trains for test_distributed.py, and what it saw of it.

As a program, under torchrun, it leaves `rank-N` in the folder that it is given.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from image_sets import random_set
from mnist_sgd import (
    SGD,
    Callback,
    CancelFit,
    Checkpoint,
    CSVLogger,
    DataLoader,
    DataLoaders,
    EarlyStopping,
    ImageSet,
    Learner,
    Ranks,
    SaveBest,
    batch_accuracy,
    create_model,
    joined_ranks,
    mnist_sample,
)
from mnist_sgd._document import dump

__all__ = ["EPOCHS", "jobs"]

EPOCHS = 5


class Seen(Callback):
    """Keeps the training batches, and counts the validation images of each epoch."""

    def __init__(self) -> None:
        self.batches: list[list[Tensor]] = []
        self.validated: list[int] = []

    def before_batch(self, learn: Learner) -> None:
        if learn.training:
            self.batches.append([learn.xb.clone(), learn.yb.clone()])
        else:
            self.validated[-1] += len(learn.yb)

    def before_validate(self, learn: Learner) -> None:
        self.validated.append(0)


class StopAfter(Callback):
    """Ends the fit after so many training batches, on every rank alike."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def after_batch(self, learn: Learner) -> None:
        if learn.training and len(learn.recorder.lrs) == self.batches:
            raise CancelFit


def learner(
    ranks: Ranks, sets: tuple[ImageSet, ImageSet], batch_size: int, model: str = "mlp"
) -> Learner:
    train, valid = (
        DataLoader(
            each, batch_size, shuffle=True, rank=ranks.rank, world_size=ranks.world_size, seed=3
        )
        for each in sets
    )
    return Learner(
        DataLoaders(train, valid),
        create_model(model, 0),
        opt_func=partial(SGD, mom=0.5),
        metrics=batch_accuracy,
        ranks=ranks,
    )


def report(learn: Learner, seen: Seen) -> dict[str, Any]:
    return {
        "weights": dict(learn.model.state_dict()),
        "values": learn.recorder.values,
        "losses": learn.recorder.losses,
        "batches": seen.batches,
        "validated": seen.validated,
    }


def sample(ranks: Ranks) -> dict[str, Any]:
    """Five epochs of the sample: the last of 49 batches has 108 images."""
    learn, seen = learner(ranks, mnist_sample(), 256, "linear"), Seen()
    learn.fit(EPOCHS, lr=0.5, cbs=seen)
    seen.batches.clear()  # 155 MB
    return report(learn, seen)


def lone_image(ranks: Ranks) -> dict[str, Any]:
    """Batches of 8, the last of one image, for training and for validation."""
    learn, seen = learner(ranks, (random_set(33), random_set(17)), 8), Seen()
    with learn.no_logging():
        learn.fit(3, lr=0.1, cbs=seen)
    return report(learn, seen)


CUT_SETS = random_set(45), random_set(17)  # 6 batches of 8


def cut(ranks: Ranks, checkpoint: Path) -> dict[str, Any]:
    """Stops after 9 batches; the last checkpoint is of the eighth, the second of its epoch."""
    learn, seen = learner(ranks, CUT_SETS, 8), Seen()
    with learn.no_logging():
        learn.fit(3, lr=0.1, cbs=[Checkpoint(checkpoint, every=4), StopAfter(9), seen])
    return report(learn, seen)


def resumed(ranks: Ranks, checkpoint: Path | None) -> dict[str, Any]:
    """Goes on where `cut` was cut; without a checkpoint it is the undisturbed fit."""
    learn, seen = learner(ranks, CUT_SETS, 8), Seen()
    with learn.no_logging():
        learn.fit(3, lr=0.1, cbs=seen, resume=checkpoint)
    return report(learn, seen)


def watched(ranks: Ranks, folder: Path) -> dict[str, Any]:
    """Looks for a rate, then makes one cycle up to it, with what watches it and writes."""
    learn, seen = learner(ranks, (random_set(45), random_set(17)), 8), Seen()
    history, best = (folder / f"{name}-{ranks.world_size}" for name in ("history", "best"))
    cbs = [CSVLogger(history), SaveBest(best, "batch_accuracy"), EarlyStopping(2), seen]
    found = learn.lr_find(1e-3, 1.0, num_it=40)
    with learn.no_logging():
        learn.fit_one_cycle(6, lr_max=found.valley, cbs=cbs)
    figures = {"lrs": learn.recorder.lrs, "kept": learn.kept_row, "found": found.valley}
    return report(learn, seen) | figures


def refusals(ranks: Ranks) -> dict[str, str]:
    """What ranks that do not fit together are told."""
    told = {}

    @contextmanager
    def telling(what: str) -> Iterator[None]:
        try:
            yield
        except (TypeError, ValueError) as error:
            told[what] = str(error)

    with telling("same"):
        ranks.require_same("seeds", "3" if ranks.is_first else "4")
    with telling("uncut"):
        uncut = DataLoader(random_set(8), 4)
        learn = Learner(DataLoaders(uncut, uncut), create_model("linear", 0), ranks=ranks)
        with learn.no_logging():
            learn.fit(1)
    with telling("foreign"):
        foreign = [(torch.rand(4, 784), torch.ones(4, 1))]
        learn = Learner(DataLoaders(foreign, foreign), create_model("linear", 0), ranks=ranks)
        with learn.no_logging():
            learn.fit(1)
    return told


def jobs(ranks: Ranks, checkpoint: Path) -> dict[str, Any]:
    """All that the test needs of a number of ranks."""
    done: dict[str, Any] = {"sample": sample(ranks), "lone image": lone_image(ranks)}
    done["watched"] = watched(ranks, checkpoint.parent)
    if ranks.world_size == 3:
        done |= {"cut": cut(ranks, checkpoint), "refusals": refusals(ranks)}
    if ranks.world_size == 2:
        done["resumed"] = resumed(ranks, checkpoint)
    if ranks.world_size == 1:
        done["undisturbed"] = resumed(ranks, None)
    done["shared"] = (
        list(ranks.from_first(bytes([1, 2, 3]) if ranks.is_first else b"")),
        list(ranks.from_first(b"")),
    )
    return done


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with joined_ranks() as joined:
        content = dump(jobs(joined, folder / "checkpoint.safetensors"))
        (folder / f"rank-{joined.rank}").write_bytes(content)
