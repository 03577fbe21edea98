"""What a training leaves, and where."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_sgd.learner import Learner
    from mnist_sgd.report.run_log import RunLog

__all__ = ["add_output_arguments", "write_files"]


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where files go."""
    parser.add_argument(
        "--out", type=Path, default=Path(), help="the folder for the files (default: here)"
    )


def write_files(args: argparse.Namespace, learn: "Learner", log: "RunLog | None") -> None:
    """Leave the files of the trained model, and of its run, and say what they are."""
    learn.model.cpu()
    weights, artefact = args.out / "model.safetensors", args.out / "model.onnx"
    learn.save(weights)
    report = learn.export(artefact)
    files = {"weights": str(weights), "artefact": str(artefact)}
    if log is not None:
        from mnist_sgd.report.writer import finish_run

        files["report"] = str(finish_run(learn, log.folder, log.config, log.seconds))
    if args.json:
        print(json.dumps(_history(learn) | files))
        return
    print()
    print(f"{weights}: the weights, {weights.stat().st_size:,} bytes")
    print(
        f"{artefact}: the model, {report.size:,} bytes; answers {report.images:,} validation "
        f"images as torch does, to {report.max_difference:.0e}"
    )
    if log is not None:
        print(f"{files['report']}: all of it on one page")
    print(f"next: mnist-sgd predict --model {artefact} IMAGE...")


def _history(learn: "Learner") -> dict[str, Any]:
    names = learn.recorder.metric_names[1:-1]
    return {"epochs": [dict(zip(names, row, strict=True)) for row in learn.recorder.values]}
