"""`mnist-sgd evaluate`: how an artefact does on labelled images, without torch."""

import argparse
import json
from pathlib import Path

from mnist_sgd.cli.arguments import (
    Subcommands,
    add_dataset_arguments,
    add_json_argument,
    load_datasets,
    subcommand,
)

__all__ = ["add_parser", "run"]

EXAMPLES = """\
  mnist-sgd evaluate                                model.onnx on the sample's validation images
  mnist-sgd evaluate boots.onnx --dataset FashionMNIST --classes Sneaker 'Ankle boot'
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "measure a model on validation images: accuracy, and which class is mistaken"
    parser = subcommand(commands, "evaluate", summary, EXAMPLES, run)
    parser.add_argument(
        "model", type=Path, nargs="?", default=Path("model.onnx"), help="(default: %(default)s)"
    )
    add_dataset_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the accuracy and the confusion matrix."""
    import numpy as np

    from mnist_sgd_serve import Predictor

    predictor = Predictor(args.model)
    metadata = predictor.metadata
    valid = load_datasets(args)[1]
    if valid.classes != metadata.classes:
        raise ValueError(
            f"{args.model} knows the classes {' and '.join(metadata.classes)}, the data has "
            f"{' and '.join(valid.classes)}; name the model's with --dataset and --classes"
        )
    called = predictor.probabilities(valid.images) > metadata.threshold
    counts = [
        [int(np.sum((valid.labels == label) & (called == answer))) for answer in (0, 1)]
        for label in (0, 1)
    ]
    right = counts[0][0] + counts[1][1]
    if args.json:
        facts = {
            "accuracy": right / len(valid),
            "images": len(valid),
            "classes": list(valid.classes),
            "threshold": metadata.threshold,
            "confusion": counts,
        }
        print(json.dumps(facts))
        return 0
    print(f"{args.model}: {right:,} of {len(valid):,} right, accuracy {right / len(valid):.4f}")
    width = max(8, *(len(name) + 7 for name in valid.classes))
    print(" " * width + "".join(f"{'called ' + name:>{width + 2}}" for name in valid.classes))
    for name, row in zip(valid.classes, counts, strict=True):
        print(f"{'is ' + name:<{width}}" + "".join(f"{count:>{width + 2},}" for count in row))
    return 0
