"""`mnist-sgd inspect`: print the metadata of a model file, without torch."""

import argparse
import json
from dataclasses import asdict

from mnist_sgd._names import printable
from mnist_sgd.cli.options.arguments import Subcommands, add_json_option, path, subcommand
from mnist_sgd.cli.options.models import DEFAULT, MODEL_HELP, model_file

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
    facts = {
        "file": str(file),
        "bytes": len(artifact.content),
        "sha256": artifact.sha256,
        "input": "image uint8 [batch, 28, 28]",
        "output": "probability float32 [batch, 1]",
    } | asdict(artifact.metadata)
    if args.json:
        facts["preparation"] = facts.pop("preprocessing")  # the key of earlier versions
        print(json.dumps(facts))
        return 0
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {each}" for key, each in value.items())
        elif isinstance(value, list | tuple):
            value = ", ".join(map(str, value))
        print(f"{name:<13} {printable(str(value))}")
    return 0
