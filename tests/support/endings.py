"""Clients that ask without a pause while a server ends; none may lose a request.

    python tests/support/endings.py model.onnx --times 20 --workers 2
    python tests/support/endings.py model.onnx --times 20 --over grpc

Each client connects, asks, reads the answer, and does so again, until it is refused when it
connects; half of them keep their connections as long as the server does. A request that was sent on
a connection that the server had taken must be answered. Other options are the server's.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from request_bombs import message as grpc_request, part
from server import INFER, RAW, Server, launch, message
from waiting import PATIENCE

__all__ = ["CALL", "ask_until_refused", "call_until_refused", "end_under_load"]

REQUEST = message("POST", INFER, bytes(784), RAW)
CALL = grpc_request(1, after=part(7, bytes(784))).body
METHOD = "/inference.GRPCInferenceService/ModelInfer"


Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def ask_until_refused(
    connect: Connect, *, keep: bool, answered: asyncio.Event
) -> Counter[str]:
    """What became of the requests of one client; `answered` is set after the first answer."""
    seen: Counter[str] = Counter()
    while True:
        try:
            reader, writer = await connect()
        except (ConnectionRefusedError, FileNotFoundError):  # the latter at a Unix socket
            return seen
        try:
            more = True
            while more:
                writer.write(REQUEST)
                outcome, more = await _answer(reader)
                seen[outcome] += 1
                answered.set()
                more = more and keep
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader) -> tuple[str, bool]:
    """What became of a request, and whether the connection stays."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"\r\ncontent-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        return ("cut short" if error.partial else "closed without an answer"), False
    except ConnectionResetError:
        return "reset", False
    return head[9:12].decode(), b"connection: close" not in head


async def call_until_refused(address: str, *, keep: bool, answered: asyncio.Event) -> Counter[str]:
    """The same over gRPC; a failure is counted by what gRPC says of it."""
    import grpc.aio

    own = [("grpc.use_local_subchannel_pool", 1)]  # else all channels share one connection
    seen: Counter[str] = Counter()
    while True:
        async with grpc.aio.insecure_channel(address, own) as channel:
            call = channel.unary_unary(METHOD)
            more = True
            while more:
                try:
                    await call(CALL)
                    seen["200"] += 1
                except grpc.aio.AioRpcError as error:
                    if "Connection refused" in str(error.details()):
                        return seen
                    seen[f"{error.code().name}: {error.details()}"] += 1
                answered.set()
                more = keep


async def end_under_load(
    server: Server,
    clients: int,
    seconds: float,
    *,
    over: str = "http",
    connect: Connect | None = None,
) -> Counter[str]:
    """Let clients ask for so long, then send SIGTERM; gives what became of all requests.

    Args:
        server: the server.
        clients: how many there are.
        seconds: for which they ask, each once at least.
        over: `http` or `grpc`.
        connect: opens a connection for HTTP; by default to the server's port.
    """
    if over == "grpc":
        ask = partial(call_until_refused, server.wait_for("ready")["grpc"])
    else:
        usual = partial(asyncio.open_connection, server.host, server.port)
        ask = partial(ask_until_refused, connect or usual)
    events = [asyncio.Event() for _ in range(clients)]
    asking = [
        asyncio.create_task(ask(keep=number % 2 == 1, answered=event))
        for number, event in enumerate(events)
    ]
    await asyncio.gather(*(event.wait() for event in events))
    await asyncio.sleep(seconds)
    server.process.send_signal(signal.SIGTERM)
    return sum(await asyncio.gather(*asking), Counter())


def main() -> int:
    """End a server many times, and print what became of the requests."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--over", choices=["http", "grpc"], default="http")
    args, more = parser.parse_known_args()
    if args.over == "grpc":
        more += ["--grpc-port", "0"]
    failed = 0
    for number in range(args.times):
        with launch(args.model, *more) as server:
            server.wait_until_ready()
            load = end_under_load(server, args.clients, 0.1 + 0.02 * number, over=args.over)
            outcomes = asyncio.run(load)
            code = server.process.wait(PATIENCE)
            errors = [event["event"] for event in server.events() if event["level"] != "info"]
        print(f"{number + 1}: {dict(outcomes)}, exit code {code}, errors {errors}", flush=True)
        failed += code != 0 or set(outcomes) != {"200"} or bool(errors)
    print(f"{args.times - failed} of {args.times} ended without a loss")
    return failed


if __name__ == "__main__":
    sys.exit(main())
