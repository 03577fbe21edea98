"""Runs the trainings: a queue, a warm process for the next one, and what happens when one dies.

All methods are for the event loop's thread. The files of the runs decide; after a restart of the
service, trainings that still run are watched, and all others that have not ended are queued again
and continue from their checkpoints.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mnist_sgd._lock import is_locked
from mnist_sgd.report.folder import STOP
from mnist_sgd.workbench.errors import Refusal
from mnist_sgd.workbench.states import (
    CANCEL,
    ENDED,
    LOCK,
    MAX_ATTEMPTS,
    State,
    attempts,
    attempts_in_vain,
    check_allowed,
    state_of,
)
from mnist_sgd.workbench.trainings import Trainings

CHECKPOINT_EVERY = 100
"""Batches between two checkpoints, in addition to one after each epoch."""

WATCH_SECONDS = 0.2
"""Between two looks at a training that another service has started."""

KILL_SECONDS = 5.0
"""How long a cancelled process may take to end before it is killed."""


class Runner:
    """Runs the queued trainings, `jobs` at a time.

    Args:
        trainings: the trainings of the home.
        jobs: how many run at once, at least 1.
        changed: called with a training whose state has changed.
    """

    def __init__(
        self, trainings: Trainings, jobs: int, changed: Callable[[str], None] = lambda _: None
    ) -> None:
        self.trainings = trainings
        self.jobs = jobs
        self.changed = changed
        self.queue: list[str] = []
        self._running: dict[str, asyncio.Task[None]] = {}
        self._warm: asyncio.subprocess.Process | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._false_starts: Counter[str] = Counter()  # processes that died before they had the run

    def start(self) -> None:
        """Watch what still runs, queue all else that has not ended, and begin."""
        for name in self.trainings.ids():
            run = self.trainings.run(name)
            state = state_of(run)
            if state in ENDED:
                continue
            if state is State.RUNNING:
                self._running[name] = asyncio.create_task(self._watch(name))
            elif (run / CANCEL).exists():
                self._cancelled(name)
            else:
                self.queue.append(name)
        self._pump()

    async def close(self) -> None:
        """Stop watching; what is being trained goes on, and the next service finds it."""
        self._closing = True
        for name, task in self._running.items():
            if state_of(self.trainings.run(name)) not in ENDED:  # else its process is about to exit
                task.cancel()
        await asyncio.gather(*self._running.values(), *self._tasks, return_exceptions=True)
        if self._warm is not None:
            self._warm.kill()
            await self._warm.wait()

    def state(self, name: str) -> State:
        """The state of a training; one that was interrupted and waits again is queued."""
        state = state_of(self.trainings.run(name))
        if name in self.queue and state is State.INTERRUPTED:
            return State.QUEUED
        if name in self._running and state in (State.QUEUED, State.INTERRUPTED):
            return State.RUNNING
        return state

    def submit(self, name: str) -> None:
        """Queue a training that was created."""
        self.queue.append(name)
        self.changed(name)
        self._pump()

    def stop(self, name: str) -> None:
        """Ask a training to end now and to keep its weights; a second time does nothing.

        Raises:
            Refusal: it has not begun, or has no weights to keep.
            OSError: the wish cannot be written.
        """
        check_allowed("stop", self.state(name))
        run = self.trainings.run(name)
        if state_of(run) not in ENDED:
            (run / STOP).touch()
            self.changed(name)

    async def cancel(self, name: str) -> None:
        """End a training and discard its weights; a second time does nothing.

        Raises:
            Refusal: it has ended.
            OSError: the wish cannot be written.
        """
        check_allowed("cancel", self.state(name))
        run = self.trainings.run(name)
        if state_of(run) is State.CANCELLED:
            return
        (run / CANCEL).touch()
        if name in self.queue:
            self.queue.remove(name)
        task = self._running.get(name)
        if task is None:
            self._cancelled(name)
            return
        told, deadline = False, time.monotonic() + KILL_SECONDS
        while not task.done():
            if not told:  # the process may be about to take the run
                told = _signal(run, signal.SIGTERM)
            elif time.monotonic() > deadline:
                _signal(run, signal.SIGKILL)
            await asyncio.wait([task], timeout=WATCH_SECONDS)

    async def resume(self, name: str) -> None:
        """Continue a training that was stopped or has failed; one that runs goes on.

        Raises:
            Refusal: it has finished, or was cancelled.
            OSError: a file cannot be deleted.
        """
        check_allowed("resume", self.state(name))
        while name in self._running and state_of(self.trainings.run(name)) in ENDED:
            await asyncio.wait([self._running[name]])  # its process is about to exit
        if state_of(self.trainings.run(name)) in ENDED:
            self.trainings.again(name)
            self._false_starts.pop(name, None)
            self.submit(name)

    def running(self) -> list[str]:
        """The trainings that run."""
        return list(self._running)

    def place(self, name: str) -> int | None:
        """The number of trainings before a queued one, None if it is not queued."""
        return self.queue.index(name) if name in self.queue else None

    def _pump(self) -> None:
        """Begin as many queued trainings as may run."""
        while self.queue and len(self._running) < self.jobs and not self._closing:
            name = self.queue.pop(0)
            self._running[name] = asyncio.create_task(self._train(name))
        if self._warm is None and not self._closing and len(self._running) < self.jobs:
            self._spawn_later()

    def _spawn_later(self) -> None:
        async def spawn() -> None:
            if self._warm is None:
                self._warm = await _worker()

        self._keep(asyncio.create_task(spawn()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _train(self, name: str) -> None:
        """Run a training in a process, to its end."""
        try:
            run = self.trainings.run(name)
            deaths = max(attempts_in_vain(run), self._false_starts[name])
            if deaths >= MAX_ATTEMPTS:
                reason = f"its process has died {deaths} times without getting on; see train.log"
                self.trainings.end(name, State.FAILED, reason)
                return
            data = await asyncio.to_thread(self.trainings.prepare, name)
            worker, self._warm = self._warm, None
            if worker is None or worker.returncode is not None:
                worker = await _worker()
            self.changed(name)
            if not await _hand_over(worker, run, self._arguments(name, data)):
                self._false_starts[name] += 1
            await worker.wait()
        except (Refusal, OSError) as error:
            self.trainings.end(name, State.FAILED, str(error))
        except Exception as error:  # else it would be tried for ever
            logging.exception("the training %s", name)
            self.trainings.end(name, State.FAILED, f"the service failed: {error!r}")
        finally:
            if not self._closing:
                self._settle(name)

    async def _watch(self, name: str) -> None:
        """Wait for the end of a training whose process is not this service's."""
        lock = self.trainings.run(name) / LOCK
        while is_locked(lock):
            await asyncio.sleep(WATCH_SECONDS)
        self._settle(name)

    def _settle(self, name: str) -> None:
        """See how a training's process has ended: queue it again if it just died."""
        self._running.pop(name, None)
        run = self.trainings.run(name)
        if state_of(run) not in ENDED:
            if (run / CANCEL).exists():
                self._cancelled(name)
            elif not is_locked(run / LOCK):
                if name not in self.queue:
                    self.queue.insert(0, name)
            else:  # another process has it
                self._running[name] = asyncio.create_task(self._watch(name))
        elif state_of(run) is not State.CANCELLED:
            (run / CANCEL).unlink(missing_ok=True)  # it came too late
        self.changed(name)
        self._pump()

    def _cancelled(self, name: str) -> None:
        self.trainings.discard(name)
        self.trainings.end(name, State.CANCELLED)
        self.changed(name)

    def _arguments(self, name: str, data: Path | None) -> list[str]:
        request = self.trainings.request(name)
        home = self.trainings.folder.parent
        given = [] if data is None else ["--data", str(data.relative_to(home))]
        return [
            *given,
            *request.arguments(),
            *("--run", name, "--resume", f"--checkpoint-every={CHECKPOINT_EVERY}"),
        ]


async def _worker() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mnist_sgd.workbench.worker"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )


async def _hand_over(worker: asyncio.subprocess.Process, run: Path, arguments: list[str]) -> bool:
    """Give a training to a worker; return False if the worker died before it had the run."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    task = {"run": str(run), "cwd": str(run.parent.parent), "arguments": arguments}
    with suppress(ConnectionError):
        worker.stdin.write(f"{json.dumps(task)}\n".encode())
        await worker.stdin.drain()
    while answer := await worker.stdout.readline():
        if answer in (b"started\n", b"busy\n"):
            return True
    return False


def _signal(run: Path, number: signal.Signals) -> bool:
    """Send a signal to the processes that hold a run's lock; return whether there were any."""
    started = attempts(run)
    if not (started and is_locked(run / LOCK)):  # the process may just have taken the run
        return False
    with suppress(ProcessLookupError):
        os.killpg(started[-1]["process"], number)
    return True
