"""Who watches a workbench hears everything once, also after a break."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mnist_sgd.workbench import events as module
from mnist_sgd.workbench.events import Events

PATIENCE = 60


def within(work: Any) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(work, PATIENCE)

    return asyncio.run(bounded())


def parsed(chunk: bytes) -> tuple[int, list[dict[str, Any]]]:
    """The number and the events of a message."""
    lines = dict(line.split(": ", 1) for line in chunk.decode().strip().splitlines())
    assert lines["event"] == "events"
    return int(lines["id"]), json.loads(lines["data"])


async def messages(watching: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, list[Any]]]:
    async for chunk in watching:
        if chunk.startswith(b"id: "):
            yield parsed(chunk)


def progress(path: Path, *numbers: int, rest: str = "") -> None:
    lines = "".join(json.dumps({"id": i, "event": "epoch", "epoch": i}) + "\n" for i in numbers)
    with open(path, "a") as file:
        file.write(lines + rest)


def test_events_are_numbered_and_kept_over_a_restart(tmp_path: Path) -> None:
    async def first() -> None:
        events = Events(tmp_path / "events.jsonl")
        events.publish("set", set="pets")
        events.publish("state", training="0001-cnn", state="queued")
        events.close()

    asyncio.run(first())
    with open(tmp_path / "events.jsonl", "a") as file:
        file.write('{"seq": 3, "ev')  # the service was killed

    async def second() -> None:
        events = Events(tmp_path / "events.jsonl")
        events.publish("set", set="other")
        assert events.after(0) == [
            {"seq": 1, "event": "set", "set": "pets"},
            {"seq": 2, "event": "state", "training": "0001-cnn", "state": "queued"},
            {"seq": 3, "event": "set", "set": "other"},
        ]
        assert events.after(2) == [{"seq": 3, "event": "set", "set": "other"}]
        assert events.after(3) == []
        assert events.after(4) is None  # of another file: the page must load everything
        events.close()

    asyncio.run(second())


def test_a_watcher_that_comes_back_misses_and_repeats_nothing(tmp_path: Path) -> None:
    async def watched() -> None:
        events = Events(tmp_path / "events.jsonl")
        for number in range(1, 6):
            events.publish("set", set=str(number))
        heard, last = [], 0
        for more in range(6, 10):
            last, batch = await anext(messages(events.watch(last)))  # then the connection is lost
            heard += batch
            events.publish("set", set=str(more))
        assert [each["seq"] for each in heard] == list(range(1, 9))
        events.close()

    within(watched())


def test_a_watcher_from_now_on_hears_what_comes(tmp_path: Path) -> None:
    async def watched() -> None:
        events = Events(tmp_path / "events.jsonl")
        events.publish("set", set="before")
        watching = messages(events.watch(None))
        following = asyncio.ensure_future(anext(watching))
        await asyncio.sleep(0)
        events.publish("set", set="after")
        assert (await following)[1] == [{"seq": 2, "event": "set", "set": "after"}]
        events.close()

    within(watched())


def test_a_watcher_of_what_is_not_kept_is_told_to_load_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 10)

    async def watched() -> None:
        events = Events(tmp_path / "events.jsonl")
        for number in range(100):
            events.publish("set", set=str(number))
        assert events.after(50) is None
        assert len((tmp_path / "events.jsonl").read_bytes().splitlines()) <= 20
        chunks = events.watch(50)
        assert await anext(chunks) == b"retry: 1000\n\n"
        assert await anext(chunks) == b"id: 100\nevent: reset\ndata: {}\n\n"
        again = Events(tmp_path / "events.jsonl")
        assert again.last == 100
        again.close()
        events.close()

    within(watched())


def test_the_progress_of_a_training_is_copied_once_and_only_in_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"

    async def copied() -> None:
        events = Events(tmp_path / "events.jsonl")
        progress(path, 1, 2, rest='{"id": 3, "event"')
        offset = events.copy("0001-cnn", path)
        assert [each["id"] for each in events.after(0) or []] == [1, 2]
        with open(path, "a") as file:
            file.write(': "end"}\nno JSON\n')
        offset = events.copy("0001-cnn", path, offset)
        assert events.copy("0001-cnn", path, offset) == offset == path.stat().st_size
        assert [each["id"] for each in events.after(0) or []] == [1, 2, 3]
        events.close()
        again = Events(tmp_path / "events.jsonl")  # after a restart
        progress(path, 4)
        again.copy("0001-cnn", path)
        assert [each["id"] for each in again.after(0) or []] == [1, 2, 3, 4]
        again.copy("0002-cnn", path)  # another one's numbers are its own
        assert [each["id"] for each in again.after(4) or []] == [1, 2, 3, 4]
        again.close()

    asyncio.run(copied())


def test_events_in_quick_succession_are_sent_together(tmp_path: Path) -> None:
    async def sent() -> None:
        events = Events(tmp_path / "events.jsonl")
        watching = messages(events.watch(0))
        events.publish("set", set="0")
        assert len((await anext(watching))[1]) == 1
        for number in range(50):
            events.publish("set", set=str(number))
        assert len((await anext(watching))[1]) == 50
        events.close()

    within(sent())
