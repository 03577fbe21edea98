"""What a server spends on requests that are built to cost time or memory, one each.

    python benchmarks/request_bombs.py MODEL [--only TEXT] [--json FILE] [--before FILE]
    python benchmarks/request_bombs.py MODEL --at-once 10

For each request of tests/support/request_bombs.py a server is started with all its limits at their
defaults, and warmed up; then the request is sent, while another client asks for /v2/health/live
every few milliseconds. The row has the bytes that were sent, the status, the processor time of the
server, by how much its memory rose at most, and the longest that the other client waited, which is
only to be trusted on a machine that has nothing else to do. --at-once sends so many of the same
together, and sums up their bytes and times. --json keeps the figures, --before
shows those of an earlier run, such as of an older version that PYTHONPATH names. Linux only.
"""

import argparse
import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc

sys.path.insert(0, os.fspath(Path(__file__).parents[1] / "tests" / "support"))
from request_bombs import BOMBS, GRPC, Bomb
from server import INFER, RAW, Server, launch, message

MIB = 2**20
PATIENCE = 600.0


@dataclass
class Row:
    """What a request cost: bytes, status, processor seconds, MiB, seconds of another's wait."""

    name: str
    sent: int
    status: str
    seconds: float
    mebibytes: float
    waited: float


class Probe(threading.Thread):
    """Asks for the server's health again and again; `longest` is the longest wait."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.longest = 0.0
        self.over = False
        self.start()

    def run(self) -> None:
        """Ask until told to stop."""
        with self.server.connect() as client:
            while not self.over:
                begun = time.monotonic()
                client.ask("GET", "/v2/health/live")
                self.longest = max(self.longest, time.monotonic() - begun)
                time.sleep(0.005)

    def stop(self) -> float:
        """Stop, and give the longest wait."""
        self.over = True
        self.join()
        return self.longest


def send(server: Server, bomb: Bomb) -> tuple[int, str]:
    """Send a request and wait for its answer; gives the bytes and the status."""
    if bomb.over == GRPC:
        return len(bomb.body), call(server.wait_for("ready")["grpc"], bomb.body)
    data = bomb.head or message("POST", bomb.path, bomb.body, bomb.headers)
    with server.connect(PATIENCE) as client:
        sender = threading.Thread(target=give, args=(client.socket, data), daemon=True)
        sender.start()
        status = str(client.reply().status)
        if bomb.head:
            client.rest()
        sender.join()
    return len(data), status


def give(socket: object, data: bytes) -> None:
    """Send all that the server takes."""
    try:
        socket.sendall(data)  # type: ignore[attr-defined]
    except OSError:
        return


def call(address: str, body: bytes) -> str:
    """The code of a gRPC call."""
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options=options) as channel:
        method = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        try:
            method(body, timeout=PATIENCE)
        except grpc.RpcError as error:
            name: str = error.code().name  # type: ignore[attr-defined]
            return name
    return "OK"


def send_all(server: Server, bomb: Bomb, count: int) -> tuple[int, str]:
    """Send a request so many times at once; gives the bytes of all, and the statuses."""
    with ThreadPoolExecutor(count) as pool:
        sent = list(pool.map(lambda _: send(server, bomb), range(count)))
    return sum(size for size, _ in sent), ", ".join(sorted({status for _, status in sent}))


def measure(model: str, name: str, count: int) -> Row:
    """Start a server, send one request or several at once, and see what they cost."""
    bomb = BOMBS[name]()
    limits = ("--shutdown-delay", "0", "--queue-timeout", "60", "--grpc-port", "0")
    with launch(model, *limits) as server:
        server.wait_until_ready()
        call(server.wait_for("ready")["grpc"], b"")
        for _ in range(3):
            server.post(INFER, bytes(784), RAW)
        probe = Probe(server)
        used = server.processor_seconds()
        with server.watched_memory() as more:
            sent, status = send_all(server, bomb, count)
            waited = probe.stop()
            mebibytes = more() / MIB
        seconds = server.processor_seconds() - used
    return Row(name, sent, status, seconds, mebibytes, waited)


def table(rows: list[Row], before: dict[str, Row]) -> str:
    """The rows as a table in Markdown."""
    head = ["request", "bytes sent", "status", "CPU s", "MiB", "others waited s"]
    lines = [head, ["---", "---:", "---", "---:", "---:", "---:"]]
    for row in rows:
        old = before.get(row.name)
        cells = [row.name, f"{row.sent:,}", row.status]
        for key, digits in (("seconds", 2), ("mebibytes", 0), ("waited", 2)):
            now = f"{getattr(row, key):.{digits}f}"
            cells.append(now if old is None else f"{getattr(old, key):.{digits}f} -> {now}")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--only", default="", help="requests whose names have this text")
    parser.add_argument("--at-once", type=int, default=1, help="how many of each")
    parser.add_argument("--json", type=Path, help="keep the figures")
    parser.add_argument("--before", type=Path, help="figures to compare with")
    args = parser.parse_args()
    before = {}
    if args.before:
        before = {row["name"]: Row(**row) for row in json.loads(args.before.read_text())}
    rows = []
    for name in BOMBS:
        if args.only in name:
            rows.append(measure(args.model, name, args.at_once))
            print(table(rows[-1:], before).splitlines()[-1], flush=True)
            if args.json:
                args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    print("\n" + table(rows, before))


if __name__ == "__main__":
    main()
