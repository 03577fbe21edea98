"""`mnist-sgd predict`: a label and a probability for each image, without torch."""

import argparse
import glob
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mnist_sgd.cli.arguments import Subcommands, add_json_argument, subcommand

__all__ = ["add_parser", "image_files", "run"]

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}

EXAMPLES = """\
  mnist-sgd predict three.png photo.jpg
  mnist-sgd predict scans/ --model runs/mlp/model.onnx      every image in the folder
  mnist-sgd predict 'scans/**/*.png' --json                 a JSON object a line

P(3) is the probability of the class 3; above the model's threshold that is the label.
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "classify image files: PNG, JPEG, BMP, GIF, WebP, TIFF, of any size"
    parser = subcommand(commands, "predict", summary, EXAMPLES, run)
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="a file, a folder or a pattern such as '*.png'"
    )
    parser.add_argument(
        "--model", type=Path, default=Path("model.onnx"), help="(default: %(default)s)"
    )
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print a line an image; an unusable image is named on standard error, and the rest go on."""
    from mnist_sgd_serve import ImageError, Predictor

    paths = list(image_files(args.images))
    predictor = Predictor(args.model)
    width = max(map(len, paths))
    code = 0
    for path in paths:
        try:
            prediction = predictor.predict(path)
        except (ImageError, OSError) as error:
            text = error if isinstance(error, ImageError) else f"{path}: {error.strerror}"
            print(f"mnist-sgd: {text}", file=sys.stderr)
            code = 2
            continue
        if args.json:
            print(json.dumps({"file": path} | prediction.as_dict()))
        else:
            positive = predictor.metadata.positive
            print(f"{path:{width}}  {prediction.label}  P({positive})={prediction.probability:.4f}")
    return code


def image_files(arguments: Sequence[str]) -> Iterator[str]:
    """The files that the arguments name, folders searched and patterns expanded, in order.

    Raises:
        ValueError: an argument names nothing, or a folder holds no image.
    """
    for argument in arguments:
        if os.path.isdir(argument):
            found = sorted(
                os.path.join(folder, name)
                for folder, _, names in os.walk(argument)
                for name in names
                if os.path.splitext(name)[1].lower() in SUFFIXES
            )
            if not found:
                raise ValueError(f"{argument}: the folder holds no {', '.join(sorted(SUFFIXES))}")
        elif os.path.exists(argument) or not glob.has_magic(argument):
            found = [argument]
        else:
            found = sorted(glob.glob(argument, recursive=True))
            if not found:
                raise ValueError(f"{argument}: no file matches the pattern")
        yield from found
