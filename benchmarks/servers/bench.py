"""One server's turn: started, checked, loaded, ended; what is measured meanwhile is a `Turn`."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from harness.machine import busy, cpu_seconds, megabytes

from mnist_sgd import mnist_sample
from mnist_sgd_serve import Predictor
from servers.load import wrk
from servers.payloads import Images
from servers.processes import Running, running
from servers.report import Turn
from servers.servers import APPLICATIONS, Server

__all__ = ["Bench"]

CONNECTIONS = (1, 16, 64)
BATCH = 256
BATCH_CONNECTIONS = 16
WARM_UP_SECONDS = 1


class Bench:
    """Measures servers.

    Args:
        model: the artifact.
        peers: the folder of `--install`, or None.
        seconds: of each measurement.

    Raises:
        ArtifactError: the model cannot be used.
    """

    def __init__(self, model: Path, peers: Path | None, seconds: int) -> None:
        self.model = model.absolute()
        self.peers = peers
        self.seconds = seconds
        self.images = _digits()
        self.expected = [float(p) for p in Predictor(self.model).probabilities(self.images)]

    def turn(self, server: Server) -> Turn:
        """Take one turn with a server.

        Raises:
            FileNotFoundError: it is not installed.
            StartError: it does not start, or answers wrongly.
            RuntimeError: wrk failed.
        """
        turn = {"others": busy()}
        single = self.images[:1]
        with running(server, self.peers, self.model, self.images, self.expected) as started:
            turn["start"] = started.started_in
            self._load(started, single, 16, WARM_UP_SECONDS)
            for connections in CONNECTIONS:
                measured = self._load(started, single, connections, self.seconds)
                turn |= {f"{key}_{connections}": value for key, value in measured.items()}
            self._load(started, self.images, BATCH_CONNECTIONS, WARM_UP_SECONDS)
            measured = self._load(started, self.images, BATCH_CONNECTIONS, self.seconds)
            turn |= {f"{key}_batch": value for key, value in measured.items()}
            turn["images"] = BATCH * turn["rate_batch"]
            turn["megabytes"], turn["processes"] = megabytes(started.process.pid)
        turn["failed"] = sum(value for key, value in turn.items() if key.startswith("failed_"))
        return turn

    def loop(self) -> Turn:
        """What the model alone takes, without any server."""
        others = busy()
        command = [sys.executable, str(APPLICATIONS / "loop.py")]
        environment = {**os.environ, "MODEL": str(self.model)}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        said = json.loads(done.stdout)
        return {"others": others, "rate_1": said["one"], "images": said["batch"]}

    def _load(
        self, started: Running, images: Images, connections: int, seconds: int
    ) -> dict[str, float]:
        """Load a server; `cpu` is the microseconds of processor time it took for an answer."""
        server, pid = started.server, started.process.pid
        body = server.payload.write(images)
        url = f"http://127.0.0.1:{started.port}{server.path}"
        used = cpu_seconds(pid)
        with tempfile.NamedTemporaryFile() as file:
            load = wrk(url, body, Path(file.name), connections=connections, seconds=seconds)
        used = cpu_seconds(pid) - used
        return {**dataclasses.asdict(load), "cpu": 1e6 * used / max(1, load.answers)}


def _digits() -> Images:
    """256 digits of both classes from the bundled sample; black is the shortest number in JSON."""
    _, valid = mnist_sample()
    return np.ascontiguousarray(valid.images[:: len(valid.images) // BATCH][:BATCH])
