"""Classify a folder of pictures with Ray Data, on this machine or on a cluster.

    pip install '.[ray]'
    python examples/ray_data.py model.onnx mnist_sgd/sample/digits
    python examples/ray_data.py model.onnx scans/ --workers 8

Prints a JSON object a picture: its path, label, and the probability of the positive class. The
answers come in the order of the sorted paths and do not depend on the number of workers. A picture
that cannot be used gets an error in place of an answer, and the others go on.

The model travels to the workers as bytes, so they need no file of it; each builds a `Predictor`
once. To run on a cluster, start this where `ray.init()` finds it (`RAY_ADDRESS`), with a folder
that every machine can read.
"""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import ray

from mnist_sgd_serve import ImageError, Predictor

SUFFIXES = ["png", "jpg", "jpeg", "bmp", "gif", "webp"]


class Classifier:
    """A worker: it loads the model once and answers batch after batch."""

    def __init__(self, model: bytes) -> None:
        self.predictor = Predictor(model)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Answer the files in `path`, in their order."""
        answers = [self.answer(path) for path in batch["path"]]
        labels, probabilities, errors = zip(*answers, strict=True)
        return {
            "path": batch["path"],
            "label": np.array(labels),
            "probability": np.array(probabilities),
            "error": np.array(errors),
        }

    def answer(self, path: str) -> tuple[str, float, str]:
        """The label, the probability and what was wrong; one of the ends is empty."""
        try:
            prediction = self.predictor.predict(path)
        except (ImageError, OSError) as error:
            return "", float("nan"), str(error)
        return prediction.label, prediction.probability, ""


def classify(model: Path, folder: Path, workers: int) -> Iterator[dict[str, Any]]:
    """The answers for all pictures of a folder, in the order of their sorted paths."""
    # Ray otherwise gives the blocks in the order in which they are done.
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    paths = sorted(str(path) for path in folder.rglob("*") if path.suffix[1:].lower() in SUFFIXES)
    if not paths:
        raise SystemExit(f"{folder}: the folder holds no {', '.join(SUFFIXES)}")
    # The workers read the files themselves: tasks of Ray's that read would wait for the processors
    # that the workers hold. The pool grows from one worker as far as there are processors.
    answers = ray.data.from_items([{"path": path} for path in paths]).map_batches(
        Classifier,
        fn_constructor_args=(model.read_bytes(),),
        concurrency=(1, workers),
        batch_size=256,
    )
    yield from answers.iter_rows()


def main() -> None:
    """Classify and print."""
    parser = argparse.ArgumentParser(description="Classify a folder of pictures with Ray Data.")
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=2, help="(default: %(default)s)")
    args = parser.parse_args()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    ray.init(log_to_driver=False, include_dashboard=False)
    for row in classify(args.model, args.folder, args.workers):
        answer = {"label": row["label"], "probability": row["probability"]}
        said = {"error": row["error"]} if row["error"] else answer
        print(json.dumps({"path": row["path"]} | said))


if __name__ == "__main__":
    main()
