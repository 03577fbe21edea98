"""Ending a training by a signal: no half-written file stays, and a message says how to resume."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Never

from mnist_sgd.cli.terminal import say
from mnist_sgd.cli.training.config import TrainConfig
from mnist_sgd.report.folder import CHECKPOINT

_SIGNALS = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None))]
"""Signals that end the process at once; Python makes Ctrl-C an exception by itself."""


@contextmanager
def leaving_on_signals(config: TrainConfig) -> Iterator[None]:
    """Let signals end the command as an exception does, and name the checkpoint to resume from.

    A signal that is ignored, as SIGHUP is under nohup, stays so.
    """
    ended: list[str] = []
    earlier = _written(config)

    def leave(number: int, frame: object) -> Never:
        ended.append(signal.Signals(number).name)
        sys.exit(128 + number)

    caught = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    before = {number: signal.signal(number, leave) for number in caught}
    try:
        yield
    except SystemExit:
        if ended:
            say(f"ended by {ended[0]}{_kept(config, earlier)}")
        raise
    except KeyboardInterrupt:
        if kept := _kept(config, earlier):
            say(kept.removeprefix("; "))
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _kept(config: TrainConfig, earlier: int | None) -> str:
    """Name the checkpoint that the same command can resume from, this training's or an earlier."""
    written = _written(config)
    options = config.checkpoints
    if written is None or not (options.resume or (options.checkpoint_every and written != earlier)):
        return ""
    how = " instead of --overwrite" if config.output.overwrite else ""
    path = config.output.out / CHECKPOINT
    return f"; {path} exists: the same command with --resume{how} continues the training"


def _written(config: TrainConfig) -> int | None:
    """When the checkpoint was written, in nanoseconds; None if there is none."""
    path = config.output.out / CHECKPOINT
    return path.stat().st_mtime_ns if path.is_file() else None
