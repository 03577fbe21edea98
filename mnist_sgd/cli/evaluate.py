"""`mnist-sgd evaluate`: measure a model on labelled images, without torch."""

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd._names import printable
from mnist_sgd.cli.measured import images_to_measure
from mnist_sgd.cli.options.arguments import (
    Subcommands,
    add_json_argument,
    fraction,
    path,
    subcommand,
)
from mnist_sgd.cli.options.datasets import DataConfig, add_dataset_arguments
from mnist_sgd.cli.options.fields import section
from mnist_sgd.cli.options.models import DEFAULT, MODEL_HELP, model_file
from mnist_sgd.cli.options.outputs import check_not_a_runs_file
from mnist_sgd.evaluation.refused import accuracy, all_pictures, count_right, refused_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnist_sgd.data import ImageSet
    from mnist_sgd.evaluation import Evaluation

EXAMPLES = """\
  mnist-sgd evaluate                                model.onnx on the sample's validation images
  mnist-sgd evaluate boots.onnx --dataset FashionMNIST
  mnist-sgd evaluate runs/photos --data photos      your own pictures, those for validation
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
    parser = subcommand(commands, "evaluate", summary, EXAMPLES, run)
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
        type=fraction,
        metavar="P",
        help="find the threshold with at least this precision and the best recall",
    )
    choice.add_argument(
        "--recall",
        type=fraction,
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
    parser.add_argument(
        "--mistakes",
        action="store_true",
        help="list misclassified images, the furthest from the threshold first",
    )
    parser.add_argument(
        "--plot", type=path, metavar="FILE", help="draw the curves; the suffix selects the format"
    )
    add_dataset_arguments(parser)
    parser.add_argument(
        "--all",
        action="store_true",
        help="measure on all images of --data, for a folder that the model was not trained on "
        "(default: on those that train would use for validation)",
    )
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the metrics; write and draw what was asked for."""
    from mnist_sgd.evaluation import evaluate
    from mnist_sgd.evaluation.ask import file_probabilities
    from mnist_sgd_serve import Predictor

    if args.write and (args.threshold, args.precision, args.recall) == (None,) * 3:
        raise ValueError("--write needs a threshold: give --threshold, --precision or --recall")
    if args.plot is not None:
        from mnist_sgd.evaluation.plot import check_plot_file

        check_plot_file(args.plot)
        check_not_a_runs_file(args.plot, "--plot")
    args.model = model_file(args.model, "mnist-sgd evaluate {}")
    if isinstance(args.write, Path) and not _is_same(args.write, args.model):
        check_not_a_runs_file(args.write, "--write")
    predictor = Predictor(args.model)
    config = section(DataConfig, args)
    valid, loaded = images_to_measure(config, args.all, args.model, predictor.metadata)
    probabilities = file_probabilities(predictor, valid.images)
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
            lines += [
                "the run's report and model card are unchanged: they have the earlier threshold"
            ]
    elif chosen.threshold != own.threshold:
        lines += ["", f"the model keeps {own.threshold}; --write stores {chosen.threshold} in it"]
    if not args.json:
        print("\n".join(lines))
    try:
        if args.plot is not None:  # last: if it fails, the metrics have been printed
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
    from mnist_sgd.evaluation.plot import plot_evaluation

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
        ThresholdError: none has the precision or recall.
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
    """Each misclassified image: where it is, its class, its probability."""
    from mnist_sgd.evaluation import mistakes

    return [
        {
            **_place(args, valid, i),
            "class": valid.classes[int(valid.labels[i])],
            "probability": float(probabilities[i]),
        }
        for i in mistakes(probabilities, valid.labels, chosen.threshold).tolist()
    ]


def _place(args: argparse.Namespace, valid: "ImageSet", index: int) -> dict[str, Any]:
    """The picture of an image; or its file and row in it; or its index in the set."""
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
        figures_table,
    )

    columns = [chosen] if chosen.threshold == own.threshold else [own, chosen]
    classes = [printable(name) for name in valid.classes]
    model = printable(str(args.model))
    at = "" if len(columns) == 1 else f" at the threshold {chosen.threshold}"
    return [
        f"{model}{at}: {count_right(chosen):,} of {all_pictures(valid):,} correct, "
        f"accuracy {accuracy(chosen, valid):.4f}{refused_text(valid)}",
        *_part(args, valid, loaded),
        *_not_refused(valid),
        *confusion_table(chosen, classes),
        "",
        *figures_table(columns, classes),
        "",
        *curve_tables(chosen),
        "",
        *calibration_table(chosen, classes[1]),
    ]


def _not_refused(valid: "ImageSet") -> list[str]:
    """Which pictures the tables are about, if some were refused."""
    if not valid.refused:
        return []
    return ["", f"of the {len(valid):,} that were not refused:"]


def _part(args: argparse.Namespace, valid: "ImageSet", loaded: int) -> list[str]:
    """Which part of `--data` was measured."""
    if args.data is None:
        return []
    kind = "pictures" if valid.files else "images"
    if args.all:
        return [f"all {loaded:,} {kind} of {printable(str(args.data))}"]
    return [f"{all_pictures(valid):,} of {loaded:,} {kind}, those for validation; --all takes all"]
