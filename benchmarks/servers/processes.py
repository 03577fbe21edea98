"""A server's processes: started in a folder of their own, watched, and ended to the last child."""

import http.client
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.machine import descendants

from servers.payloads import Body, Images
from servers.servers import Server

__all__ = ["Running", "StartError", "running"]

PATIENCE = 60.0
"""Seconds that a server may take to its first answer."""
GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""
POLL = 0.005
TOLERANCE = 1e-5
"""How far an answer may be from the expected probability; JSON rounds nothing away."""
NO_ANSWER = (OSError, http.client.HTTPException)
"""What shows that a server does not listen, does not answer or answers with an error."""


class StartError(RuntimeError):
    """A server did not start or answers wrongly; the message is one line."""


@dataclass
class Running:
    """A server that has given its first answer.

    Attributes:
        server: which.
        port: it listens on at 127.0.0.1.
        process: that was started.
        log: what it prints.
        started_in: seconds from its start to its first right answer.
    """

    server: Server
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    started_in: float = 0.0

    def check(self, images: Images, expected: list[float]) -> None:
        """Ask for images once.

        Raises:
            StartError: the answer is wrong or missing.
        """
        try:
            self._compare(images, expected)
        except NO_ANSWER as error:
            raise StartError(f"no answer for {len(images)} images: {error}") from error

    def _compare(self, images: Images, expected: list[float]) -> None:
        body = self.server.payload.write(images)
        content, headers = self._post(body)
        if self.server.empty:
            if content != b"%d" % len(body.content):
                raise StartError(f"it was sent {len(body.content)} bytes, answered {content!r}")
            return
        try:
            given = self.server.payload.read(content, headers)
        except (ValueError, LookupError) as error:
            raise StartError(f"the answer {content[:60]!r} cannot be read") from error
        if len(given) != len(expected) or any(
            abs(one - other) > TOLERANCE for one, other in zip(given, expected, strict=True)
        ):
            raise StartError(f"wrong answer: {given[:3]}... instead of {expected[:3]}...")

    def _post(self, body: Body) -> tuple[bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("POST", self.server.path, body.content, dict(body.headers))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise http.client.HTTPException(f"{answer.status} {content[:150]!r}")
        return content, {name.lower(): value for name, value in answer.getheaders()}

    def wait(self, image: Images, expected: list[float]) -> None:
        """Ask for one image until there is an answer.

        Raises:
            StartError: it is wrong or does not come.
        """
        start = time.perf_counter()
        last = ""  # what is wrong so far
        while True:
            try:
                self._compare(image, expected)
                break
            except NO_ANSWER as error:
                last = str(error)
            code = self.process.poll()
            if code is not None:
                raise StartError(f"it ended with code {code}: {self._last_line()}")
            if time.perf_counter() - start > PATIENCE:
                raise StartError(
                    f"no answer within {PATIENCE:g} s but {last}; it said: {self._last_line()}"
                )
            time.sleep(POLL)
        self.started_in = time.perf_counter() - start

    def _last_line(self) -> str:
        lines = self.log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


@contextmanager
def running(
    server: Server, peers: Path | None, model: Path, images: Images, expected: list[float]
) -> Iterator[Running]:
    """Start a server, have it answer for one image and for all, and end it afterwards.

    Raises:
        FileNotFoundError: it is not installed.
        StartError: it does not start or answers wrongly.
    """
    with tempfile.TemporaryDirectory(prefix="serving", ignore_cleanup_errors=True) as folder:
        port = _free_port()
        log = Path(folder, "log")
        # Peers keep state in the home folder; this one is thrown away with the rest.
        own = {"HOME": folder, "MODEL": str(model), "PORT": str(port)}
        with log.open("wb") as output:
            process = subprocess.Popen(
                server.command(peers, model, port),
                cwd=folder,
                env={**os.environ, **own},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            one = Running(server, port, process, log)
            one.wait(images[:1], expected[:1])
            one.check(images, expected)
            yield one
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask for an orderly end, then kill what is left of the tree."""
    tree = descendants(process.pid)
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in tree[1:]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # as it should be


def _free_port() -> int:
    """A free port with two free ones after it, which some servers want besides.

    Below the ports that Linux gives to clients: whoever asks often enough at one of those, while
    nobody listens, is in the end connected with himself.
    """
    while True:
        port = random.randrange(20_000, 30_000)
        if all(_is_free(port + step) for step in range(3)):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
