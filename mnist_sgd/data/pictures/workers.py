"""Other Python processes that call a function on what they are sent.

They run this package alone and never import the program that uses it. `multiprocessing` does: it
needs `if __name__ == "__main__":` in that program, a file to import it from, and its help in a
frozen one. A script that loads pictures at its top level works here like any other program.

A process ends when its standard input does, and so with its parent, however that ends.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.spawn import get_executable
from queue import SimpleQueue
from types import TracebackType
from typing import Any, BinaryIO, Generic, Self, TypeVar

__all__ = ["Workers", "available"]

T = TypeVar("T")
R = TypeVar("R")

_PROGRAM = """\
import sys, pickle
sys.path[:] = pickle.load(sys.stdin.buffer)
from mnist_sgd.data.pictures.workers import serve
serve()
"""


def available() -> bool:
    """Whether other processes can be had: a frozen program has no Python to start them with."""
    return bool(get_executable()) and not getattr(sys, "frozen", False)


class Workers(Generic[T, R]):
    """Processes that each call `function`, which pickles by its name, on one item at a time.

        with Workers(3, function) as workers:
            future = workers.submit(item)

    At the end of the block every item has been worked on; after an exception in it the processes
    are killed.

    Args:
        count: of the processes, at least 1.
        function: takes an item and gives its result.

    Raises:
        RuntimeError: a process cannot be started.
    """

    def __init__(self, count: int, function: Callable[[T], R]) -> None:
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._all: list[_Worker] = []
        try:
            for _ in range(count):
                self._all.append(_Worker(function))
                self._idle.put(self._all[-1])
        except OSError as error:
            self._kill()
            raise RuntimeError(
                f"process {len(self._all) + 1} of {count} could not be started "
                f"({error.strerror}); choose fewer workers"
            ) from error
        self._threads = ThreadPoolExecutor(count)  # each waits for one process

    def __enter__(self) -> Self:
        """Give the workers themselves."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for the processes to finish, or after an exception kill them."""
        if error is not None:
            self._kill()
        self._threads.shutdown(cancel_futures=error is not None)
        for worker in self._all:
            worker.close()

    def submit(self, item: T) -> Future[R]:
        """Have the next free process work on an item.

        Returns:
            A future with the result. It has the exception that the function raised, or RuntimeError
            if the process was killed.
        """
        return self._threads.submit(self._call, item)

    def _call(self, item: T) -> R:
        worker = self._idle.get()
        try:
            result: R = worker(item)
        finally:
            self._idle.put(worker)
        return result

    def _kill(self) -> None:
        for worker in self._all:
            worker.process.kill()


class _Worker:
    """One of the processes."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        line = [os.fsdecode(get_executable()), "-P", "-c", _PROGRAM]
        with _interrupts_held():
            self.process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._requests, self._answers = self.process.stdin, self.process.stdout
        self._pending: list[object] = [sys.path, function]

    def __call__(self, item: object) -> Any:
        try:
            for value in (*self._pending, item):
                pickle.dump(value, self._requests)
            self._pending = []
            self._requests.flush()
            result, error = pickle.load(self._answers)
        except (EOFError, OSError) as broken:
            raise RuntimeError(
                f"one of the other processes ended too early (exit code {self.process.wait()})"
            ) from broken
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """Let the process end, and wait for it."""
        with suppress(OSError):  # it has ended, and what was not sent cannot be
            self._requests.close()
        self._answers.close()
        self.process.wait()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start a process that Ctrl-C does not reach: it is for the parent to say what follows."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows; `serve` ignores it there as well
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve() -> None:
    """Be such a process: read the function, then items, and write their results."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = sys.stdin.buffer, _standard_output()
    function = pickle.load(requests)
    while True:
        try:
            item = pickle.load(requests)
        except EOFError:
            return
        answer: tuple[Any, Exception | None]
        try:
            answer = function(item), None
        except Exception as error:
            answer = None, _portable(error)
        try:
            pickle.dump(answer, answers)
            answers.flush()
        except BrokenPipeError:  # the parent is gone
            os._exit(1)


def _standard_output() -> BinaryIO:
    """Keep standard output for the results: what anything else prints there is lost."""
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)
    return answers


def _portable(error: Exception) -> Exception:
    """The exception, or one that tells of it if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception class's own __reduce__ or __init__ may raise anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
