"""The model that is served: its promotion, its history, and the inference server as a child.

    HOME/served/model.onnx       a copy of a training's model; replaced as a whole
    HOME/served/history.jsonl    a line for each promotion: from, to, when, how good
    HOME/served/serve.log        what the inference server prints

The file decides what is served: its SHA-256 tells the training. If a promotion was killed before
its line was written, the next start writes it. The server notices the new file by itself.

All methods but the constructor are for the event loop's thread.
"""

import asyncio
import hashlib
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from mnist_sgd._files import atomic_write, remove_leftovers
from mnist_sgd.report.folder import ARTIFACT, EVALUATION
from mnist_sgd.workbench.errors import Refusal
from mnist_sgd.workbench.states import State, read_json
from mnist_sgd.workbench.trainings import DATA, Trainings

PAUSE_SECONDS = 1.0
"""Before a server that has ended is started again; doubled each time, up to a minute."""

LONGEST_PAUSE = 60.0

KILL_SECONDS = 10.0

PROGRAM = """\
import os, signal, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: end with the service
if os.getppid() == int(sys.argv.pop(1)):
    from mnist_sgd_serve.command import main
    sys.exit(main(sys.argv[1:]))
"""


class Served:
    """What is served, and the server.

    Args:
        folder: of the served model.
        trainings: whose models may be served.
        host: the address for the server to listen on.
        port: its port.
        token: that its clients must send; None if there is none.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(
        self, folder: Path, trainings: Trainings, host: str, port: int, token: str | None = None
    ) -> None:
        self.folder = folder
        self.model = folder / ARTIFACT
        self.trainings = trainings
        self.host, self.port = host, port
        self._environment = os.environ | ({} if token is None else {"MNIST_SGD_TOKEN": token})
        self._history = folder / "history.jsonl"
        self._lock = asyncio.Lock()
        self._server: asyncio.Task[None] | None = None
        remove_leftovers(self.model)
        self._repair()

    def facts(self) -> dict[str, Any]:
        """What is served, for JSON: the training, since when, how good, and where."""
        history = self.history()
        last = history[-1] if self.model.exists() and history else None
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return {
            "training": None if last is None else last["to"],
            "since": None if last is None else last["time"],
            "accuracy": None if last is None else last["accuracy"],
            "sha256": None if last is None else last["sha256"],
            "address": None if last is None else f"http://{shown}:{self.port}/",
        }

    def history(self) -> list[dict[str, Any]]:
        """All promotions, the oldest first."""
        try:
            lines = self._history.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    def etag(self) -> str:
        """Tells one promotion from another."""
        return f'"{len(self.history())}"'

    async def promote(
        self, training: str, *, force: bool = False, expected: str | None = None
    ) -> None:
        """Serve the model of a training.

        Args:
            training: its name.
            force: even if the model is worse, or of other classes than the one that is served.
            expected: the `etag` that the caller has seen; None if that does not matter.

        Raises:
            Refusal: the training has no verified model, its model is worse, or another one has
                been promoted since.
            OSError: the model cannot be copied.
        """
        async with self._lock:
            self._check_expected(expected)
            content = self._verified(training)
            if not force and self.model.exists():
                await self._check_better(training)
            self._replace(training, content)
        self.start()

    async def roll_back(self, expected: str | None = None) -> None:
        """Serve again what was served before.

        Raises:
            Refusal: there is nothing before, or its training is gone.
            OSError: the model cannot be copied.
        """
        async with self._lock:
            self._check_expected(expected)
            earlier = next((each["from"] for each in self.history()[-1:]), None)
            if earlier is None:
                raise Refusal("nothing was served before", 409)
            self._replace(earlier, self._verified(earlier))

    def start(self) -> None:
        """Start the server, if there is a model and it does not run."""
        if self.model.exists() and (self._server is None or self._server.done()):
            self._server = asyncio.create_task(self._serve())

    async def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.cancel()
            await asyncio.gather(self._server, return_exceptions=True)

    def _check_expected(self, expected: str | None) -> None:
        if expected not in (None, "*", self.etag()):
            raise Refusal(f"{self.facts()['training']} has been promoted since", 412)

    def _verified(self, training: str) -> bytes:
        """The model of a training; it has its name only after it was compared with the network."""
        facts = self.trainings.facts(training)
        if facts["state"] not in (State.FINISHED, State.STOPPED):
            raise Refusal(
                f"{training} is {facts['state']}: only a training that has finished or was "
                "stopped has a verified model",
                409,
                facts["state"],
            )
        try:
            return (self.trainings.run(training) / ARTIFACT).read_bytes()
        except FileNotFoundError:
            raise Refusal(f"{training} has no model any more", 409, facts["state"]) from None

    async def _check_better(self, training: str) -> None:
        """Compare the new model with the served one on the new one's validation pictures."""
        run, request = self.trainings.run(training), self.trainings.request(training)
        data = (
            ["--dataset", "sample"]
            if request.set is None
            else ["--data", str(run / DATA / request.set)]
        )
        new = await _correct(run / ARTIFACT, data)
        old = await _correct(self.model, data)
        if old is None:
            raise Refusal(
                f"{self.facts()['training']}, which is served, is of other classes; replace it "
                "with force",
                409,
            )
        if new is None or new < old:
            raise Refusal(
                f"{training} classifies {new} of its validation pictures correctly, and "
                f"{self.facts()['training']}, which is served, {old}; replace it with force",
                409,
            )

    def _replace(self, training: str, content: bytes) -> None:
        before = self.facts()["training"]
        atomic_write(self.model, content)
        self._note(before, training, content)

    def _note(self, before: str | None, training: str | None, content: bytes) -> None:
        accuracy = None
        if training is not None:
            accuracy = read_json(self.trainings.run(training) / EVALUATION).get("accuracy")
        line = {
            "from": before,
            "to": training,
            "time": round(time.time(), 3),
            "accuracy": accuracy,
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        with open(self._history, "ab") as file:
            file.write(f"{json.dumps(line)}\n".encode())
            file.flush()
            os.fsync(file.fileno())

    def _repair(self) -> None:
        """Complete the history: cut half a line, and add a promotion that was killed before."""
        with suppress(FileNotFoundError):
            content = self._history.read_bytes()
            os.truncate(self._history, content.rfind(b"\n") + 1)
        if not self.model.exists():
            return
        content = self.model.read_bytes()
        digest, history = hashlib.sha256(content).hexdigest(), self.history()
        if history and history[-1]["sha256"] == digest:
            return
        self._note(history[-1]["to"] if history else None, self._training_of(content), content)

    def _training_of(self, content: bytes) -> str | None:
        """The newest training with this model."""
        for name in reversed(self.trainings.ids()):
            with suppress(OSError):
                if (self.trainings.run(name) / ARTIFACT).read_bytes() == content:
                    return name
        return None

    async def _serve(self) -> None:
        """Run the server, and start it again when it ends."""
        pause = PAUSE_SECONDS
        while True:
            began = time.monotonic()
            with open(self.folder / "serve.log", "ab") as log:
                server = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-c", PROGRAM, str(os.getpid()), str(self.model)),
                    *("--host", self.host, "--port", str(self.port), "--log", "json"),
                    stdin=asyncio.subprocess.DEVNULL,
                    env=self._environment,
                    stdout=log,
                    stderr=log,
                )
            try:
                await server.wait()
            except asyncio.CancelledError:
                with suppress(ProcessLookupError):
                    server.terminate()
                try:
                    await asyncio.wait_for(server.wait(), KILL_SECONDS)
                except TimeoutError:
                    server.kill()
                    await server.wait()
                raise
            if time.monotonic() - began > LONGEST_PAUSE:
                pause = PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


async def _correct(model: Path, data: list[str]) -> int | None:
    """How many validation pictures a model classifies correctly; None if it has other classes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mnist_sgd", "evaluate", str(model), *data, "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        return None
    confusion: list[list[int]] = json.loads(output)["confusion"]
    return sum(row[i] for i, row in enumerate(confusion))
