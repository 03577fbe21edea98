"""A real server process of the package, and raw sockets to talk to it byte by byte.

    with running(model) as server:
        assert server.get("/v2/health/live").json == {"live": True}
        with server.connect() as client:
            client.send(b"nonsense")
            assert client.reply().status == 400
            assert client.rest() == b""  # the server has closed

The server writes to a file that has no name, so nothing is left behind. At the end it is stopped by
SIGTERM and must end with code 0; who wants another end uses `launch`.
"""

import fcntl
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from waiting import PATIENCE, wait_until

__all__ = [
    "INFER",
    "RAW",
    "Client",
    "Reply",
    "Server",
    "launch",
    "message",
    "reserved_port",
    "running",
    "stopped",
]

INFER = "/v2/models/mnist_sgd/infer"

RUNNING = {"--shutdown-delay": 0} | dict.fromkeys(
    (
        "--queue-timeout",
        "--header-timeout",
        "--body-timeout",
        "--keep-alive-timeout",
        "--write-timeout",
    ),
    3600,
)
"""The deadlines of a server whose test is of something else."""

RAW = {"Inference-Header-Content-Length": "0"}
"""The header that says that a body is images and nothing else."""

_INNER = re.compile(r'Traceback|File "|\.py\b|\.onnx|site-packages|0x[0-9a-f]{6}|/tmp/|/home/')
"""What no answer may show."""


@dataclass(frozen=True)
class Reply:
    """One answer: its status, its headers by name in lower case, its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which must say that it is JSON."""
        assert self.headers["content-type"] == "application/json", self.headers
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The message of an answer that must be an error and nothing else."""
        document = self.json
        assert self.status >= 400
        assert list(document) == ["error"]
        text: str = document["error"]
        return text


def message(
    method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    """The bytes of a request; Host and Content-Length are given unless `headers` has them."""
    named = {"Host": "test", "Content-Length": str(len(body))} | dict(headers or {})
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Client:
    """A connection that sends what it is told and reads answers one by one."""

    def __init__(self, host: str, port: int, timeout: float = PATIENCE) -> None:
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def wait_until_delivered(self) -> None:
        """Wait until all that was sent lies in the server's socket, though nobody reads it."""

        def nothing_is_under_way() -> bool:
            count = fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4))
            return count == bytes(4)

        wait_until(nothing_is_under_way)

    def leave_at_once(self) -> None:
        """Leave behind what was sent: the server has both in its socket when this returns."""
        self.socket.shutdown(socket.SHUT_WR)
        self.wait_until_delivered()
        self.close()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request and read its answer."""
        self.send(message(method, path, body, headers))
        return self.reply(head_only=method == "HEAD")

    def reply(self, *, head_only: bool = False) -> Reply:
        """Read the next answer, interim ones (100) included.

        Raises:
            ConnectionError: there is none, the server has closed.
        """
        line = self.file.readline()
        if not line:
            raise ConnectionError("the server closed without an answer")
        version, status, _ = line.split(b" ", 2)
        assert version == b"HTTP/1.1", line
        headers = {
            name.lower(): value for name, value in http.client.parse_headers(self.file).items()
        }
        bare = head_only or int(status) in (100, 204, 304)
        body = b"" if bare else self.file.read(int(headers["content-length"]))
        return Reply(int(status), headers, body)

    def rest(self) -> bytes:
        """Everything until the server closes the connection, which it must."""
        try:
            return self.file.read()
        except ConnectionResetError:
            return b""

    def close(self) -> None:
        """Leave."""
        self.file.close()
        self.socket.close()


class Server:
    """A server process."""

    def __init__(self, process: "subprocess.Popen[bytes]", output: Any) -> None:
        self.process = process
        self.pid = process.pid
        self.output = output
        self.address = ""
        self.host = ""
        self.port = 0

    @property
    def log(self) -> str:
        """All that the process has written, to standard error and output."""
        descriptor = self.output.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode()

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """The events in the log, or those of this name."""
        lines = (line for line in self.log.splitlines(keepends=True) if line.endswith("}\n"))
        events = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in events if name in (None, event["event"])]

    def wait_for(self, name: str, number: int = 1) -> dict[str, Any]:
        """Wait until the log has so many events of a name, and give the last of them."""

        def enough() -> list[dict[str, Any]]:
            ended = self.process.poll() is not None  # asked first: it may write as it ends
            found = self.events(name)
            if len(found) >= number:
                return found
            assert not ended, f"it ended with code {self.process.returncode}:\n{self.log}"
            return []

        return wait_until(enough, lambda: f"no event {name!r}:\n{self.log}")[number - 1]

    def wait_until_ready(self) -> None:
        """Wait until it is ready, and learn its address."""
        self.address = self.wait_for("ready")["address"]
        parts = urlsplit(self.address)
        self.host, self.port = str(parts.hostname), int(parts.port or 0)

    def connect(self, timeout: float = PATIENCE) -> Client:
        """Open a connection."""
        return Client(self.host, self.port, timeout)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """The answer to a request, over a connection of its own."""
        with self.connect() as client:
            return client.ask(method, path, body, headers)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        """The answer to GET."""
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        """The answer to POST."""
        return self.ask("POST", path, body, headers)

    def check_refusal(self, reply: Reply, status: int, text: str) -> None:
        """Check an error: its status, a part of its message, and that it gives nothing away.

        The next good request must be answered.
        """
        assert (reply.status, text in reply.error) == (status, True), (reply, text)
        assert not _INNER.search(reply.error), reply
        assert len(reply.error) < 400
        self.check_good()

    def check_good(self) -> None:
        """Check that a good request is answered."""
        answer = self.post(INFER, bytes(784), RAW)
        assert answer.status == 200, answer

    def metric(self, series: str) -> float:
        """What /metrics says of a series, named with its labels; 0 where it is not shown."""
        for line in self.get("/metrics").body.decode().splitlines():
            name, _, value = line.rpartition(" ")
            if name == series:
                return float(value)
        return 0.0

    def memory(self) -> int:
        """Bytes of the process's memory that are resident."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    @contextmanager
    def watched_memory(self, *others: int) -> Iterator[Callable[[], int]]:
        """Watch the memory of the process, and of others of it, none of which may end meanwhile.

        Gives how many bytes more than at first they had at most, their peaks added up.
        """
        processes = [self.pid, *others]
        for process in processes:
            Path(f"/proc/{process}/clear_refs").write_text("5")  # the peak is what it has now
        before = sum(map(_peak_memory, processes))
        yield lambda: sum(map(_peak_memory, processes)) - before

    def decoders(self, worker: int | None = None) -> list[int]:
        """The processes that read pictures: of the server, or of one of its workers."""
        children = Path(f"/proc/{worker or self.pid}/task").glob("*/children")
        return [int(pid) for task in children for pid in task.read_text().split()]

    def ready_decoders(self, count: int = 3, worker: int | None = None) -> list[int]:
        """Those processes when there are so many, all of which have started."""

        def all_ready() -> list[int]:
            found = self.decoders(worker)
            return found if len(found) == count and all(map(_is_ready, found)) else []

        return wait_until(all_ready, lambda: f"{self.decoders(worker)}:\n{self.log}")

    def processor_seconds(self) -> float:
        """Seconds of processor time that the process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def state(self) -> str:
        """What the process does, in a letter: R it runs, S it sleeps, T it is stopped."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def descriptors(self) -> int:
        """How many files and sockets the process has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def wait_for_descriptors(self, most: int) -> None:
        """Wait until the process has at most so many open: it sees a client's end a bit later."""
        wait_until(
            lambda: self.descriptors() <= most,
            lambda: f"{self.descriptors()} files and sockets are open, not {most}",
        )

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and give the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def _is_ready(decoder: int) -> bool:
    """Whether a process that reads pictures has started: its last step is to limit its memory."""
    try:
        limits = Path(f"/proc/{decoder}/limits").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    _, _, rest = limits.partition("Max address space")
    return bool(rest) and rest.split()[0] != "unlimited"


def _peak_memory(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """Stop a server's process; what is sent meanwhile it finds all at once."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: server.state() == "T")
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@contextmanager
def reserved_port(number: int = 0) -> Iterator[int]:
    """A port that a server may listen on, and that nobody else is given meanwhile.

    It is bound here, but nobody listens: Linux then lets another socket have it that asks for this
    very number and to share it, with SO_REUSEADDR as HTTP servers do or SO_REUSEPORT as gRPC does.

    Args:
        number: of the port; any that is free if it is 0.
    """
    with socket.socket() as holder:
        for share in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            holder.setsockopt(socket.SOL_SOCKET, share, 1)
        holder.bind(("127.0.0.1", number))
        port: int = holder.getsockname()[1]
        yield port


@contextmanager
def launch(
    model: str | os.PathLike[str],
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    program: Sequence[str] = ("-m", "mnist_sgd_serve"),
) -> Iterator[Server]:
    """Start a server, not yet ready; at the end it is killed if it still runs.

    Args:
        model: the artifact's file.
        arguments: more of the command line. The port is a free one unless they have --port.
        environment: all of the process's environment in place of this one's.
        folder: to start in.
        program: what Python runs: the package, or a script that does so.
    """
    variables = dict(os.environ if environment is None else environment)
    if "PYTHONPATH" in os.environ:  # relative to here, and to be found from everywhere
        paths = os.environ["PYTHONPATH"].split(os.pathsep)
        variables["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, paths))
    command = [sys.executable, *program, os.fspath(model), *arguments]
    if "--port" not in arguments:
        command += ["--port", "0"]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, env=variables)
        try:
            yield Server(process, output)
        finally:
            process.kill()
            process.wait()


@contextmanager
def running(
    model: str | os.PathLike[str],
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Iterator[Server]:
    """Run a server that is ready, and stop it by SIGTERM: it must end with code 0.

    It does not wait before it stops listening, and it waits an hour for its clients and lets them
    wait as long, unless the arguments say otherwise: a test may be kept from running for seconds.
    """
    given = {argument.partition("=")[0] for argument in arguments}
    for name, seconds in RUNNING.items():
        if name not in given:
            arguments = (*arguments, f"{name}={seconds}")
    with launch(model, *arguments, environment=environment, folder=folder) as server:
        server.wait_until_ready()
        yield server
        assert server.stop() == 0, server.log
