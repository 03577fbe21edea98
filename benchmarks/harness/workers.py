"""Worker processes that take turns: each works when it is asked to, and sleeps meanwhile."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Worker", "WorkerError", "working"]

BENCHMARKS = Path(__file__).parent.parent


class WorkerError(RuntimeError):
    """A contender cannot be run; the message is one line."""


@dataclass
class Worker:
    """A process that answers with `harness.answers`; what it prints goes to a log."""

    process: subprocess.Popen[str]
    log: Path

    def ask(self, question: object) -> Any:
        """Ask, and wait for the answer; both are what JSON can say.

        Raises:
            WorkerError: the process has ended.
        """
        if self.process.stdin is None or self.process.stdout is None:
            raise WorkerError("its pipes are closed")
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the log says why
        line = self.process.stdout.readline()
        if not line:
            lines = self.log.read_text(errors="replace").strip().split("\n")
            raise WorkerError(f"it ended with code {self.process.wait()}: {lines[-1]}")
        return json.loads(line)


@contextmanager
def working(
    python: Path, script: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> Iterator[Worker]:
    """Start a worker in an empty folder, which is its home too, and end it afterwards.

    Args:
        python: the interpreter.
        script: which serves with `harness.answers`.
        arguments: of the script.
        env: variables of the environment, besides this one's.
    """
    command: Sequence[str] = [str(python), str(script), *arguments]
    with tempfile.TemporaryDirectory(prefix="benchmark", ignore_cleanup_errors=True) as folder:
        log = Path(folder, "log")
        path = os.pathsep.join(filter(None, [str(BENCHMARKS), os.environ.get("PYTHONPATH")]))
        own = {"HOME": folder, "PYTHONPATH": path}  # frameworks keep settings and caches at home
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **own, **(env or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
        try:
            with process:
                yield Worker(process, log)
        finally:
            process.kill()
