"""Clients that do not wait: requests at a rate of their own, whatever becomes of those before.

    answers = press(server, request, rate=5000, seconds=60)
    assert answers.statuses == {200: ..., 503: ...}

A closed loop, in which each client waits for its answer, slows down with the server and so never
overloads it. Here a request goes out whenever one is due, over the connection that has been free
longest: so none is idle for so long that the server closes it.
"""

import selectors
import socket
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median

from server import Server
from waiting import PATIENCE

__all__ = ["Answers", "press"]

CONNECTIONS = 400


@dataclass
class Answers:
    """What came of the requests.

    Attributes:
        seconds: from each request to its answer, by the answer's status.
        unsent: requests that were due while all connections waited for an answer.
    """

    seconds: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    unsent: int = 0

    @property
    def statuses(self) -> Counter[int]:
        """How many answers had each status."""
        return Counter({status: len(seconds) for status, seconds in self.seconds.items()})

    def median(self, status: int) -> float:
        """Seconds to the median answer of a status."""
        return median(self.seconds[status])


@dataclass
class _Client:
    socket: socket.socket
    sent: float = 0.0
    got: bytearray = field(default_factory=bytearray)

    def status(self) -> int | None:
        """The status of the answer, once it is whole."""
        head, end, body = self.got.partition(b"\r\n\r\n")
        if not end:
            return None
        size = int(head.lower().partition(b"\r\ncontent-length: ")[2].split(b"\r\n")[0])
        return int(head[9:12]) if len(body) >= size else None


@contextmanager
def _clients(server: Server) -> Iterator[deque[_Client]]:
    with ExitStack() as stack:
        address = (server.host, server.port)
        sockets = [
            stack.enter_context(socket.create_connection(address)) for _ in range(CONNECTIONS)
        ]
        yield deque(_Client(one) for one in sockets)


def press(server: Server, request: bytes, *, rate: float, seconds: float) -> Answers:
    """Send a request over and over.

    Args:
        server: that gets it.
        request: all of it, small enough for a socket to take at once.
        rate: a second.
        seconds: that it lasts; then the last answers are waited for.
    """
    answers = Answers()
    with _clients(server) as free, selectors.EpollSelector() as selector:
        for client in free:
            selector.register(client.socket, selectors.EVENT_READ, client)
        start = due = time.perf_counter()
        busy = 0
        while True:
            now = time.perf_counter()
            if now < start + seconds:
                for _ in range(int((now - due) * rate)):
                    due += 1 / rate
                    if free:
                        client = free.popleft()
                        client.sent = time.perf_counter()
                        client.socket.sendall(request)
                        busy += 1
                    else:
                        answers.unsent += 1
            elif not busy:
                return answers
            assert now < start + seconds + PATIENCE, f"{busy} answers never came"
            for key, _ in selector.select(1 / rate):
                client = key.data
                received = client.socket.recv(65536)
                assert received, "the server closed a connection"
                client.got += received
                status = client.status()
                if status is not None:
                    answers.seconds[status].append(time.perf_counter() - client.sent)
                    client.got.clear()
                    free.append(client)
                    busy -= 1
