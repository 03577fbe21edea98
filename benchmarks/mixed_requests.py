"""Whether a server's memory and descriptors stay flat under good and bad requests of every kind.

    python benchmarks/mixed_requests.py MODEL --minutes 60 [--workers 2] [--json FILE]

Several clients each send one request after the other: single images and batches as bytes and as
JSON, pictures, forms, gRPC calls, the pages; then what is refused: the requests of
tests/support/request_bombs.py, the pictures of tests/support/picture_bombs.py, nonsense, cut
requests, clients that leave before their answer. Ten times a minute the memory (RSS) and the
descriptors of the server and of its processes are noted. At the end the first third, in which
everything grows to its size, is set apart; the two others are compared, and the server is stopped
by SIGTERM. It must end with code 0, and every good request must have been answered with 200, or
with 503 or 504 for want of room. Linux only.
"""

import argparse
import json
import os
import random
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import grpc
from harness.machine import descendants

sys.path.insert(0, os.fspath(Path(__file__).parents[1] / "tests" / "support"))
import picture_bombs
from request_bombs import BOMBS, GRPC, data, images
from server import INFER, RAW, Client, Server, launch, message

CLIENTS = 4
MIB = 2**20
DIGITS = Path(__file__).parents[1] / "mnist_sgd" / "sample" / "digits"
TOO_MUCH = (503, 504)

Action = Callable[[Server, random.Random], int]
"""Sends something; gives the status of the answer, or 0 where none was waited for."""


def batch(server: Server, luck: random.Random) -> int:
    """Images as bytes."""
    rows = luck.choice([1, 1, 1, 8, 256, 3000])
    return server.post(INFER, luck.randbytes(784 * rows), RAW).status


def as_json(server: Server, luck: random.Random) -> int:
    """Images as JSON, some of them more than are parsed at once."""
    return server.post(INFER, images(luck.choice([1, 4, 500]), b"7")).status


def picture(server: Server, luck: random.Random) -> int:
    """A digit of the sample, bare or in a form."""
    content = luck.choice(PICTURES)
    if luck.random() < 0.5:
        return server.post("/predict?explain=1", content).status
    part = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    return server.post("/predict", part + content + b"\r\n--x--", headers).status


def page(server: Server, luck: random.Random) -> int:
    """A page, the metrics, or the health."""
    paths = ["/", "/metrics", "/v2/health/ready", "/v2/models", "/openapi.json", "/docs"]
    return server.get(luck.choice(paths)).status


def keep_asking(server: Server, luck: random.Random) -> int:
    """Many requests over one connection, several at a time."""
    with server.connect() as client:
        request = message("POST", INFER, luck.randbytes(784), RAW)
        client.send(request * 20)
        return max(client.reply().status for _ in range(20))


def call(server: Server, luck: random.Random) -> int:
    """A gRPC call of many images that is answered, if there is room."""
    code = grpc_code(server, BOMBS["protobuf, 16,384 images"]().body)
    return {"OK": 200, "UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504}.get(code, 500)


GOOD: tuple[Action, ...] = (batch, batch, batch, as_json, picture, page, keep_asking)


def bomb(server: Server, luck: random.Random) -> int:
    """A request that is built to be dear."""
    name = luck.choice(list(BOMBS))
    if name == "gzip, 1 GiB":  # takes the client seconds to make
        return 0
    made = BOMBS[name]()
    if made.over == GRPC:
        grpc_code(server, made.body)
        return 0
    content = made.head or message("POST", made.path, made.body, made.headers)
    with server.connect() as client:
        sending = threading.Thread(target=give, args=(client, content))
        sending.start()
        status = client.reply().status
        client.socket.shutdown(socket.SHUT_RDWR)
        sending.join()
    return status


def picture_bomb(server: Server, luck: random.Random) -> int:
    """A picture that is built to be dear, whose client may leave before its answer."""
    made = picture_of(luck.choice(list(picture_bombs.BOMBS)))
    with server.connect() as client:
        give(client, message("POST", "/predict", made.body, made.headers))
        return client.reply().status if luck.random() < 0.8 else 0


@cache
def picture_of(name: str) -> picture_bombs.Bomb:
    """One of the dear pictures, made once."""
    return picture_bombs.BOMBS[name]()


def nonsense(server: Server, luck: random.Random) -> int:
    """Bytes that are no request."""
    with server.connect() as client:
        client.send(luck.randbytes(luck.choice([1, 100, 50_000])) + b"\r\n\r\n")
        client.socket.shutdown(socket.SHUT_WR)
        client.rest()
    return 0


def cut(server: Server, luck: random.Random) -> int:
    """A request of which a part comes, and whose client then leaves."""
    whole = message("POST", INFER, data(1, b"0,")[:2_000_000])
    with server.connect() as client:
        give(client, whole[: luck.randrange(len(whole))])
    return 0


def leave(server: Server, luck: random.Random) -> int:
    """A request whose client leaves before its answer."""
    with server.connect() as client:
        give(client, message("POST", INFER, images(500, b"7")))
    return 0


def refused(server: Server, luck: random.Random) -> int:
    """What is no good path, host, token or body."""
    kinds = (
        ("GET", "/nowhere", b"", {}),
        ("GET", "/v2", b"", {"Host": "evil.example"}),
        ("POST", "/predict", b"no picture", {}),
        ("POST", "/predict", b"", {"Origin": "http://evil.example"}),
        ("POST", INFER, b"{", {}),
        ("POST", INFER, bytes(785), RAW),
        ("DELETE", INFER, b"", {}),
    )
    method, path, body, headers = luck.choice(kinds)
    server.ask(method, path, body, headers)
    return 0


BAD: tuple[Action, ...] = (bomb, picture_bomb, nonsense, cut, leave, refused, refused)
PICTURES = [path.read_bytes() for path in sorted(DIGITS.glob("*.png"))]


def give(client: Client, content: bytes) -> None:
    """Send all that the server takes."""
    try:
        client.send(content)
    except OSError:
        return


def grpc_code(server: Server, content: bytes) -> str:
    """What becomes of a gRPC call."""
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    address = server.wait_for("ready")["grpc"]
    with grpc.insecure_channel(address, options=options) as channel:
        try:
            channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(content, timeout=60)
        except grpc.RpcError as error:
            name: str = error.code().name  # type: ignore[attr-defined]
            return name
    return "OK"


def work(server: Server, number: int, end: float, seen: Counter[str], wrong: list[str]) -> None:
    """Send one request after the other until the time is over."""
    luck = random.Random(number)
    while time.monotonic() < end:
        good = luck.random() < 0.6
        action = luck.choice((*GOOD, call) if luck.random() < 0.05 else GOOD if good else BAD)
        try:
            status = action(server, luck)
        except OSError as error:
            status = -1
            if action in (*GOOD, call):
                wrong.append(f"{action.__name__}: {error!r}")
        if action in (*GOOD, call) and status not in (200, -1, *TOO_MUCH):
            wrong.append(f"{action.__name__}: {status}")
        seen[f"{action.__name__} {status}"] += 1


def measure(server: Server) -> tuple[float, int]:
    """MiB and descriptors of the server and its processes, but for those that have just ended."""
    memory = descriptors = 0
    for pid in descendants(server.pid):
        try:
            pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
            descriptors += len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            continue
        memory += int(pages) * os.sysconf("SC_PAGE_SIZE")
    return memory / MIB, descriptors


def main() -> int:
    """Press a server for a time, and say how its memory and descriptors went."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--workers", default="1")
    parser.add_argument("--json", type=Path, help="keep the figures")
    args = parser.parse_args()
    seen: Counter[str] = Counter()
    wrong: list[str] = []
    notes: list[tuple[float, float, int]] = []
    with launch(args.model, "--grpc-port", "0", "--workers", args.workers) as server:
        server.wait_until_ready()
        server.wait_for("ready", int(args.workers))
        begun = time.monotonic()
        end = begun + 60 * args.minutes
        clients = [
            threading.Thread(target=work, args=(server, number, end, seen, wrong))
            for number in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        while time.monotonic() < end:
            time.sleep(6)
            notes.append((round(time.monotonic() - begun, 1), *measure(server)))
            seconds, memory, descriptors = notes[-1]
            print(f"{seconds:7.1f} s  {memory:6.0f} MiB  {descriptors:4d} descriptors", flush=True)
        for client in clients:
            client.join()
        time.sleep(3)
        rest = measure(server)
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait()
        errors = [event for event in server.events() if event["level"] == "error"]
    third = len(notes) // 3
    for name, column in (("MiB", 1), ("descriptors", 2)):
        middle = sorted(note[column] for note in notes[third : 2 * third])
        last = sorted(note[column] for note in notes[2 * third :])
        print(f"{name}: median {middle[len(middle) // 2]:.0f}, then {last[len(last) // 2]:.0f}")
    print(f"at rest {rest[0]:.0f} MiB, {rest[1]} descriptors; exit code {code}")
    print(f"{seen.total()} requests: {dict(sorted(seen.items()))}")
    print(f"{len(wrong)} good requests went wrong: {Counter(wrong).most_common(5)}")
    print(f"{len(errors)} errors in the log: {errors[:3]}")
    if args.json:
        args.json.write_text(json.dumps({"notes": notes, "seen": seen, "rest": rest}))
    return int(bool(wrong or errors or code))


if __name__ == "__main__":
    sys.exit(main())
