"""How a training ends that is told to: no half-written file stays, and a sentence is said."""

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Never

from mnist_sgd.cli.pictures import say
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

    def leave(number: int, frame: object) -> Never:
        ended.append(signal.Signals(number).name)
        sys.exit(128 + number)

    caught = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    before = {number: signal.signal(number, leave) for number in caught}
    try:
        yield
    except SystemExit:
        if ended:
            say(f"ended by {ended[0]}{_kept(args)}")
        raise
    except KeyboardInterrupt:
        if kept := _kept(args):
            say(kept.removeprefix("; "))
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _kept(args: argparse.Namespace) -> str:
    """The checkpoint that the same command goes on from."""
    path: Path = args.out / CHECKPOINT
    if not (args.checkpoint_every or args.resume) or not path.is_file():
        return ""
    return f"; {path} is there: the same command with --resume continues the training"
