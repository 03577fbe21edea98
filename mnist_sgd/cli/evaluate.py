"""`mnist-sgd evaluate`: measure a model on labelled images, without torch."""

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd._names import printable
from mnist_sgd.cli.measured import images_to_measure
from mnist_sgd.cli.options.arguments import (
    Subcommands,
    add_json_option,
    fraction,
    path,
    positive_fraction,
    subcommand,
)
from mnist_sgd.cli.options.datasets import add_data_options
from mnist_sgd.cli.options.models import DEFAULT, MODEL_HELP, model_file
from mnist_sgd.cli.options.outputs import check_not_a_runs_file
from mnist_sgd.cli.options.run_data import data_of
from mnist_sgd.cli.program import program

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnist_sgd.data import ImageSet
    from mnist_sgd.evaluation import Evaluation
    from mnist_sgd_serve import Predictor

USAGE = "%(prog)s [MODEL] [--data DIR] [--threshold T] [--plot FILE] [OPTION]..."

EXAMPLES = """\
  mnist-sgd evaluate                                model.onnx on the sample's validation images
  mnist-sgd evaluate boots.onnx --dataset FashionMNIST
  mnist-sgd evaluate runs/photos                    the run's own pictures, those for validation
  mnist-sgd evaluate photos.onnx --data photos      the same, of a model that lies in no run
  mnist-sgd evaluate boots.onnx --data unseen --all          all pictures of a new folder
  mnist-sgd evaluate boots.onnx --data photos --mistakes     the files that it misclassifies
  mnist-sgd evaluate --plot curves.png              ROC, precision and recall, calibration
  mnist-sgd evaluate --precision 0.999              the threshold for it, and what it costs
  mnist-sgd evaluate --recall 0.995 --write         and store it in model.onnx
  mnist-sgd evaluate --threshold 0.8 --write strict.onnx

A probability above the threshold means the positive class. The model file has the threshold, 0.5
unless another was written; predict and serve use it. A threshold chosen here has the precision or
recall on these images; on others they will differ a little.
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "measure a model on validation images, and choose its threshold"
    parser = subcommand(commands, "evaluate", summary, EXAMPLES, run, USAGE)
    parser.add_argument(
        "model", type=path, nargs="?", default=DEFAULT, metavar="MODEL", help=MODEL_HELP
    )
    group = parser.add_argument_group("threshold")
    choice = group.add_mutually_exclusive_group()
    choice.add_argument(
        "--threshold",
        type=fraction,
        metavar="T",
        help="measure at this threshold (default: the model's)",
    )
    choice.add_argument(
        "--precision",
        type=positive_fraction,
        metavar="P",
        help="find the threshold with at least this precision and the best recall",
    )
    choice.add_argument(
        "--recall",
        type=positive_fraction,
        metavar="R",
        help="find the threshold with at least this recall and the best precision",
    )
    group.add_argument(
        "--write",
        type=path,
        nargs="?",
        const=True,
        metavar="FILE",
        help="write the model with this threshold to FILE (default: replace the model file)",
    )
    add_data_options(parser).add_argument(
        "--all",
        action="store_true",
        help="measure on all images of --data, for a folder that the model was not trained on "
        "(default: on those that train would use for validation)",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--mistakes",
        action="store_true",
        help="list misclassified images, the furthest from the threshold first",
    )
    output.add_argument(
        "--plot", type=path, metavar="FILE", help="draw the curves; the suffix selects the format"
    )
    add_json_option(output)


def run(args: argparse.Namespace) -> int:
    """Print the metrics; write and draw what was asked for."""
    from mnist_sgd_serve import Predictor

    _check_options(args)
    args.model = model_file(args.model, "mnist-sgd evaluate {}")
    if isinstance(args.write, Path) and not _is_same(args.write, args.model):
        check_not_a_runs_file(args.write, "--write")
    predictor = Predictor(args.model)
    measured = _measure(args, predictor)
    facts, lines = measured.facts(), measured.lines()
    if args.mistakes:
        facts["mistakes"] = wrong = measured.mistakes()
        lines += ["", *measured.mistake_lines(wrong)]
    old, new = measured.own.threshold, measured.chosen.threshold
    if args.write is not None:
        target = args.model if args.write is True else args.write
        facts["written"] = str(target)
        lines += ["", *_write(predictor.artifact.content, new, target)]
    elif new != old:
        lines += ["", f"the model keeps {old}; --write stores {new} in it"]
    elif measured.has_mistakes() and not (args.mistakes or args.plot):
        lines += ["", f"next: {program()} {args.typed} --mistakes"]
    if not args.json:
        print("\n".join(lines))
    try:
        if args.plot is not None:  # last: if it fails, the metrics have been printed
            _plot(args, measured)
            facts["plot"] = str(args.plot)
    finally:
        if args.json:
            print(json.dumps(facts))
    return 0


def _check_options(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other, and a plot that cannot be written.

    Raises:
        ValueError: the message names the option.
    """
    if args.write and (args.threshold, args.precision, args.recall) == (None,) * 3:
        raise ValueError("--write needs a threshold: give --threshold, --precision or --recall")
    if args.plot is not None:
        from mnist_sgd.report.evaluation_charts import check_plot_file

        check_plot_file(args.plot)
        check_not_a_runs_file(args.plot, "--plot")


def _is_same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _measure(args: argparse.Namespace, predictor: "Predictor") -> "_Measurement":
    """Measure a model at its own threshold and at the one that the arguments ask for.

    Raises:
        ThresholdError: no threshold has the precision or recall.
        ValueError: the images are not usable.
    """
    from mnist_sgd.evaluation import evaluate, threshold_for
    from mnist_sgd.evaluation.inference import predict_probabilities

    model = predictor.metadata
    data = data_of(args, args.model, model)
    args.data = data.data
    valid, loaded = images_to_measure(data, args.all, args.model, model)
    probabilities, labels = predict_probabilities(predictor, valid.images), valid.labels
    threshold = model.threshold if args.threshold is None else args.threshold
    if args.precision is not None or args.recall is not None:
        threshold = threshold_for(
            probabilities, labels, precision=args.precision, recall=args.recall
        )
    own, chosen = (evaluate(probabilities, labels, t) for t in (model.threshold, threshold))
    return _Measurement(args, valid, loaded, probabilities, own, chosen)


def _write(content: bytes, threshold: float, target: Path) -> Iterator[str]:
    """Write the model with a threshold, and say so."""
    from mnist_sgd.evaluation.set_threshold import write_threshold
    from mnist_sgd.report.folder import is_run

    size = write_threshold(content, threshold, target)
    yield f"{printable(str(target))}: the model with the threshold {threshold}, {size:,} bytes"
    if is_run(target.parent):
        yield "the run's report and model card are unchanged: they have the earlier threshold"


def _plot(args: argparse.Namespace, measured: "_Measurement") -> None:
    """Draw the curves, and say so."""
    from mnist_sgd.report.evaluation_charts import plot_evaluation

    plot_evaluation(measured.chosen, args.plot, measured.valid.classes[1])
    if not args.json:
        print(f"\n{printable(str(args.plot))}: the curves")


@dataclass(frozen=True)
class _Measurement:
    """A model's metrics on labelled images.

    Attributes:
        valid: the images.
        loaded: how many there are with those for training.
        probabilities: float32 [N], of the positive class.
        own: the metrics at the model's threshold.
        chosen: the metrics at the threshold that was asked for.
    """

    args: argparse.Namespace
    valid: "ImageSet"
    loaded: int
    probabilities: "NDArray[np.float32]"
    own: "Evaluation"
    chosen: "Evaluation"

    def facts(self) -> dict[str, Any]:
        """The metrics, for JSON."""
        from mnist_sgd.evaluation.refused import accuracy, all_pictures

        facts = {
            "images": all_pictures(self.valid),
            "refused": self.valid.refused,
            "classes": list(self.valid.classes),
            "confusion": self.chosen.counts.matrix,
            "model_threshold": self.own.threshold,
        }
        facts |= self.chosen.as_dict() | {"accuracy": accuracy(self.chosen, self.valid)}
        return facts if self.args.data is None else facts | {"data_images": self.loaded}

    def lines(self) -> list[str]:
        """The metrics as text."""
        from mnist_sgd.evaluation import text
        from mnist_sgd.evaluation.refused import accuracy, all_pictures, count_right, refused_text

        valid, chosen = self.valid, self.chosen
        columns = [chosen] if chosen.threshold == self.own.threshold else [self.own, chosen]
        classes = [printable(name) for name in valid.classes]
        at = "" if len(columns) == 1 else f" at the threshold {chosen.threshold}"
        kept = ["", f"of the {len(valid):,} that were not refused:"] if valid.refused else []
        return [
            f"{printable(str(self.args.model))}{at}: {count_right(chosen):,} of "
            f"{all_pictures(valid):,} correct, accuracy {accuracy(chosen, valid):.4f}"
            f"{refused_text(valid)}",
            *self._part(),
            *kept,
            *text.confusion_table(chosen, classes),
            "",
            *text.metrics_table(columns, classes),
            "",
            *text.curve_tables(chosen),
            "",
            *text.calibration_table(chosen, classes[1]),
        ]

    def _part(self) -> list[str]:
        """Which part of `--data` was measured."""
        if self.args.data is None:
            return []
        from mnist_sgd.evaluation.refused import all_pictures

        kind = "pictures" if self.valid.files else "images"
        where = printable(str(self.args.data))
        if self.args.all:
            return [f"all {self.loaded:,} {kind} of {where}"]
        return [
            f"{all_pictures(self.valid):,} of the {self.loaded:,} {kind} of {where}, those for "
            "validation; --all takes all"
        ]

    def has_mistakes(self) -> bool:
        """Whether an image is misclassified."""
        from mnist_sgd.evaluation.refused import count_right

        return count_right(self.chosen) < len(self.valid)

    def mistakes(self) -> list[dict[str, Any]]:
        """Each misclassified image: where it is, its class, its probability."""
        from mnist_sgd.evaluation import misclassified

        valid, probabilities = self.valid, self.probabilities
        return [
            {
                **self._place(i),
                "class": valid.classes[int(valid.labels[i])],
                "probability": float(probabilities[i]),
            }
            for i in misclassified(probabilities, valid.labels, self.chosen.threshold).tolist()
        ]

    def _place(self, index: int) -> dict[str, Any]:
        """The picture of an image; or its file and row in it; or its index in the set."""
        if self.valid.files:
            return {"image": os.path.join(self.args.data, self.valid.files[index])}
        file, row = self.valid.row_of(index)
        return {"image": row, "file": file} if file else {"image": row}

    def mistake_lines(self, wrong: list[dict[str, Any]]) -> list[str]:
        """The mistakes as text."""
        if not wrong:
            kind = "picture" if self.args.all else "validation picture"
            answered = " that were not refused" if self.valid.refused else ""
            plural = "" if len(self.valid) == 1 and not self.valid.refused else "s"
            return [f"No mistakes among {len(self.valid):,} {kind}{plural}{answered}"]
        classes = [printable(name) for name in self.valid.classes]
        width = max(map(len, classes))
        return [
            f"misclassified, with the probability of {classes[1]}:",
            *(
                f"  is {printable(one['class']):<{width}}  {one['probability']:.4f}  "
                f"{printable(_shown(one))}"
                for one in wrong
            ),
        ]


def _shown(mistake: dict[str, Any]) -> str:
    """Where an image is, as text."""
    image = mistake["image"]
    if isinstance(image, str):
        return image
    return f"image {image} of {mistake['file']}" if "file" in mistake else f"image {image}"
