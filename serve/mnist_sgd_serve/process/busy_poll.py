"""An event loop that polls for the next request for a moment before it sleeps.

A client that waits for each response sends its next request immediately. Sleeping for so short a
time costs latency: the processor stops and starts again, with cold caches. The price is processor
time when no request follows.
"""

import asyncio
import time


class BusyPoll:
    """Keeps the running event loop awake; for the loop's thread only.

    Args:
        seconds: how long after each call of `start`; 0 disables.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until = 0.0
        self._awake = False

    def start(self) -> None:
        """Keep the loop awake for `seconds` from now on."""
        if self.seconds:
            self._until = time.monotonic() + self.seconds
            if not self._awake:
                self._awake = True
                self._turn()

    def _turn(self) -> None:
        """Schedule another turn: a loop with something to call does not sleep."""
        if time.monotonic() < self._until:
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._awake = False
