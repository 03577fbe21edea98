"""A worker's end of the channel to its supervisor; `supervisor.py` has the other.

The worker reports that it is ready, and then sends heartbeats from its event loop, which stop when
the loop hangs. The supervisor reports when no client can connect any more. A closed channel means
that the supervisor is gone.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

READY, BEAT, CLOSED = b"r", b"b", b"c"

BEAT_SECONDS = 0.25
"""Between two heartbeats."""


class Channel:
    """Sends to and receives from the supervisor.

    Args:
        end: the socket.
        on_orphaned: called when the supervisor is gone.
    """

    def __init__(self, end: socket.socket, on_orphaned: Callable[[], None]) -> None:
        end.setblocking(False)
        self.end = end
        self.on_orphaned = on_orphaned
        self.alone = False  # the supervisor is gone
        self._closed = asyncio.Event()

    def start(self) -> None:
        """Report that the worker is ready, and start the heartbeats."""
        asyncio.get_running_loop().add_reader(self.end, self._read)
        self._send(READY)
        self._heartbeats = asyncio.create_task(self._beat())

    async def wait_until_closed(self, seconds: float) -> bool:
        """Wait until no client can connect any more; False if that is not reported in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        return self._closed.is_set()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            self._send(BEAT)

    def _send(self, word: bytes) -> None:
        with suppress(OSError):  # it is gone, which `_read` notices, or does not read
            self.end.send(word)

    def _read(self) -> None:
        try:
            words = self.end.recv(64)
        except BlockingIOError:
            return
        except OSError:
            words = b""
        if CLOSED in words:
            self._closed.set()
        if not words:
            asyncio.get_running_loop().remove_reader(self.end)
            self.alone = True
            self._closed.set()
            self.on_orphaned()
