"""`mnist-sgd train`: the chapter's job, from the images to the files of a model."""

import argparse
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

from mnist_sgd.callbacks import Callback
from mnist_sgd.cli.arguments import (
    Subcommands,
    add_dataset_arguments,
    add_json_argument,
    load_datasets,
    positive_float,
    positive_int,
    subcommand,
)

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet
    from mnist_sgd.distributed import Ranks
    from mnist_sgd.learner import Learner

__all__ = ["add_parser", "run"]

RECIPES = {"linear": (10, 1.0), "mlp": (40, 0.1)}
"""Epochs and learning rate of each model in the chapter."""

AUGMENT: dict[str, Any] = {"degrees": 10, "translate": 0.05, "scale": (0.9, 1.1), "shear": 5}
"""What --augment does. Shifts of up to 0.1 serve the mlp as well, but harm the linear model."""

EXAMPLES = """\
  mnist-sgd train                                   the chapter's ten epochs of a linear model
  mnist-sgd train --epochs 20 --shuffle --seed 3
  mnist-sgd train --model mlp --out runs/mlp        its network, 40 epochs at 0.1
  mnist-sgd train --model mlp --epochs 200 --lr 1 --shuffle --augment
  mnist-sgd train --dataset FashionMNIST --classes Sneaker 'Ankle boot' --download
  mnist-sgd train --checkpoint-every 50 --resume    begins, or goes on where it was cut off
  torchrun --nproc-per-node 2 -m mnist_sgd train    the same in two processes
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "train a model; leaves model.onnx and its weights, model.safetensors"
    parser = subcommand(commands, "train", summary, EXAMPLES, run)
    parser.add_argument(
        "--model", choices=tuple(RECIPES), default="linear", help="(default: %(default)s)"
    )
    recipes = ", ".join(f"{n} for {name}" for name, (n, _) in RECIPES.items())
    parser.add_argument("--epochs", type=positive_int, help=f"(default: {recipes})")
    recipes = ", ".join(f"{lr:g} for {name}" for name, (_, lr) in RECIPES.items())
    parser.add_argument("--lr", type=positive_float, help=f"learning rate (default: {recipes})")
    parser.add_argument(
        "--batch-size", type=positive_int, default=256, help="(default: %(default)s)"
    )
    parser.add_argument(
        "--shuffle", action="store_true", help="a new order each epoch (default: that of the files)"
    )
    parser.add_argument("--augment", action="store_true", help=_augment_help())
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the weights, the order and the augmentation (default: %(default)s)",
    )
    parser.add_argument(
        "--threads", type=positive_int, default=1, help="that fill batches (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path(), help="the folder for the files (default: here)"
    )
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="of the model; with torchrun each process takes a GPU of its own "
        "(default: %(default)s)",
    )
    checkpoints = parser.add_argument_group("checkpoints")
    checkpoints.add_argument(
        "--checkpoint-every",
        type=positive_int,
        metavar="N",
        help="write OUT/checkpoint.safetensors after every N batches and after each epoch "
        "(default: never)",
    )
    checkpoints.add_argument(
        "--resume",
        action="store_true",
        help="go on from OUT/checkpoint.safetensors if it is there, else begin; without "
        "--checkpoint-every it is written after each epoch",
    )
    add_dataset_arguments(parser)
    add_json_argument(parser)


def _augment_help() -> str:
    low, high = AUGMENT["scale"]
    return (
        f"turn each training image at random by up to {AUGMENT['degrees']} degrees, shift it by up "
        f"to {AUGMENT['translate']:.0%}% of its side, scale it by {low} to {high} and shear it by "
        f"up to {AUGMENT['shear']} degrees (default: leave it as it is)"
    )


def run(args: argparse.Namespace) -> int:
    """Train, save, export; every file is checked before it takes its name."""
    datasets = load_datasets(args)

    from mnist_sgd.distributed import joined_ranks

    with _leaving_on_sigterm(), joined_ranks(args.device) as ranks:
        learn = _learner(args, datasets, ranks)
        if ranks.is_first:
            args.out.mkdir(parents=True, exist_ok=True)
        if args.json:
            learn.logger = lambda line: None
        _fit(args, learn)
        if ranks.is_first:
            _write(args, learn)
    return 0


@contextmanager
def _leaving_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the command as an exception does, so that no half-written file stays."""

    def leave(number: int, frame: object) -> Never:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _learner(
    args: argparse.Namespace, datasets: tuple["ImageSet", "ImageSet"], ranks: "Ranks"
) -> "Learner":
    from mnist_sgd import (
        Augmentation,
        DataLoader,
        DataLoaders,
        Learner,
        batch_accuracy,
        create_model,
    )

    train, valid = datasets
    augment = Augmentation(**AUGMENT) if args.augment else None
    share = {"rank": ranks.rank, "world_size": ranks.world_size, "num_threads": args.threads}
    dls = DataLoaders(
        DataLoader(train, args.batch_size, args.shuffle, seed=args.seed, augment=augment, **share),
        DataLoader(valid, args.batch_size, **share),
    )
    options = [args.model, args.epochs, args.lr, args.batch_size, args.shuffle, args.seed]
    options += [
        args.augment,
        args.checkpoint_every,
        args.resume,
        train.fingerprint(),
        valid.fingerprint(),
    ]
    ranks.require_same("arguments and data", repr(options))
    model = create_model(args.model, seed=args.seed)
    return Learner(dls, model, metrics=batch_accuracy, ranks=ranks)


def _fit(args: argparse.Namespace, learn: "Learner") -> None:
    """Train from the first batch, or from where a checkpoint was taken."""
    from mnist_sgd.checkpoint import Checkpoint

    epochs, lr = RECIPES[args.model]
    path = args.out / "checkpoint.safetensors"
    cbs: list[Callback] = []
    if args.checkpoint_every or args.resume:
        cbs = [Checkpoint(path, args.checkpoint_every)]
    there = args.resume and learn.ranks.from_first(b"yes" if path.is_file() else b"") == b"yes"
    if args.resume and learn.ranks.is_first:
        cbs.insert(0, _Announcement(path if there else None))
    learn.fit(args.epochs or epochs, lr=args.lr or lr, cbs=cbs, resume=path if there else None)


class _Announcement(Callback):
    """Says on standard error from where a training goes on."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def before_fit(self, learn: "Learner") -> None:
        if self.path is None:
            text = "there is no checkpoint yet; the training begins"
        elif learn.epoch == learn.n_epoch:
            text = f"{self.path}: the training is finished"
        else:
            batches = len(learn.recorder.lrs) - [0, *learn.recorder.iters][-1]
            text = f"{self.path}: going on in epoch {learn.epoch} after {batches} batches"
        print(f"mnist-sgd: {text}", file=sys.stderr, flush=True)


def _write(args: argparse.Namespace, learn: "Learner") -> None:
    """Leave the files of the trained model, and say what they are."""
    learn.model.cpu()
    weights, artefact = args.out / "model.safetensors", args.out / "model.onnx"
    learn.save(weights)
    report = learn.export(artefact)
    if args.json:
        print(json.dumps(_history(learn) | {"weights": str(weights), "artefact": str(artefact)}))
        return
    print()
    print(f"{weights}: the weights, {weights.stat().st_size:,} bytes")
    print(
        f"{artefact}: the model, {report.size:,} bytes; answers {report.images:,} validation "
        f"images as torch does, to {report.max_difference:.0e}"
    )
    print(f"next: mnist-sgd predict --model {artefact} IMAGE...")


def _history(learn: "Learner") -> dict[str, Any]:
    names = learn.recorder.metric_names[1:-1]
    return {"epochs": [dict(zip(names, row, strict=True)) for row in learn.recorder.values]}
