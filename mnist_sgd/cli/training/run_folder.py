"""The folder of a run: `--run NAME` gathers all that a training leaves, and a report on it."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd._installed import need
from mnist_sgd._lock import one_writer
from mnist_sgd.report.folder import RunError, check_run, create_run, run_path

if TYPE_CHECKING:
    from mnist_sgd.report.run_log import RunLog
    from mnist_sgd.training.distributed import DistributedContext

__all__ = ["add_run_arguments", "check_folder", "choose_folder", "only_training", "open_folder"]


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the name of a run, and whether it may take the place of another."""
    group = parser.add_argument_group("run")
    group.add_argument(
        "--run",
        dest="name",
        metavar="NAME",
        help="put all files into runs/NAME, with the settings, the history, charts, a model card "
        "and report.html, which shows all of it (default: the model's files alone, into OUT)",
    )
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="begin anew where a run of that name exists, or replace the model of another task in "
        "OUT (default: refuse to)",
    )


def choose_folder(args: argparse.Namespace) -> None:
    """Let `--run` say where files go, as `--out` does without it.

    Raises:
        ValueError: options contradict each other, or the name is not one of a folder.
    """
    if args.overwrite and args.resume:
        raise ValueError("--overwrite begins a run anew, --resume goes on with it; take one")
    if args.name is None:
        return
    if args.out != Path():
        raise ValueError("--run NAME puts all files into runs/NAME; leave --out away")
    args.out = run_path(args.name)


@contextmanager
def only_training(args: argparse.Namespace, ranks: "DistributedContext") -> Iterator[None]:
    """Be the only training that writes into the folder; all ranks call this together.

    Raises:
        ValueError: on the first rank, if another training writes there.
        OSError: on the first rank, if the folder cannot be made.
        SystemExit: on the other ranks, with code 2: one of them says why.
    """
    with ExitStack() as lock:

        def take() -> bytes:
            lock.enter_context(one_writer(args.out, _say))
            return b""

        try:
            ranks.run_on_main_process(take)
        except ValueError:
            if ranks.is_main_process:
                raise
            sys.exit(2)
        yield


def _say(text: str) -> None:
    print(f"mnist-sgd: {text}", file=sys.stderr, flush=True)


def check_folder(args: argparse.Namespace) -> None:
    """See whether the run may have its folder; nothing is changed.

    Raises:
        ImportError: matplotlib, which draws in it, is missing.
        RunError: it may not.
    """
    if args.name is not None:
        need("matplotlib", "train --run")
        check_run(args.out, resume=args.resume, overwrite=args.overwrite)


def open_folder(args: argparse.Namespace, ranks: "DistributedContext") -> "RunLog | None":
    """Make the folder for the files; all ranks call this together, and the first one makes it.

    An older run in it stays as it is until the new one has trained a batch.

    Returns:
        What keeps the run's files while it trains; None without `--run`.

    Raises:
        RunError: on every rank, if the folder may not be taken.
        OSError: it cannot be made.
    """
    if args.name is None:
        if ranks.is_main_process:
            args.out.mkdir(parents=True, exist_ok=True)
        return None
    from mnist_sgd.report.run_log import RunLog

    said = b""
    if ranks.is_main_process:
        try:
            create_run(args.out, resume=args.resume, overwrite=args.overwrite)
        except RunError as error:
            said = str(error).encode()
    said = ranks.broadcast_bytes(said)
    if said:
        raise RunError(said.decode())
    return RunLog(args.out, _given(args), overwrite=args.overwrite)


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments by their names, without what argparse adds."""
    return {name: value for name, value in vars(args).items() if name != "run"}
