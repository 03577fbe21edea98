"""`mnist-sgd evaluate`: how an artifact does on labelled images, without torch."""

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd._names import printable
from mnist_sgd.cli.options.arguments import Subcommands, add_json_argument, path, share, subcommand
from mnist_sgd.cli.options.datasets import add_dataset_arguments
from mnist_sgd.cli.options.measured import images_to_measure
from mnist_sgd.cli.options.model_files import DEFAULT, MODEL_HELP, model_file
from mnist_sgd.cli.options.run_files import check_not_a_runs_file
from mnist_sgd.evaluation.refused import accuracy, all_pictures, count_right, refused_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnist_sgd.data import ImageSet
    from mnist_sgd.evaluation import Evaluation

__all__ = ["add_parser", "run"]

EXAMPLES = """\
  mnist-sgd evaluate                                model.onnx on the sample's validation images
  mnist-sgd evaluate boots.onnx --dataset FashionMNIST
  mnist-sgd evaluate runs/photos --data photos      your own pictures, the validation share
  mnist-sgd evaluate boots.onnx --data unseen --all          every picture, none was trained on
  mnist-sgd evaluate boots.onnx --data photos --mistakes     which files it gets wrong
  mnist-sgd evaluate --plot curves.png              ROC, precision and recall, calibration
  mnist-sgd evaluate --precision 0.999              the threshold for it, and what it costs
  mnist-sgd evaluate --recall 0.995 --write         and put it into model.onnx
  mnist-sgd evaluate --threshold 0.8 --write strict.onnx

A probability above the threshold is called the positive class; the model carries its own, 0.5
unless another was written, and predict and serve follow it. A threshold that is chosen here gives
its precision or recall on these images, on others about that.
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "measure a model on validation images, and choose its threshold"
    parser = subcommand(commands, "evaluate", summary, EXAMPLES, run)
    parser.add_argument("model", type=path, nargs="?", default=DEFAULT, help=MODEL_HELP)
    group = parser.add_argument_group("threshold")
    wish = group.add_mutually_exclusive_group()
    wish.add_argument(
        "--threshold", type=share, metavar="T", help="measure at T (default: the model's own)"
    )
    wish.add_argument(
        "--precision",
        type=share,
        metavar="P",
        help="find the threshold with a precision of at least P and the best recall",
    )
    wish.add_argument(
        "--recall",
        type=share,
        metavar="R",
        help="find the threshold with a recall of at least R and the best precision",
    )
    group.add_argument(
        "--write",
        type=path,
        nargs="?",
        const=True,
        metavar="FILE",
        help="write the model with this threshold, as FILE or else over itself",
    )
    parser.add_argument(
        "--mistakes",
        action="store_true",
        help="list the images that are called wrong, the furthest from the threshold first",
    )
    parser.add_argument(
        "--plot", type=path, metavar="FILE", help="draw the curves; the suffix names the format"
    )
    add_dataset_arguments(parser, trained=True)
    parser.add_argument(
        "--all",
        action="store_true",
        help="measure on all images of --data, not on those alone that training would leave for "
        "validation: for images that the model has not seen",
    )
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print what the model's answers are worth; write and draw what was asked for."""
    from mnist_sgd.evaluation import evaluate
    from mnist_sgd.evaluation.inference import predict_probabilities
    from mnist_sgd_serve import Predictor

    if args.write and (args.threshold, args.precision, args.recall) == (None,) * 3:
        raise ValueError("--write needs a threshold: give --threshold, --precision or --recall")
    if args.plot is not None:
        from mnist_sgd.report.evaluation_charts import check_plot_file

        check_plot_file(args.plot)
        check_not_a_runs_file(args.plot, "--plot")
    args.model = model_file(args.model, "mnist-sgd evaluate {}")
    if isinstance(args.write, Path) and not _is_same(args.write, args.model):
        check_not_a_runs_file(args.write, "--write")
    predictor = Predictor(args.model)
    valid, loaded = images_to_measure(args, predictor.metadata)
    probabilities = predict_probabilities(predictor, valid.images)
    own = evaluate(probabilities, valid.labels, predictor.metadata.threshold)
    chosen = evaluate(probabilities, valid.labels, _threshold(args, own, probabilities, valid))
    facts = _facts(own, chosen, valid)
    if args.data is not None:
        facts["data_images"] = loaded
    lines = _lines(args, own, chosen, valid, loaded)
    if args.mistakes:
        wrong = _mistakes(args, chosen, probabilities, valid)
        facts["mistakes"] = wrong
        lines += ["", *_mistake_lines(args, wrong, valid)]
    if args.write is not None:
        from mnist_sgd.evaluation.set_threshold import write_threshold
        from mnist_sgd.report.folder import is_run

        target = args.model if args.write is True else args.write
        size = write_threshold(predictor.artifact.content, chosen.threshold, target)
        facts["written"] = str(target)
        written = printable(str(target))
        lines += ["", f"{written}: the model with the threshold {chosen.threshold}, {size:,} bytes"]
        if is_run(Path(target).parent):
            lines += ["the report and the card of the run keep the figures that it was trained to"]
    elif chosen.threshold != own.threshold:
        lines += ["", f"the model keeps {own.threshold}; --write puts {chosen.threshold} into it"]
    if not args.json:
        print("\n".join(lines))
    try:
        if args.plot is not None:  # last of all: whatever it fails at, the figures are there
            _plot(args, chosen, valid)
            facts["plot"] = str(args.plot)
    finally:
        if args.json:
            print(json.dumps(facts))
    return 0


def _is_same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _plot(args: argparse.Namespace, chosen: "Evaluation", valid: "ImageSet") -> None:
    """Draw the curves, and say so."""
    from mnist_sgd.report.evaluation_charts import plot_evaluation

    plot_evaluation(chosen, args.plot, valid.classes[1])
    if not args.json:
        print(f"\n{printable(str(args.plot))}: the curves")


def _threshold(
    args: argparse.Namespace,
    own: "Evaluation",
    probabilities: "NDArray[np.float32]",
    valid: "ImageSet",
) -> float:
    """The threshold that the arguments ask for.

    Raises:
        ThresholdError: none gives what they wish.
    """
    from mnist_sgd.evaluation import threshold_for

    if args.precision is None and args.recall is None:
        given: float = own.threshold if args.threshold is None else args.threshold
        return given
    return threshold_for(probabilities, valid.labels, precision=args.precision, recall=args.recall)


def _mistakes(
    args: argparse.Namespace,
    chosen: "Evaluation",
    probabilities: "NDArray[np.float32]",
    valid: "ImageSet",
) -> list[dict[str, Any]]:
    """Each image that is called wrong: where it is, its class, its probability."""
    from mnist_sgd.evaluation import misclassified

    return [
        {
            **_place(args, valid, i),
            "class": valid.classes[int(valid.labels[i])],
            "probability": float(probabilities[i]),
        }
        for i in misclassified(probabilities, valid.labels, chosen.threshold).tolist()
    ]


def _place(args: argparse.Namespace, valid: "ImageSet", index: int) -> dict[str, Any]:
    """The picture that an image was; or its file and row there; or its place in the set."""
    if valid.files:
        return {"image": os.path.join(args.data, valid.files[index])}
    file, row = valid.row_of(index)
    return {"image": row, "file": file} if file else {"image": row}


def _mistake_lines(
    args: argparse.Namespace, wrong: list[dict[str, Any]], valid: "ImageSet"
) -> list[str]:
    if not wrong:
        kind = "picture" if args.all else "validation picture"
        answered = " that were not refused" if valid.refused else ""
        plural = "" if len(valid) == 1 and not valid.refused else "s"
        return [f"No mistakes among {len(valid):,} {kind}{plural}{answered}"]
    classes = [printable(name) for name in valid.classes]
    width = max(map(len, classes))
    return [
        f"called wrong, with the probability of {classes[1]}:",
        *(
            f"  is {printable(one['class']):<{width}}  {one['probability']:.4f}  "
            f"{printable(_shown(one))}"
            for one in wrong
        ),
    ]


def _shown(mistake: dict[str, Any]) -> str:
    """Where an image is, in words."""
    image = mistake["image"]
    if isinstance(image, str):
        return image
    return f"image {image} of {mistake['file']}" if "file" in mistake else f"image {image}"


def _facts(own: "Evaluation", chosen: "Evaluation", valid: "ImageSet") -> dict[str, Any]:
    facts = {
        "images": all_pictures(valid),
        "refused": valid.refused,
        "classes": list(valid.classes),
        "confusion": chosen.counts.matrix,
        "model_threshold": own.threshold,
    }
    return facts | chosen.as_dict() | {"accuracy": accuracy(chosen, valid)}


def _lines(
    args: argparse.Namespace,
    own: "Evaluation",
    chosen: "Evaluation",
    valid: "ImageSet",
    loaded: int,
) -> list[str]:
    from mnist_sgd.evaluation.text import (
        calibration_table,
        confusion_table,
        curve_tables,
        metrics_table,
    )

    columns = [chosen] if chosen.threshold == own.threshold else [own, chosen]
    classes = [printable(name) for name in valid.classes]
    model = printable(str(args.model))
    at = "" if len(columns) == 1 else f" at the threshold {chosen.threshold}"
    return [
        f"{model}{at}: {count_right(chosen):,} of {all_pictures(valid):,} right, "
        f"accuracy {accuracy(chosen, valid):.4f}{refused_text(valid)}",
        *_share(args, valid, loaded),
        *_answered(valid),
        *confusion_table(chosen, classes),
        "",
        *metrics_table(columns, classes),
        "",
        *curve_tables(chosen),
        "",
        *calibration_table(chosen, classes[1]),
    ]


def _answered(valid: "ImageSet") -> list[str]:
    """Which pictures the tables are of, where some have no answer."""
    if not valid.refused:
        return []
    return ["", f"of the {len(valid):,} that were not refused:"]


def _share(args: argparse.Namespace, valid: "ImageSet", loaded: int) -> list[str]:
    """Which part of `--data` was measured."""
    if args.data is None:
        return []
    kind = "pictures" if valid.files else "images"
    if args.all:
        return [f"all {loaded:,} {kind} of {printable(str(args.data))}"]
    return [f"{all_pictures(valid):,} of {loaded:,} {kind}, the validation share; --all for all"]
