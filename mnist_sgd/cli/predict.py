"""`mnist-sgd predict`: print a label and its probability for each image, without torch."""

import argparse
import glob
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_sgd._names import printable
from mnist_sgd.cli.options.arguments import Subcommands, add_json_option, path, subcommand
from mnist_sgd.cli.options.models import DEFAULT, MODEL_HELP, model_file
from mnist_sgd.data.pictures.file_entries import find_pictures
from mnist_sgd.data.pictures.outputs import is_output
from mnist_sgd.report.folder import ARTIFACT

if TYPE_CHECKING:
    from mnist_sgd_serve import Prediction, Predictor

STANDARD_INPUT = "-"

EXAMPLES = """\
  mnist-sgd predict three.png photo.jpg
  mnist-sgd predict scans/ --model runs/mlp      all files in the folder and its subfolders
  mnist-sgd predict 'scans/**/*.png' --json      one JSON object per line
  curl https://example.org/three.png | mnist-sgd predict -

Each line has the file, the label and its probability. If the model's threshold is not 0.5, the
label may be the less probable one. --json has the probability of each class; its "probability" is
that of the class in "positive".
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "classify image files: PNG, JPEG, BMP, GIF, WebP, TIFF, of any size"
    parser = subcommand(commands, "predict", summary, EXAMPLES, run)
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="a file, a folder, a pattern such as '*.png', or - for standard input",
    )
    model = parser.add_argument_group("model")
    model.add_argument("--model", type=path, default=DEFAULT, metavar="MODEL", help=MODEL_HELP)
    add_json_option(parser.add_argument_group("output"))


def run(args: argparse.Namespace) -> int:
    """Print a line for each image; name unusable ones on standard error and continue."""
    from mnist_sgd_serve import ImageError, Predictor

    problems: list[str] = []
    images = list(image_files(args.images, problems.append))
    _check_no_other_model(args)
    predictor = Predictor(model_file(args.model, "--model {}"))
    for problem in problems:
        print(f"mnist-sgd: {printable(problem)}", file=sys.stderr)
    width = max((len(printable(image)) for image in images), default=0)
    code = 2 if problems else 0
    for image in images:
        try:
            prediction = _prediction(predictor, image)
        except (ImageError, OSError) as error:
            text = error if isinstance(error, ImageError) else f"{image}: {error.strerror or error}"
            print(f"mnist-sgd: {printable(str(text))}", file=sys.stderr)
            code = 2
            continue
        if args.json:
            print(json.dumps({"file": image} | prediction.as_dict()))
        else:
            label, confidence = printable(prediction.label), percent(prediction.confidence)
            print(f"{printable(image):{width}}  {label}  {confidence}")
    return code


def percent(confidence: float) -> str:
    """A percentage with one decimal, near either end up to four.

    Only exactly 1 is shown as 100.0 %, and only exactly 0 as 0.0 %.
    """
    if confidence in (0, 1):
        return f"{100 * confidence:.1f} %"
    value = min(max(100 * confidence, 0.0001), 99.9999)
    texts = (f"{value:.{places}f}" for places in range(1, 5))
    return next(text for text in texts if 0 < float(text) < 100) + " %"


def _check_no_other_model(args: argparse.Namespace) -> None:
    """Refuse a model among the images.

    Raises:
        ValueError: there is one; the message says how to name a model.
    """
    others = [name for name in args.images if name.lower().endswith(".onnx")]
    for other in others:
        if not _is_same_file(other, args.model):
            raise ValueError(f"{other} is a model, not an image; name it as --model {other}")
    if len(others) == len(args.images):
        raise ValueError(f"no image is named: mnist-sgd predict IMAGE... --model {others[0]}")


def _is_same_file(one: str, other: Path) -> bool:
    try:
        return os.path.samefile(one, other / ARTIFACT if other.is_dir() else other)
    except OSError:
        return False


def _prediction(predictor: "Predictor", image: str) -> "Prediction":
    """Classify an image.

    Raises:
        ImageError: it gives no answer; the message names it.
        OSError: it cannot be read.
    """
    from mnist_sgd_serve import ImageError
    from mnist_sgd_serve.images.decode import OWN_BYTES, decode_own

    if image != STANDARD_INPUT:
        return predictor.predict(image)
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise ImageError("standard input is closed")
    try:
        return predictor.predict(decode_own(stream.read(OWN_BYTES + 1)))
    except ImageError as error:
        raise type(error)(f"standard input: {error}") from error


def image_files(arguments: Sequence[str], on_problem: Callable[[str], None]) -> Iterator[str]:
    """List the files of the arguments in order: searches folders and expands patterns.

    Args:
        arguments: files, folders, patterns, or - for standard input.
        on_problem: called with a sentence about each name in a folder that cannot be a picture.

    Raises:
        ValueError: an argument is empty or matches nothing, a folder cannot be read or has no
            picture, or standard input is named twice.
    """
    if arguments.count(STANDARD_INPUT) > 1:
        raise ValueError("- is standard input, which can be read only once")
    for argument in arguments:
        if not argument:
            raise ValueError("IMAGE must name a file, a folder or a pattern, got ''")
        if argument == STANDARD_INPUT:
            found = [argument]
        elif os.path.isdir(argument):
            found = _in_folder(argument, on_problem)
        elif os.path.exists(argument) or not glob.has_magic(argument):
            found = [argument]
        else:
            found = sorted(glob.glob(argument, recursive=True))
            if not found:
                raise ValueError(f"{argument}: no file matches the pattern")
        yield from found


def _in_folder(folder: str, on_problem: Callable[[str], None]) -> list[str]:
    try:
        found = [] if is_output(folder) else find_pictures(folder)
    except OSError as error:
        raise ValueError(f"{folder} cannot be read: {error.strerror}") from error
    if not found:
        model = f"; to use its model, give --model {folder}"
        hint = model if os.path.isfile(os.path.join(folder, ARTIFACT)) else ""
        raise ValueError(f"{folder}: the folder has no pictures{hint}")
    for each in found:
        if each.problem:
            on_problem(f"{os.path.join(folder, each.name)}: {each.problem}")
    return [os.path.join(folder, each.name) for each in found if not each.problem]
