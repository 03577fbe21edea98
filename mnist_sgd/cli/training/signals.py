"""How a training ends that is told to: no half-written file stays, and a sentence is said."""

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Never

from mnist_sgd.cli.options.pictures import say
from mnist_sgd.report.folder import CHECKPOINT

__all__ = ["leaving_on_signals"]

_SIGNALS = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None))]
"""Those that would end the process on the spot; Python makes Ctrl-C an exception by itself."""


@contextmanager
def leaving_on_signals(args: argparse.Namespace) -> Iterator[None]:
    """Let signals end the command as an exception does, and say what a later start can use.

    A signal that is ignored, as SIGHUP is under nohup, stays so.
    """
    ended: list[str] = []
    earlier = _written(args)

    def leave(number: int, frame: object) -> Never:
        ended.append(signal.Signals(number).name)
        sys.exit(128 + number)

    caught = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    before = {number: signal.signal(number, leave) for number in caught}
    try:
        yield
    except SystemExit:
        if ended:
            say(f"ended by {ended[0]}{_kept(args, earlier)}")
        raise
    except KeyboardInterrupt:
        if kept := _kept(args, earlier):
            say(kept.removeprefix("; "))
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _kept(args: argparse.Namespace, earlier: int | None) -> str:
    """The checkpoint that the same command resumes from: of this training, or of the one before."""
    written = _written(args)
    if written is None or not (args.resume or (args.checkpoint_every and written != earlier)):
        return ""
    how = " in place of --overwrite" if args.overwrite else ""
    path = args.out / CHECKPOINT
    return f"; {path} is there: the same command with --resume{how} continues the training"


def _written(args: argparse.Namespace) -> int | None:
    """When the checkpoint was written, in nanoseconds; None if there is none."""
    path: Path = args.out / CHECKPOINT
    return path.stat().st_mtime_ns if path.is_file() else None
