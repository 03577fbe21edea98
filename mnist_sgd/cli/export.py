"""`mnist-sgd export`: weights to files that other programs run."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from mnist_sgd.cli.arguments import Subcommands, add_json_argument, share, subcommand
from mnist_sgd.cli.datasets import add_dataset_arguments, load_datasets
from mnist_sgd.cli.model_files import weights_file

__all__ = ["add_parser", "run"]

EXAMPLES = """\
  mnist-sgd export model.safetensors model.onnx
  mnist-sgd export model.safetensors model.pt model.pt2     TorchScript and torch.export
  mnist-sgd export model.safetensors model.onnx --model nets:small
  mnist-sgd export model.safetensors model.pt --threshold 0.8
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "write weights as .onnx, .pt (TorchScript) or .pt2 (torch.export)"
    parser = subcommand(commands, "export", summary, EXAMPLES, run)
    parser.add_argument(
        "weights", type=Path, help="a .safetensors file that train left, or the folder of a run"
    )
    parser.add_argument(
        "outputs", type=Path, nargs="+", metavar="OUTPUT", help="its suffix names the format"
    )
    parser.add_argument(
        "--threshold",
        type=share,
        metavar="T",
        help="the probability above which an image is called the positive class; evaluate finds "
        "one for a wanted precision or recall (default: that of the weights' file, 0.5)",
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="the package.module:factory that made the model, whose code is run; of linear, mlp "
        "and cnn the weights' file has the name",
    )
    add_dataset_arguments(parser, trained=True)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Export, once each file's answers on the validation images are the model's."""
    from mnist_sgd.export import export_model
    from mnist_sgd.models import create_model
    from mnist_sgd.weights import load_weights, read_weights

    args.weights = weights_file(args.weights)
    metadata = read_weights(args.weights)[1]
    if args.threshold is not None:
        metadata = replace(metadata, threshold=args.threshold)
    model = create_model(args.model or _trusted(metadata.model, args.weights), seed=0)
    load_weights(model, args.weights)
    images = load_datasets(args, metadata)[1].images
    reports = [
        export_model(model, output, metadata=metadata, images=images) for output in args.outputs
    ]
    for report in reports:
        facts = {
            "path": str(report.path),
            "bytes": report.size,
            "images": report.images,
            "max_difference": report.max_difference,
        }
        print(
            json.dumps(facts)
            if args.json
            else f"{report.path}: {report.size:,} bytes; answers {report.images:,} validation "
            f"images as torch does, to {report.max_difference:.0e}"
        )
    return 0


def _trusted(model: str, weights: Path) -> str:
    """The name that a file gives its model, unless it is one of code to run.

    Raises:
        ValueError: it is.
    """
    if ":" in model:
        raise ValueError(
            f"{weights} is of a model that {model} makes; its code is run if you name it with "
            f"--model {model}"
        )
    return model
