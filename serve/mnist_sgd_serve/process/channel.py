"""A worker's end of the channel to its supervisor; `supervisor.py` has the other.

The worker says that it is ready, and then, from its event loop, that it is alive: one whose loop
hangs falls silent. The supervisor says when nobody can connect any more, and the end of the channel
says that there is no supervisor.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

__all__ = ["BEAT", "BEAT_SECONDS", "CLOSED", "READY", "Channel"]

READY, BEAT, CLOSED = b"r", b"b", b"c"

BEAT_SECONDS = 0.25
"""Between two signs of life."""


class Channel:
    """Speaks with the supervisor.

    Args:
        end: the socket.
        orphaned: is called when the supervisor is gone.
    """

    def __init__(self, end: socket.socket, orphaned: Callable[[], None]) -> None:
        end.setblocking(False)
        self.end = end
        self.orphaned = orphaned
        self.alone = False  # the supervisor is gone
        self._closed = asyncio.Event()

    def start(self) -> None:
        """Say that the worker is ready, and go on to say that it is alive."""
        asyncio.get_running_loop().add_reader(self.end, self._read)
        self._send(READY)
        self._beats = asyncio.create_task(self._beat())

    async def wait_until_closed(self, seconds: float) -> bool:
        """Wait until nobody can connect any more; False if that is not said in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        return self._closed.is_set()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            self._send(BEAT)

    def _send(self, word: bytes) -> None:
        with suppress(OSError):  # it is gone, which is read too, or has stopped reading
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
            self.orphaned()
