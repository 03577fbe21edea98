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
from torch import Tensor, nn

from disturbed_ranks import disagreements, disturbed, noted_on_empty_parts
from hooks import StopAfter
from image_sets import random_set
from mnist_sgd import (
    SGD,
    Callback,
    Checkpoint,
    CSVLogger,
    DataLoader,
    DataLoaders,
    DistributedContext,
    EarlyStopping,
    ImageSet,
    Learner,
    SaveBest,
    batch_accuracy,
    create_model,
    init_distributed,
    mnist_sample,
)
from mnist_sgd._state_file import dump
from networks import dropping

__all__ = ["EPOCHS", "MODELS", "jobs", "learner"]

EPOCHS = 5

MODELS = ("linear", "mlp", "cnn")


class PartlyUsed(nn.Module):
    """Has a layer that nothing uses, one that every second batch uses, and a number of batches."""

    batches: Tensor

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(784, 8), nn.Linear(8, 1)
        self.unused, self.sometimes = nn.Linear(8, 8), nn.Linear(8, 8)
        self.register_buffer("batches", torch.tensor(0))

    def forward(self, xb: Tensor) -> Tensor:
        hidden = self.first(xb).relu()
        if self.training:
            self.batches += 1
        if self.batches % 2 == 0:
            hidden = self.sometimes(hidden)
        logits: Tensor = self.last(hidden)
        return logits


class Unfreeze(Callback):
    """Trains the last layer alone in the first epoch, and all of them from the second on."""

    def before_train(self, learn: Learner) -> None:
        for name, p in learn.model.named_parameters():
            p.requires_grad = learn.epoch > 0 or name.startswith("last")


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


def learner(
    ranks: DistributedContext,
    sets: tuple[ImageSet, ImageSet],
    batch_size: int,
    model: str | nn.Module = "mlp",
) -> Learner:
    train, valid = (
        DataLoader(
            each, batch_size, shuffle=True, rank=ranks.rank, world_size=ranks.world_size, seed=3
        )
        for each in sets
    )
    return Learner(
        DataLoaders(train, valid),
        create_model(model, 0) if isinstance(model, str) else model,
        opt_func=partial(SGD, mom=0.5, wd=0.01),
        metrics=batch_accuracy,
        ranks=ranks,
    )


def report(learn: Learner, seen: Seen) -> dict[str, Any]:
    return {
        "weights": {name: t.clone() for name, t in learn.model.state_dict().items()},
        "values": learn.recorder.values,
        "losses": learn.recorder.losses,
        "batches": seen.batches,
        "validated": seen.validated,
    }


def sample(ranks: DistributedContext) -> dict[str, Any]:
    """Five epochs of the sample: the last of 49 batches has 108 images."""
    learn, seen = learner(ranks, mnist_sample(), 256, "linear"), Seen()
    learn.fit(EPOCHS, lr=0.5, cbs=seen)
    seen.batches.clear()  # 155 MB
    return report(learn, seen)


def lone_image(ranks: DistributedContext) -> dict[str, Any]:
    """Batches of 8, the last of one image, for training and for validation."""
    learn, seen = learner(ranks, (random_set(33), random_set(17)), 8), Seen()
    with learn.no_logging():
        learn.fit(3, lr=0.1, cbs=seen)
    return report(learn, seen)


CUT_SETS = random_set(45), random_set(17)  # 6 batches of 8


def cut(ranks: DistributedContext, checkpoint: Path) -> dict[str, Any]:
    """Stops after 9 batches; the last checkpoint is of the eighth, the second of its epoch."""
    learn, seen = learner(ranks, CUT_SETS, 8), Seen()
    with learn.no_logging():
        learn.fit(3, lr=0.1, cbs=[Checkpoint(checkpoint, every=4), StopAfter(9), seen])
    return report(learn, seen)


def resumed(ranks: DistributedContext, checkpoint: Path | None) -> dict[str, Any]:
    """Goes on where `cut` was cut; without a checkpoint it is the undisturbed fit."""
    learn, seen = learner(ranks, CUT_SETS, 8), Seen()
    with learn.no_logging():
        learn.fit(3, lr=0.1, cbs=seen, resume=checkpoint)
    return report(learn, seen)


def watched(ranks: DistributedContext, folder: Path) -> dict[str, Any]:
    """Looks for a rate, then makes one cycle up to it, with what watches it and writes."""
    learn, seen = learner(ranks, (random_set(45), random_set(17)), 8), Seen()
    history, best = (folder / f"{name}-{ranks.world_size}" for name in ("history", "best"))
    cbs = [CSVLogger(history), SaveBest(best, "batch_accuracy"), EarlyStopping(2), seen]
    found = learn.lr_find(1e-3, 1.0, num_it=40)
    with learn.no_logging():
        learn.fit_one_cycle(6, lr_max=found.valley, cbs=cbs)
    figures = {"lrs": learn.recorder.lrs, "kept": learn.kept_row, "found": found.valley}
    return report(learn, seen) | figures


def saved(ranks: DistributedContext, model: str, folder: Path) -> dict[str, Any]:
    """Trains a model and saves it, as a user would; the last batch has 5 images."""
    learn, seen = learner(ranks, CUT_SETS, 8, model), Seen()
    with learn.no_logging():
        learn.fit(2, lr=0.1, cbs=seen)
    if ranks.is_main_process:
        learn.save(folder / f"{model}-{ranks.world_size}.safetensors")
    last = report(learn, seen)
    with learn.no_logging():
        learn.fit(3, lr=1.0, cbs=[SaveBest(), EarlyStopping(1)])
    if ranks.is_main_process:
        learn.save(folder / f"{model}-{ranks.world_size}-best.safetensors")
    return last | {"best": learn.recorder.values[learn.kept_row], "kept": learn.kept_row}


def left_early(ranks: DistributedContext) -> dict[str, Any]:
    """The cnn, left in the middle of its second epoch."""
    learn, seen = learner(ranks, CUT_SETS, 8, "cnn"), Seen()
    with learn.no_logging():
        learn.fit(2, lr=0.1, cbs=[seen, StopAfter(9)])
    return report(learn, seen)


def partly_used(ranks: DistributedContext) -> dict[str, Any]:
    """A model of which not every batch uses every parameter, and not all are trained at first."""
    learn, seen = learner(ranks, (random_set(33), random_set(17)), 8, PartlyUsed()), Seen()
    with learn.no_logging():
        learn.fit(3, lr=0.1, cbs=[seen, Unfreeze()])
    return report(learn, seen)


def dropped(ranks: DistributedContext, checkpoint: Path) -> dict[str, Any]:
    """Trains a model with dropout, undisturbed, then with a cut, then from the checkpoint on."""
    done: dict[str, Any] = {}
    stop = [Checkpoint(checkpoint, every=4), StopAfter(9)]
    for name, cbs in (("whole", []), ("cut", stop), ("resumed", [])):
        torch.manual_seed(0)
        learn, seen = learner(ranks, CUT_SETS, 8, dropping()), Seen()
        torch.manual_seed((7 if name == "resumed" else 3) + ranks.rank)
        with learn.no_logging():
            learn.fit(3, lr=0.1, cbs=[*cbs, seen], resume=checkpoint if name == "resumed" else None)
        done[name] = report(learn, seen)
    return done


def refusals(ranks: DistributedContext, folder: Path) -> dict[str, str]:
    """What ranks that do not fit together are told, and what the first one alone finds out."""
    told = {}

    @contextmanager
    def telling(what: str) -> Iterator[None]:
        try:
            yield
        except (TypeError, ValueError, OSError) as error:
            told[what] = str(error)

    def fails() -> bytes:
        raise FileNotFoundError("the folder is not there")

    with telling("first"):
        ranks.run_on_main_process(fails if ranks.is_main_process else sys.exit)
    missing = folder / "none" / "c.safetensors"
    for what, cbs, resume in (("read", [], missing), ("write", [Checkpoint(missing)], None)):
        with telling(what):
            learn = learner(ranks, CUT_SETS, 8)
            with learn.no_logging():
                learn.fit(1, cbs=cbs, resume=resume)
    with telling("same"):
        ranks.check_same_on_all_ranks("seeds", "3" if ranks.is_main_process else "4")
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


def jobs(ranks: DistributedContext, checkpoint: Path) -> dict[str, Any]:
    """All that the test needs of a number of ranks."""
    done: dict[str, Any] = {"sample": sample(ranks), "lone image": lone_image(ranks)}
    done["watched"] = watched(ranks, checkpoint.parent)
    done["partly used"] = partly_used(ranks)
    done["left early"] = left_early(ranks)
    done["disturbed"] = disturbed(ranks, checkpoint.parent)
    done |= {model: saved(ranks, model, checkpoint.parent) for model in MODELS}
    if ranks.world_size == 3:
        done |= {"cut": cut(ranks, checkpoint), "refusals": refusals(ranks, checkpoint.parent)}
    if ranks.world_size == 2:
        done["resumed"] = resumed(ranks, checkpoint)
        done["dropped"] = dropped(ranks, checkpoint.with_name("dropped.safetensors"))
    if ranks.world_size == 1:
        done["undisturbed"] = resumed(ranks, None)
    if ranks.world_size > 1:
        done["disagreements"] = disagreements(ranks, checkpoint.parent)
        done["noted"] = noted_on_empty_parts(ranks)
    done["gathered"] = [list(each) for each in ranks.all_gather_bytes(bytes(range(ranks.rank)))]
    done["shared"] = (
        list(ranks.broadcast_bytes(bytes([1, 2, 3]) if ranks.is_main_process else b"")),
        list(ranks.broadcast_bytes(b"")),
        list(
            ranks.run_on_main_process(
                (lambda: bytes([1, 2, 3])) if ranks.is_main_process else sys.exit
            )
        ),
    )
    return done


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with init_distributed() as joined:
        content = dump(jobs(joined, folder / "checkpoint.safetensors"))
        (folder / f"rank-{joined.rank}").write_bytes(content)
