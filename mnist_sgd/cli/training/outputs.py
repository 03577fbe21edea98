"""The files of a finished training, and what is printed about them."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd.cli.program import program
from mnist_sgd.cli.terminal import say
from mnist_sgd.cli.training.config import OutputConfig
from mnist_sgd.cli.training.terminal import status
from mnist_sgd.cli.training.validation import Validation
from mnist_sgd.report import folder as run_files
from mnist_sgd.report.pair import save_pair

if TYPE_CHECKING:
    from mnist_sgd.export import ExportReport
    from mnist_sgd.report.run_log import RunLog
    from mnist_sgd.training.learner import Learner


def write_files(output: OutputConfig, learn: "Learner", log: "RunLog | None") -> None:
    """Write the files of the trained model, and of its run, and list them."""
    weights, artifact = output.out / run_files.WEIGHTS, output.out / run_files.ARTIFACT
    with status("checking the export"):
        report = save_pair(learn, output.out, _say_where)
        found = Validation.of(artifact, learn.own_loader().dataset)
    files = {"weights": weights, "artefact": artifact}
    if log is not None:
        from mnist_sgd.report.writer import finish_run

        with status("writing the report"):
            files["report"] = finish_run(learn, log.folder, log.config, log.seconds)
    if output.json:
        names = {kind: str(path) for kind, path in files.items()}
        print(json.dumps(_history(learn) | {"validation": found.as_dict()} | names))
        return
    for line in ("", *_lines(files, report), found.line(), *_next(artifact)):
        learn.logger(line)


def _say_where(weights: Path) -> None:
    say(f"the trained weights are in {weights}; the earlier model is unchanged")


def _history(learn: "Learner") -> dict[str, Any]:
    from mnist_sgd.training.recorder import unique_names

    names = unique_names(learn.recorder.metric_names[1:-1])
    return {"epochs": [dict(zip(names, row, strict=True)) for row in learn.recorder.values]}


def _lines(files: dict[str, Path], report: "ExportReport") -> list[str]:
    """A line for each file: its path, its size, and what it is."""
    notes = {
        "weights": "the weights",
        "artefact": _parity(report),
        "report": "charts, mistakes, settings: open it in a browser",
    }
    sizes = {kind: _size(path.stat().st_size) for kind, path in files.items()}
    width, digits = max(len(str(path)) for path in files.values()), max(map(len, sizes.values()))
    return [
        f"{path!s:<{width}}  {sizes[kind]:>{digits}}  {notes[kind]}" for kind, path in files.items()
    ]


def _parity(report: "ExportReport") -> str:
    difference = f"(largest difference {report.max_difference:.0e})"
    if report.label_disagreements:
        return (
            f"same probabilities as PyTorch on {report.images:,} images {difference}, but "
            f"{report.label_disagreements:,} at the threshold get the other class"
        )
    return f"same answers as PyTorch on {report.images:,} images {difference}"


def _size(count: int) -> str:
    """A number of bytes in decimal units."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"


def _next(artifact: Path) -> list[str]:
    """What to do with the model, as commands that can be typed."""
    path = shlex.quote(str(artifact))
    return [
        f"next: {program()} predict --model {path} IMAGE...",
        f"      {program()} serve {path}",
    ]
