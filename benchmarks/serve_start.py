"""How long the server takes from its start to its first answer, and what memory it then holds.

    python benchmarks/serve_start.py MODEL [--repeats 21]

Each turn starts a new process, asks until the first picture's tensor is answered, and stops it; the
first turn warms the disk cache and does not count. Prints the medians: of the time to the first
answer, and of the resident memory after it and after 1,000 more.
"""

import argparse
import http.client
import json
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

TENSOR = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28], "data": [0] * 784}
BODY = json.dumps({"inputs": [TENSOR]})
REQUESTS = 1000


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def connect(port: int) -> http.client.HTTPConnection:
    """Connect as soon as somebody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while True:
        try:
            connection.connect()
            return connection
        except ConnectionRefusedError:
            time.sleep(0.001)


def infer(connection: http.client.HTTPConnection) -> None:
    """Ask for one answer."""
    connection.request("POST", "/v2/models/mnist_sgd/infer", BODY)
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"the server answered {answer.status}: {answer.read().decode()}")
    answer.read()


def resident_megabytes(process: int) -> float:
    """A process's resident memory."""
    status = Path(f"/proc/{process}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


def turn(model: str) -> tuple[float, float, float]:
    """Seconds to the first answer, megabytes after it, megabytes after many more."""
    port = free_port()
    command = [sys.executable, "-m", "mnist_sgd_serve", model, "--port", str(port)]
    start = time.perf_counter()
    server = subprocess.Popen([*command, "--shutdown-delay", "0"], stderr=subprocess.DEVNULL)
    try:
        connection = connect(port)
        infer(connection)
        seconds = time.perf_counter() - start
        first = resident_megabytes(server.pid)
        for _ in range(REQUESTS):
            infer(connection)
        last = resident_megabytes(server.pid)
        connection.close()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
    return seconds, first, last


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the server's start.")
    parser.add_argument("model")
    parser.add_argument("--repeats", type=int, default=21)
    args = parser.parse_args()
    turns = [turn(args.model) for _ in range(args.repeats + 1)][1:]
    seconds, first, last = (statistics.median(column) for column in zip(*turns, strict=True))
    print(f"start to first answer: {1000 * seconds:.0f} ms")
    print(f"resident memory: {first:.0f} MiB, after {REQUESTS:,} more answers {last:.0f} MiB")


if __name__ == "__main__":
    main()
