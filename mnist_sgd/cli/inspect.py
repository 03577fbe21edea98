"""`mnist-sgd inspect`: print the metadata of a model file, without torch."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from mnist_sgd._names import printable
from mnist_sgd.cli.options.arguments import Subcommands, add_json_option, path, subcommand
from mnist_sgd.cli.options.models import DEFAULT, MODEL_HELP, model_file

if TYPE_CHECKING:
    from mnist_sgd_serve import Metadata

INPUT, OUTPUT = "image uint8 [batch, 28, 28]", "probability float32 [batch, 1]"

_WIDTH = len("model's pixels") + 1

EXAMPLES = """\
  mnist-sgd inspect model.onnx
  mnist-sgd inspect runs/mlp
  mnist-sgd inspect model.onnx --json | jq .metrics
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "show a model file's metadata: classes, threshold, data, metrics, versions"
    parser = subcommand(commands, "inspect", summary, EXAMPLES, run)
    parser.add_argument(
        "model", type=path, nargs="?", default=DEFAULT, metavar="MODEL", help=MODEL_HELP
    )
    add_json_option(parser.add_argument_group("output"))


def run(args: argparse.Namespace) -> int:
    """Print the metadata, the size and the digest of the file."""
    from mnist_sgd_serve import load_artifact

    file = model_file(args.model, "mnist-sgd inspect {}")
    artifact = load_artifact(file)
    if args.json:
        facts = {
            "file": str(file),
            "bytes": len(artifact.content),
            "sha256": artifact.sha256,
            "input": INPUT,
            "output": OUTPUT,
        } | asdict(artifact.metadata)
        facts["preparation"] = facts.pop("preprocessing")  # the key of earlier versions
        print(json.dumps(facts))
        return 0
    print(f"{'file':<{_WIDTH}}{printable(str(file))}")
    print(f"{'size':<{_WIDTH}}{len(artifact.content):,} bytes, sha256 {artifact.sha256}")
    for name, value in _described(artifact.metadata):
        if value:
            print(f"{name:<{_WIDTH}}{printable(value)}")
    return 0


def _described(model: "Metadata") -> Iterator[tuple[str, str]]:
    """The metadata as text: names and values, which are empty where the file says nothing."""
    yield "classes", ", ".join(model.classes)
    yield "threshold", f"{model.threshold}: above it the class is {model.positive}"
    yield "input", INPUT
    yield "output", f"{OUTPUT}, of {model.positive}"
    yield "preprocessing", model.preprocessing
    if model.paper is not None:
        yield "background", f"{model.paper} of 255, the grey around the training pictures"
    scaled = "pixels from 0 to 255" if model.dtype == "uint8" else "(pixel / 255 - mean) / std"
    numbers = "" if model.dtype == "uint8" else f", mean {model.mean}, std {model.std}"
    yield "model's pixels", f"{model.dtype}, {scaled}{numbers}"
    yield "architecture", model.model
    yield "metrics", ", ".join(f"{name} {value:.6g}" for name, value in model.metrics.items())
    yield "data", "; ".join(f"{name}, fingerprint {mark}" for name, mark in model.data.items())
    yield "made with", ", ".join(f"{name} {version}" for name, version in model.versions.items())
    yield "licence", model.licence
