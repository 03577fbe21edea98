"""`mnist-sgd compare`: show runs side by side."""

import argparse
import json
import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd._names import printable
from mnist_sgd.cli.options.arguments import Subcommands, add_json_option, path, subcommand
from mnist_sgd.cli.options.outputs import check_not_a_runs_file
from mnist_sgd.cli.program import program
from mnist_sgd.cli.terminal import one_line

if TYPE_CHECKING:
    from mnist_sgd.report.reader import RunRecord

EXAMPLES = """\
  mnist-sgd compare runs/*
  mnist-sgd compare runs/linear runs/mlp --html compare.html     a page, with curves

A folder that cannot be shown is listed with the reason, for instance a run that ended before its
first batch.
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "show runs side by side: metrics, settings, curves, mistakes"
    parser = subcommand(commands, "compare", summary, EXAMPLES, run)
    parser.add_argument(
        "runs", type=path, nargs="+", metavar="RUN", help="a folder made by train --run"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--html",
        type=path,
        metavar="FILE",
        help="also write a page: curves, and the pictures that one gets wrong and another right",
    )
    add_json_option(output)


def run(args: argparse.Namespace) -> int:
    """Print a table, the most accurate run first, and the settings that differ."""
    from mnist_sgd._files import atomic_write
    from mnist_sgd._installed import need
    from mnist_sgd.report.comparable import same_images, warnings
    from mnist_sgd.report.comparison import (
        compare_runs,
        difference_lines,
        differences,
        differences_in_words,
        table_lines,
    )
    from mnist_sgd.report.comparison_page import comparison_page
    from mnist_sgd.report.html import utf8

    if args.html is not None:
        need("matplotlib", "compare --html")
        check_not_a_runs_file(args.html, "--html")
    runs, left_out = _read({os.path.realpath(folder): folder for folder in args.runs}.values())
    pairs = compare_runs(runs)
    rows, found, notes = [row for row, _ in pairs], differences(pairs), warnings(runs)
    if args.html is not None:
        reasons = [f"{folder}: {reason}" for folder, reason in left_out.items()]
        atomic_write(args.html, utf8(comparison_page(pairs, reasons, args.html.parent)))
    if args.json:
        facts: dict[str, Any] = {"runs": [row.as_dict() for row in rows], "differences": found}
        facts |= {"same_validation_images": same_images(runs), "notes": notes}
        print(json.dumps(facts | {"not_shown": left_out}))
        return 0
    for line in table_lines(rows):
        print(printable(line))
    if left_out:
        print("\nnot shown")
    for folder, reason in left_out.items():
        print(printable(f"{folder}  {reason}"))
    lines = [*difference_lines(differences_in_words(pairs))]
    if lines:
        print("\ndifferences")
    for line in lines:
        print(printable(line))
    for each in notes:
        print(f"\nnote: {printable(each)}")
    if args.html is not None:
        print(
            f"\n{printable(str(args.html))}: with curves, and what one gets wrong and another right"
        )
    else:
        named = " ".join(shlex.quote(str(folder)) for folder in args.runs)
        print(f"\nnext: {printable(f'{program()} compare {named} --html compare.html')}")
    return 0


def _read(folders: Iterable[Path]) -> tuple[list["RunRecord"], dict[str, str]]:
    """The runs that can be read, and why the other folders cannot.

    Raises:
        RunError: none can be read, or a folder does not exist.
    """
    from mnist_sgd.report.folder import RunError
    from mnist_sgd.report.reader import read_run

    runs, errors = [], {}
    for folder in folders:
        try:
            runs.append(read_run(folder))
        except RunError as error:
            if not os.path.lexists(folder):  # a dangling link is not a misspelt name
                raise
            errors[str(folder)] = RunError(f"{error}{_advice(folder)}")
    if not runs:
        first, *others = errors.values()
        more = f" (and {len(others):,} more cannot be shown)" if others else ""
        raise RunError(f"{first}{more}")
    return runs, {folder: _reason(Path(folder), error) for folder, error in errors.items()}


def _advice(folder: Path) -> str:
    """What to name instead of a folder that contains runs."""
    from mnist_sgd.report.folder import is_run

    if is_run(folder) or not folder.is_dir() or not any(map(is_run, folder.iterdir())):
        return ""
    return f"; name its runs: mnist-sgd compare {shlex.quote(str(folder))}/*"


def _reason(folder: Path, error: Exception) -> str:
    """Why a folder cannot be shown: its run ended too early, or something is wrong with it."""
    if folder.is_dir() and not any(folder.iterdir()):
        return "unfinished: the folder is empty, its training ended before the first batch"
    text = one_line(error)
    for start in (f"{one_line(folder)}: ", f"{one_line(folder)}/"):
        text = text.removeprefix(start)
    return f"unreadable: {text}"
