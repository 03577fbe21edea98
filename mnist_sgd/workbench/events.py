"""What happens in a workbench, numbered and kept: for a page that comes back and misses nothing.

    HOME/events.jsonl    {"seq": 12, "event": "state", "training": "0001-cnn", "state": "running"}
                         {"seq": 13, "event": "epoch", "training": "0001-cnn", "id": 3, ...}
                         {"seq": 14, "event": "set", "set": "photos"}

The events of a training's `progress.jsonl` are copied as they are written, with their own numbers
as `id`. If the file is deleted, the numbers start again, and a page that asks for what follows an
unknown number is told to load everything.

All methods are for the event loop's thread.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

POLL_SECONDS = 0.05
"""Between two looks at the progress of a training that runs."""

SEND_SECONDS = 0.1
"""The shortest time between two messages to a watcher."""

PING_SECONDS = 15.0
"""A watcher hears something at least this often, so that both sides notice a lost connection."""

KEPT = 10_000
"""Events that are kept, in memory and in the file; the file may have twice as many."""


class Events:
    """The events of a home, and those who watch them.

    Args:
        path: of the file.

    Raises:
        OSError: the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept = _read(path)[-KEPT:]
        self.last = self._kept[-1]["seq"] if self._kept else 0
        self.copied = {
            each["training"]: each["id"]
            for each in self._kept
            if "id" in each and "training" in each
        }
        self._wake = asyncio.Event()
        self._closed = False
        self._rewrite()

    def publish(self, event: str, **facts: Any) -> None:
        """Number an event, keep it, and wake the watchers."""
        self.last += 1
        line = {"seq": self.last, "event": event, **facts}
        self._kept.append(line)
        self._lines += 1
        with suppress(OSError):  # a full disk: the watchers still hear of it
            os.write(self._descriptor, f"{json.dumps(line)}\n".encode())
        if self._lines > 2 * KEPT:
            del self._kept[:-KEPT]
            os.close(self._descriptor)
            self._rewrite()
        wake, self._wake = self._wake, asyncio.Event()
        wake.set()

    def after(self, seq: int) -> list[dict[str, Any]] | None:
        """The events after a number, None if some of them are not kept."""
        first = self._kept[0]["seq"] if self._kept else self.last + 1
        if not first - 1 <= seq <= self.last:
            return None
        return self._kept[len(self._kept) - (self.last - seq) :] if seq < self.last else []

    async def watch(self, seq: int | None) -> AsyncIterator[bytes]:
        """Yield server-sent events, from those after a number on; None begins with the next one.

        Events of one training in quick succession are sent as one message, a list.
        """
        seq = self.last if seq is None else seq
        yield b"retry: 1000\n\n"
        while not self._closed:
            wake = self._wake
            events = self.after(seq)
            if events is None:
                seq = self.last
                yield f"id: {seq}\nevent: reset\ndata: {{}}\n\n".encode()
            elif events:
                seq = events[-1]["seq"]
                yield message(events, seq)
                await asyncio.sleep(SEND_SECONDS)
            else:
                try:
                    await asyncio.wait_for(wake.wait(), PING_SECONDS)
                except TimeoutError:
                    yield b": still here\n\n"

    def copy(self, training: str, path: Path, offset: int = 0) -> int:
        """Publish the lines of a `progress.jsonl` that have not been; return where they end."""
        try:
            if os.stat(path).st_size <= offset:
                return offset
            with open(path, "rb") as file:
                file.seek(offset)
                content = file.read()
        except OSError:
            return offset
        *lines, rest = content.split(b"\n")
        for line in lines:
            try:
                event = json.loads(line)
                number, name = int(event.pop("id")), str(event.pop("event"))
            except (ValueError, TypeError, KeyError, AttributeError):
                continue
            if number > self.copied.get(training, 0):
                self.copied[training] = number
                self.publish(name, training=training, id=number, **event)
        return offset + len(content) - len(rest)

    def close(self) -> None:
        """End the watching."""
        self._closed = True
        self._wake.set()
        os.close(self._descriptor)

    def _rewrite(self) -> None:
        """Write what is kept, without what a killed service left of a line."""
        temporary = self.path.with_suffix(".new")
        content = "".join(f"{json.dumps(line)}\n" for line in self._kept)
        temporary.write_bytes(content.encode())
        os.replace(temporary, self.path)
        self._lines = len(self._kept)
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)


def message(events: list[dict[str, Any]], number: int) -> bytes:
    """Make one server-sent event of several: a list, with the number of the last."""
    return f"id: {number}\nevent: events\ndata: {json.dumps(events)}\n\n".encode()


def _read(path: Path) -> list[dict[str, Any]]:
    """The whole lines of the file."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    events = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("seq"), int):
            events.append(event)
    return events
