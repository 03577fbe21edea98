"""`mnist-sgd compare`: the folders of runs beside each other."""

import argparse
import json
from pathlib import Path

from mnist_sgd.cli.arguments import Subcommands, add_json_argument, subcommand

__all__ = ["add_parser", "run"]

EXAMPLES = """\
  mnist-sgd compare runs/*
  mnist-sgd compare runs/linear runs/mlp --html compare.html     with the loss curves
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "put runs beside each other: figures, settings, loss curves"
    parser = subcommand(commands, "compare", summary, EXAMPLES, run)
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="a folder that train --run made"
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write a page with the loss curves, too"
    )
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print a table, the most accurate run first, and in what the settings differ."""
    from mnist_sgd._files import atomic_write
    from mnist_sgd.report.comparison import (
        compare_runs,
        difference_lines,
        differences,
        same_images,
        table_lines,
        warnings,
    )
    from mnist_sgd.report.comparison_page import comparison_page
    from mnist_sgd.report.reader import read_run

    folders = {folder.resolve(): folder for folder in args.runs}  # each once
    pairs = compare_runs([read_run(folder) for folder in folders.values()])
    rows, found = [row for row, _ in pairs], differences(pairs)
    if args.html is not None:
        atomic_write(args.html, comparison_page(pairs).encode())
    if args.json:
        facts = {"runs": [row.as_dict() for row in rows], "differences": found}
        print(json.dumps(facts | {"same_validation_images": same_images(pairs)}))
        return 0
    print("\n".join(table_lines(rows)))
    if found:
        print("\nin what they differ\n" + "\n".join(difference_lines(found)))
    for each in warnings(pairs):
        print(f"\nnote: {each}")
    if args.html is not None:
        print(f"\n{args.html}: the same with the loss curves")
    return 0
