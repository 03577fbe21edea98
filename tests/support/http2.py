"""A client of HTTP/2 that can begin a call and never finish it, as no client of gRPC can.

    with Http2(host, port) as client:
        stream = client.call("/inference.GRPCInferenceService/ModelInfer")
        client.send({stream: grpc_message(16 * 2**20)[:-1]})

Source: RFC 9113, sections 4 to 6, for frames; RFC 7541, section 6.2.2, for headers as they are.
"""

import contextlib
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from waiting import PATIENCE, wait_until

__all__ = ["Http2", "grpc_message"]

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_HEADERS, ACK = 4, 1
INITIAL_WINDOW, MAX_FRAME = 4, 5


def grpc_message(size: int) -> bytes:
    """A message of so many zero bytes, with what gRPC puts before it."""
    return struct.pack(">BI", 0, size) + bytes(size)


class Http2:
    """A connection.

    Attributes:
        ended: the streams that the server has answered or reset.
        answered: those on which it has sent a message.
        last: the highest stream that it will answer, once it has said that it ends.
    """

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.frame = 16_384
        self.first_window = 65_535
        self.windows: Counter[int] = Counter({0: 65_535})  # 0 is the connection's
        self.settings: dict[int, int] = {}
        self.ended: set[int] = set()
        self.answered: set[int] = set()
        self.last: int | None = None
        self.next = 1
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, 0, 0))
        wait_until(lambda: self.pumped() and bool(self.settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def call(self, path: str, **headers: str) -> int:
        """Begin a call, and give the number of its stream."""
        stream, self.next = self.next, self.next + 2
        named = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "test"}
        named |= {"content-type": "application/grpc", "te": "trailers"} | headers
        block = b"".join(
            b"\0%c%b%c%b" % (len(name), name.encode(), len(value), value.encode())
            for name, value in named.items()
        )
        self.windows[stream] = self.first_window
        self.socket.sendall(_frame(HEADERS, END_HEADERS, stream, block))
        return stream

    def send(self, bodies: Mapping[int, bytes], seconds: float = PATIENCE) -> int:
        """Send to all streams in turn as the server lets us; gives how many bytes were taken.

        It ends when all is sent or the streams have ended, or when nothing has moved for so long.
        """
        left = {stream: memoryview(body) for stream, body in bodies.items()}
        sent, moved = 0, time.monotonic()
        while left and time.monotonic() < moved + seconds:
            self.pumped()
            for stream in list(left):
                size = min(self.frame, len(left[stream]), self.windows[0], self.windows[stream])
                if size > 0 and stream not in self.ended:
                    self.socket.sendall(_frame(DATA, 0, stream, bytes(left[stream][:size])))
                    self.windows[0] -= size
                    self.windows[stream] -= size
                    left[stream] = left[stream][size:]
                    sent, moved = sent + size, time.monotonic()
                if stream in self.ended or not left[stream]:
                    del left[stream]
        return sent

    def pumped(self) -> bool:
        """Take note of what the server has sent, after a moment's wait for it; gives True.

        Raises:
            ConnectionError: the server has closed.
        """
        while select.select([self.socket], [], [], 0.001)[0]:
            data = self.socket.recv(65_536)
            if not data:
                raise ConnectionError("the server has closed")
            self.received += data
            while len(self.received) >= 9:
                size = int.from_bytes(self.received[:3], "big")
                if len(self.received) < 9 + size:
                    break
                head, payload = self.received[3:9], self.received[9 : 9 + size]
                self.received = self.received[9 + size :]
                self._take(head[0], head[1], int.from_bytes(head[2:6], "big"), payload)
        return True

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            for name, value in struct.iter_unpack(">HI", payload):
                self.settings[name] = value
            self.frame = min(self.settings.get(MAX_FRAME, 16_384), 2**20)
            window = self.settings.get(INITIAL_WINDOW, 65_535)
            for number in self.windows.keys() - {0}:
                self.windows[number] += window - self.first_window
            self.first_window = window
            self._reply(SETTINGS)
        elif kind == WINDOW_UPDATE:
            self.windows[stream] += int.from_bytes(payload, "big")
        elif kind == PING and not flags & ACK:
            self._reply(PING, payload)
        elif kind in (HEADERS, RST_STREAM):
            self.ended.add(stream)
        elif kind == DATA:
            self.answered.add(stream)
        elif kind == GOAWAY:
            self.last = int.from_bytes(payload[:4], "big")

    def _reply(self, kind: int, payload: bytes = b"") -> None:
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(_frame(kind, ACK, 0, payload))


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload
