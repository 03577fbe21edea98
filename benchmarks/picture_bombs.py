"""What a server spends on pictures that are built to cost time or memory, one request each.

    python benchmarks/picture_bombs.py MODEL [--only TEXT] [--json FILE] [--before FILE]

For each picture of tests/support/picture_bombs.py a server is started with all its limits at their
defaults, and warmed up with a small picture; then the bomb is sent. The row has the bytes that were
sent, the status, and of the server and all its processes together the processor time until all is
quiet again, the replacement of a process included, and by how much the sum of their peaks of memory
exceeds what they had before. --json keeps the figures, --before shows those of an earlier run, such
as of an older version that PYTHONPATH names. On a busy machine many a picture is not
read by the deadline of 2 s; --deadline sets another. Linux only.
"""

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Thread

from harness.machine import descendants

sys.path.insert(0, os.fspath(Path(__file__).parents[1] / "tests" / "support"))
from picture_bombs import BOMBS, Bomb, drawn, picture

MIB = 2**20
PATIENCE = 600
"""Seconds for an answer."""

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Row:
    """What a bomb cost: bytes sent, status (0 for none in time), processor seconds, MiB."""

    name: str
    sent: int
    status: int
    seconds: float
    mebibytes: float


class Server:
    """A server that is ready, on a port of its own."""

    def __init__(self, model: str, deadline: float) -> None:
        command = [sys.executable, "-m", "mnist_sgd_serve", model, "--port", "0"]
        command += ["--queue-timeout", str(deadline)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        assert self.process.stderr is not None
        ready = json.loads(self.process.stderr.readline())
        self.port = int(ready["address"].rpartition(":")[2])
        Thread(target=self.process.stderr.read, daemon=True).start()

    def ask(self, bomb: Bomb) -> int:
        """The status of the answer to a picture; 0 if there is none in time."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("POST", "/predict", bomb.body, bomb.headers)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def seconds(self) -> float:
        """The processor time of the server and of its processes, those that have ended included."""
        total = 0
        for pid in descendants(self.process.pid):
            if fields := stat(pid):
                # utime and stime; of the server its children's too, which it has waited for
                last = 15 if pid == self.process.pid else 13
                total += sum(map(int, fields[11:last]))
        return total / TICKS

    def wait_until_quiet(self, processes: int) -> None:
        """Wait until there are so many processes, and none of them does anything."""
        end, used = time.monotonic() + PATIENCE, -1.0
        while time.monotonic() < end:
            before, used = used, self.seconds()
            if used == before and len(descendants(self.process.pid)) == processes:
                return
            time.sleep(0.3)

    def stop(self) -> None:
        """End the server, whatever it does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Peaks(Thread):
    """Watches the peaks of memory of processes."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.before: dict[int, int] = {}
        for pid in descendants(root):
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak is what it has now
            self.before[pid] = peak(pid)
        self.highest = dict(self.before)
        self.over = False
        self.start()

    def run(self) -> None:
        """Look every few milliseconds: a process that is ended takes its peak with it."""
        while not self.over:
            for pid in self.before:
                self.highest[pid] = max(self.highest[pid], peak(pid))
            time.sleep(0.002)

    def stop(self) -> int:
        """The bytes that were needed."""
        self.over = True
        self.join()
        return sum(self.highest[pid] - before for pid, before in self.before.items())


def stat(pid: int) -> list[str]:
    """The fields of a process after its name; none if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def peak(pid: int) -> int:
    """The most memory that a process has had, in bytes; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    _, _, rest = status.partition("VmHWM:")
    return 1024 * int(rest.split()[0]) if rest else 0


def measure(model: str, deadline: float, name: str, bomb: Bomb) -> Row:
    """Send a bomb to a server of its own."""
    server = Server(model, deadline)
    try:
        for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP"):
            server.ask(picture(kind, "L", *drawn(60, 60).shape))
        processes = len(descendants(server.process.pid))
        server.wait_until_quiet(processes)
        used, peaks = server.seconds(), Peaks(server.process.pid)
        status = server.ask(bomb)
        server.wait_until_quiet(processes)
        mebibytes = peaks.stop() / MIB
        return Row(name, len(bomb.body), status, server.seconds() - used, mebibytes)
    finally:
        server.stop()


def main() -> None:
    """Read the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(description="Costs of pictures that are built to cost much.")
    parser.add_argument("model", help="the .onnx file")
    parser.add_argument("--only", default="", help="those whose names have this text")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--before", type=Path, help="figures of an earlier run, to show beside")
    parser.add_argument("--deadline", type=float, default=2.0, help="of the servers, seconds (2)")
    args = parser.parse_args()
    before = {}
    if args.before is not None:
        before = {row["name"]: Row(**row) for row in json.loads(args.before.read_text())}
    print(
        "| picture | bytes | before: status, s, MiB | status | s | MiB |\n|---|--:|--:|--:|--:|--:|"
    )
    rows = []
    for name, make in BOMBS.items():
        if args.only not in name:
            continue
        row = measure(args.model, args.deadline, name, make())
        rows.append(row)
        old = before.get(name)
        then = f"{old.status}, {old.seconds:.2f}, {old.mebibytes:.0f}" if old else ""
        figures = f"{row.status} | {row.seconds:.2f} | {row.mebibytes:.0f}"
        print(f"| {name} | {row.sent} | {then} | {figures} |", flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    worst = max(rows, key=lambda row: row.seconds), max(rows, key=lambda row: row.mebibytes)
    print(f"\nmost: {worst[0].seconds:.2f} s ({worst[0].name}), ", end="")
    print(f"{worst[1].mebibytes:.0f} MiB ({worst[1].name})")


if __name__ == "__main__":
    main()
