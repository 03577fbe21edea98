"""`mnist-sgd export`: write weights as files that other programs run."""

import argparse
import json
import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_sgd.cli.options.arguments import Subcommands, add_json_option, fraction, path, subcommand
from mnist_sgd.cli.options.datasets import DataConfig, add_data_options, load_datasets
from mnist_sgd.cli.options.models import architecture, weights_file
from mnist_sgd.cli.options.outputs import (
    check_not_a_runs_file,
    check_place,
    check_replaced,
    writable_file,
)
from mnist_sgd.cli.options.run_data import data_of
from mnist_sgd.cli.program import program
from mnist_sgd.cli.terminal import say
from mnist_sgd.report.folder import ARTIFACT, UNEXPORTED, WEIGHTS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from mnist_sgd.data import ImageSet
    from mnist_sgd.export.exporter import Check
    from mnist_sgd.models.weights import WeightsFile
    from mnist_sgd_serve import Metadata

ACCURACY_TOLERANCE = 2e-3
"""The largest difference in accuracy between a file and its weights, measured on another device."""

SUFFIXES = (".onnx", ".pt", ".pt2")

_ANOTHER = "choose another name, or replace it with --overwrite"

USAGE = "%(prog)s WEIGHTS OUTPUT... [--model NAME] [--threshold T] [--overwrite] [OPTION]..."

EXAMPLES = """\
  mnist-sgd export model.safetensors model.onnx
  mnist-sgd export model.safetensors model.pt model.pt2     TorchScript and torch.export
  mnist-sgd export model.safetensors model.onnx --model nets:small
  mnist-sgd export model.safetensors model.pt --threshold 0.8
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "write weights as .onnx, .pt (TorchScript) or .pt2 (torch.export)"
    parser = subcommand(commands, "export", summary, EXAMPLES, run, USAGE)
    parser.add_argument(
        "weights",
        type=path,
        metavar="WEIGHTS",
        help="a .safetensors file that train wrote, or the folder of a run",
    )
    parser.add_argument(
        "outputs",
        type=path,
        nargs="+",
        metavar="OUTPUT",
        help="a file; its suffix selects the format",
    )
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        type=architecture,
        metavar="NAME",
        help="the package.module:factory of a custom model, whose code is run; the weights file "
        "names a built-in one",
    )
    model.add_argument(
        "--threshold",
        type=fraction,
        metavar="T",
        help="the probability above which an image is of the positive class; evaluate finds one "
        "for a target precision or recall (default: that of the weights file, 0.5)",
    )
    add_data_options(parser).description = "images on which each file is compared with the model"
    output = parser.add_argument_group("output")
    output.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a model of other classes, or a file that is no model (default: refuse to)",
    )
    add_json_option(output)


def run(args: argparse.Namespace) -> int:
    """Export, after a check that each file answers as the model does on the validation images."""
    _check_places(args.outputs)
    from mnist_sgd.export import export_model
    from mnist_sgd.models.weights import open_weights

    args.weights = weights_file(args.weights)
    for output in args.outputs:
        if not _is_own_run(args.weights, output):
            check_not_a_runs_file(output, "the output")
    file = open_weights(args.weights)
    metadata = file.metadata
    if not args.overwrite:
        check_replaced(args.outputs, metadata.classes, "export", _ANOTHER)
    model = _model(args, file)
    valid = _images_to_compare(args, metadata)
    if args.threshold is not None:
        metadata = replace(metadata, threshold=args.threshold)
    reports = [
        export_model(
            model,
            output,
            metadata=metadata,
            images=valid.images,
            input_shape=file.input_shape,
            check=_accuracy_check(file, valid),
        )
        for output in args.outputs
    ]
    own = metadata.classes == valid.classes and (not metadata.data or valid.name in metadata.data)
    images = "validation images" if own else f"images of {valid.name}"
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
            else f"{report.path}: {report.size:,} bytes; same answers as PyTorch on "
            f"{report.images:,} {images} (largest difference {report.max_difference:.0e})"
        )
    served = next((output for output in args.outputs if output.suffix == ".onnx"), None)
    if served is not None and not args.json:
        print(f"next: {program()} serve {shlex.quote(str(served))}")
    return 0


def _images_to_compare(args: argparse.Namespace, metadata: "Metadata") -> "ImageSet":
    """The validation images that the arguments name, or those of the weights' run, or the sample's.

    Raises:
        ValueError: those that the arguments name cannot be used.
    """
    named = not (args.data is None and args.dataset is None)
    config = data_of(args, args.weights, metadata)
    try:
        return load_datasets(config, metadata).valid
    except ValueError as error:
        if named or config.is_sample:
            raise
        say(f"note: compared on the sample's images, as those of the run cannot be used: {error}")
        return load_datasets(DataConfig()).valid


def _check_places(outputs: list[Path]) -> None:
    """Check that every file can be written, before the first one is.

    Raises:
        ValueError: a suffix selects no format, or a file cannot be written.
    """
    for output in outputs:
        if output.suffix not in SUFFIXES:
            raise ValueError(f"{output}: the name must end in one of {', '.join(SUFFIXES)}")
        if not output.parent.is_dir():
            raise ValueError(f"{output}: the folder {output.parent} does not exist; make it first")
        check_place(output, writable_file, "choose another name")


def _is_own_run(weights: Path, output: Path) -> bool:
    """Whether an output is the model of the run whose weights are exported."""
    real, model = Path(os.path.realpath(weights)), Path(os.path.realpath(output))
    return real.name in (WEIGHTS, UNEXPORTED) and model == real.parent / ARTIFACT


def _model(args: argparse.Namespace, file: "WeightsFile") -> "nn.Module":
    """A model with the weights of a file, in the dtype that they were trained in."""
    import torch

    from mnist_sgd.models.builtin import create_model
    from mnist_sgd.models.weights import load_weights
    from mnist_sgd.models.wrappers import unwrapped

    dtype: torch.dtype = getattr(torch, file.metadata.dtype)
    example = torch.zeros(2, *file.input_shape, dtype=dtype)
    if dtype == torch.bfloat16:  # a factory makes float32; it is converted below
        example = example.float()
    model = create_model(args.model or _trusted(file), seed=0, example=example)
    inner = unwrapped(model)
    for name, tensor in [*inner.named_parameters(), *inner.named_buffers()]:
        saved = file.state.get(name)
        if isinstance(saved, torch.Tensor) and saved.is_floating_point():
            tensor.data = tensor.data.to(saved.dtype)
    load_weights(model, args.weights)
    return model


def _accuracy_check(file: "WeightsFile", valid: "ImageSet") -> "Check | None":
    """Compare a file's accuracy with that of the weights, if that was measured on these images.

    The weights file only names its model: by now a factory may make another one, or scale pixels in
    another way.
    """
    metadata = file.metadata
    measured = metadata.metrics.get("batch_accuracy")
    if measured is None or valid.fingerprint() not in metadata.data.values():
        return None
    allowed = max(ACCURACY_TOLERANCE, 2 / len(valid))

    def check(given: "NDArray[np.float32]") -> str | None:
        accuracy = float(((given > 0.5) == (valid.labels == 1)).mean())
        if abs(accuracy - measured) <= allowed:
            return None
        return (
            f"on its validation images it has a batch_accuracy of {accuracy:.6f}, and the "
            f"weights had {measured:.6f} when {file.path} was written: it is another model, "
            "or a callback changed its batches"
        )

    return check


def _trusted(file: "WeightsFile") -> str:
    """The name of a file's model, if it is built in.

    Raises:
        ValueError: it names code to run, or a class, which does not say how to make the model.
    """
    from mnist_sgd.models.builtin import MODELS

    model = file.metadata.model
    if ":" in model:
        raise ValueError(
            f"{file.path} is of a custom model, made by {model}; to run its code, give "
            f"--model {model}"
        )
    if model not in MODELS:
        raise ValueError(
            f"{file.path} is of a custom model of the class {model!r}; name a function that makes "
            "one with --model package.module:factory"
        )
    return model
