"""`mnist-sgd train`: the chapter's job, from the images to the files of a model."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    learn = _learner(args)
    epochs, lr = RECIPES[args.model]
    args.out.mkdir(parents=True, exist_ok=True)
    if args.json:
        learn.logger = lambda line: None
    learn.fit(args.epochs or epochs, lr=args.lr or lr)
    weights, artefact = args.out / "model.safetensors", args.out / "model.onnx"
    learn.save(weights)
    report = learn.export(artefact)
    if args.json:
        print(json.dumps(_history(learn) | {"weights": str(weights), "artefact": str(artefact)}))
        return 0
    print()
    print(f"{weights}: the weights, {weights.stat().st_size:,} bytes")
    print(
        f"{artefact}: the model, {report.size:,} bytes; answers {report.images:,} validation "
        f"images as torch does, to {report.max_difference:.0e}"
    )
    print(f"next: mnist-sgd predict --model {artefact} IMAGE...")
    return 0


def _learner(args: argparse.Namespace) -> "Learner":
    from mnist_sgd import (
        Augmentation,
        DataLoader,
        DataLoaders,
        Learner,
        batch_accuracy,
        create_model,
    )

    train, valid = load_datasets(args)
    dls = DataLoaders(
        DataLoader(
            train,
            args.batch_size,
            args.shuffle,
            seed=args.seed,
            num_threads=args.threads,
            augment=Augmentation(**AUGMENT) if args.augment else None,
        ),
        DataLoader(valid, args.batch_size, num_threads=args.threads),
    )
    return Learner(dls, create_model(args.model, seed=args.seed), metrics=batch_accuracy)


def _history(learn: "Learner") -> dict[str, Any]:
    names = learn.recorder.metric_names[1:-1]
    return {"epochs": [dict(zip(names, row, strict=True)) for row in learn.recorder.values]}
