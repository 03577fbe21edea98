"""A process pool that never imports the calling program.

`multiprocessing` imports it, and so needs `if __name__ == "__main__":` there, a file to import, and
support in a frozen program. Here a script may load pictures at its top level.

A worker ends when its standard input closes, and so with its parent, however that ends.
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

T = TypeVar("T")
R = TypeVar("R")

_PROGRAM = """\
import sys, pickle
sys.path[:] = pickle.load(sys.stdin.buffer)
from mnist_sgd.data.pictures.workers import serve
serve()
"""


def available() -> bool:
    """Tell whether workers can be started: a frozen program has no Python interpreter."""
    return bool(get_executable()) and not getattr(sys, "frozen", False)


class Workers(Generic[T, R]):
    """Processes that each call `function` on one item at a time.

        with Workers(3, function) as workers:
            future = workers.submit(item)

    The end of the block waits for all items; an exception in it kills the processes.

    Args:
        count: number of processes, at least 1.
        function: maps an item to its result; picklable.

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
        """Return the pool itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for the processes, or kill them after an exception."""
        if error is not None:
            self._kill()
        self._threads.shutdown(cancel_futures=error is not None)
        for worker in self._all:
            worker.close()

    def submit(self, item: T) -> Future[R]:
        """Give an item to the next free process.

        Returns:
            A future of the result; or of the function's exception, or of a RuntimeError if the
            process was killed.
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
        with _sigint_blocked():
            self.process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._requests, self._responses = self.process.stdin, self.process.stdout
        self._pending: list[object] = [sys.path, function]

    def __call__(self, item: object) -> Any:
        try:
            for value in (*self._pending, item):
                pickle.dump(value, self._requests)
            self._pending = []
            self._requests.flush()
            result, error = pickle.load(self._responses)
        except (EOFError, OSError) as broken:
            raise RuntimeError(
                f"a worker process died (exit code {self.process.wait()})"
            ) from broken
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """Close its input, and wait for the process to end."""
        with suppress(OSError):  # unsent bytes of a process that has ended
            self._requests.close()
        self._responses.close()
        self.process.wait()


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Start a process with SIGINT blocked: Ctrl-C is handled by the parent."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows; `serve` ignores SIGINT there as well
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve() -> None:
    """Run a worker: read the function, then items, and write their results."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, responses = sys.stdin.buffer, _standard_output()
    function = pickle.load(requests)
    while True:
        try:
            item = pickle.load(requests)
        except EOFError:
            return
        response: tuple[Any, Exception | None]
        try:
            response = function(item), None
        except Exception as error:
            response = None, _picklable(error)
        try:
            pickle.dump(response, responses)
            responses.flush()
        except BrokenPipeError:  # the parent is gone
            os._exit(1)


def _standard_output() -> BinaryIO:
    """Reserve standard output for the results; anything else printed there is discarded."""
    responses = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
    return responses


def _picklable(error: Exception) -> Exception:
    """Return the exception, or one with its text if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception class's own __reduce__ or __init__ may raise anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
