"""What the application makes of failures: what the client is told, what the log, how often."""

import asyncio
import gc
import json
import os
import sys
import time
import weakref
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from mnist_sgd_serve import logs
from mnist_sgd_serve.http.application import Application
from mnist_sgd_serve.http.fast_path import FastInference
from mnist_sgd_serve.http.responses import Reply
from mnist_sgd_serve.http.routes import Routes
from mnist_sgd_serve.logs import Log, RequestLog
from mnist_sgd_serve.metrics import Metrics, shared_memory
from mnist_sgd_serve.protocol.errors import (
    ClientDisconnected,
    DeadlineExceeded,
    Kind,
    QueueFull,
    RequestError,
)
from mnist_sgd_serve.settings import Settings


class Bench:
    """An application with one route, which fails as it is told; requests come by ASGI or not."""

    def __init__(self, failure: Exception | None, **settings: Any) -> None:
        self.failure = failure
        self.cancelled = False
        self.metrics = Metrics(shared_memory(1))
        given = Settings(model=Path("model.onnx"), **settings)
        requests = RequestLog(self.metrics, Log(), given.access_log)
        service = Mock(draining=False)
        self.application = Application(given, Routes(given, service, Mock(), Mock()), requests)
        self.application.routes.infer = self.handle  # type: ignore[method-assign]
        self.application._routed = self.route

    async def handle(self, request: object) -> Reply:
        if self.cancelled:
            raise asyncio.CancelledError
        if self.failure is not None:
            raise self.failure
        return Reply(b"{}")

    async def route(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["call"].route = "infer"
        reply = await self.handle(scope)
        await Response(reply.body)(scope, receive, send)

    def ask(self, way: str, head: dict[bytes, bytes] | None = None, *, gone: bool = False) -> Reply:
        connection = Mock(
            client=("192.0.2.7", 80),
            url=b"/x" + b"y" * 9000,
            refused=False,
        )
        connection.is_gone.return_value = gone
        connection.forwarded_address.return_value = "192.0.2.7"
        given = {b"host": b"localhost"} | (head or {})
        if way == "fast":
            request = FastInference(connection, given, keep_alive=True)
            request.started = time.perf_counter()
            return asyncio.run(self.application.infer(request))
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": "/x",
            "raw_path": connection.url,
            "client": ("192.0.2.7", 80),
            "headers": list(given.items()),
            "state": {"connection": connection},
        }
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        asyncio.run(self.application(scope, Mock(), send))
        start, body = sent
        return Reply(body["body"], start["status"], start["headers"])

    def counted(self, status: int) -> bool:
        return f'status="{status}"' in self.metrics.text("m", "1").decode()


both_ways = pytest.mark.parametrize("way", ["fast", "by ASGI"])


def lines(captured: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in captured.splitlines()]


@both_ways
def test_a_failure_of_our_own_is_traced_in_the_log_and_nowhere_else(
    way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(ZeroDivisionError("at /a/secret/path"))
    answer = bench.ask(way)
    assert answer.status == 500
    assert answer.body == b'{"error":"the server failed to answer; its log says why"}'
    (line,) = lines(capfd.readouterr().err)
    assert (line["level"], line["status"], line["error"]) == ("error", 500, "at /a/secret/path")
    assert line["trace"].startswith("Traceback")
    assert len(line["path"]) == 200
    assert dict(answer.headers)[b"x-request-id"].decode() == line["request"]
    assert bench.counted(500)


@both_ways
@pytest.mark.parametrize(
    ("failure", "status", "text"),
    [
        (RequestError("not this", Kind.UNSUPPORTED), 415, "not this"),
        (QueueFull(), 503, "too many images are waiting, try again soon"),
        (DeadlineExceeded(), 504, "the request waited too long for its turn"),
        (ClientDisconnected(), 499, "the client has left"),
    ],
)
def test_every_failure_has_its_status_and_is_counted(
    way: str, failure: Exception, status: int, text: str
) -> None:
    bench = Bench(failure)
    answer = bench.ask(way, gone=status == 499)
    assert (answer.status, json.loads(answer.body)) == (status, {"error": text})
    assert (dict(answer.headers).get(b"retry-after") == b"1") is (status == 503)
    assert bench.counted(status)


@both_ways
def test_a_failure_is_forgotten_at_once_with_all_that_its_trace_holds(way: str) -> None:
    failure = RequestError("wrong")
    bench, alive = Bench(failure), weakref.ref(failure)
    del failure
    gc.disable()
    try:
        bench.ask(way)
        bench.failure = None
        assert alive() is None
    finally:
        gc.enable()


@both_ways
def test_an_answer_to_a_client_that_has_left_is_counted_as_such(way: str) -> None:
    bench = Bench(None)
    assert bench.ask(way, gone=True).status == 200
    assert bench.counted(499)


@both_ways
@pytest.mark.parametrize("failure", [None, RequestError("wrong"), QueueFull()])
def test_the_log_says_the_status_that_is_counted(
    way: str, failure: Exception | None, capfd: pytest.CaptureFixture[str]
) -> None:
    """That of a client that has left, whatever it would have been answered."""
    bench = Bench(failure, access_log=True)
    answer = bench.ask(way, gone=True)
    (line,) = lines(capfd.readouterr().err)
    assert (line["status"], line["level"]) == (499, "warning")
    said = "the client has left" if failure is None else json.loads(answer.body)["error"]
    assert line["error"] == said
    assert bench.counted(499)
    assert not bench.counted(answer.status)


@both_ways
def test_a_failure_of_our_own_is_logged_and_counted_though_the_client_has_left(
    way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(ZeroDivisionError("by nothing"))
    bench.ask(way, gone=True)
    (line,) = lines(capfd.readouterr().err)
    assert (line["status"], line["error"]) == (500, "by nothing")
    assert bench.counted(500)
    assert not bench.counted(499)


@both_ways
@pytest.mark.parametrize("failure", [QueueFull(), DeadlineExceeded(), ClientDisconnected()])
def test_the_log_says_what_the_client_is_told(
    way: str, failure: Exception, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = Bench(failure, access_log=True).ask(way)
    (line,) = lines(capfd.readouterr().err)
    assert line["error"] == json.loads(answer.body)["error"]


@both_ways
def test_a_call_that_is_cancelled_is_logged_as_it_is_counted(
    way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """As gRPC cancels a call whose client has left."""
    bench = Bench(None, access_log=True)
    bench.cancelled = True
    with pytest.raises(asyncio.CancelledError):
        bench.ask(way)
    (line,) = lines(capfd.readouterr().err)
    assert (line["status"], line["error"]) == (499, "the request was cancelled")
    assert bench.counted(499)


@both_ways
def test_failures_of_a_kind_are_logged_once_a_second_with_how_many_were_not(
    way: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bench = Bench(QueueFull())
    for _ in range(5):
        bench.ask(way)
    bench.failure = DeadlineExceeded()
    bench.ask(way)
    now += 2
    bench.failure = QueueFull()
    bench.ask(way)
    found = [(line["status"], line.get("more")) for line in lines(capfd.readouterr().err)]
    assert found == [(503, None), (504, None), (503, 4)]


@both_ways
def test_what_clients_do_wrong_is_logged_only_if_told(
    way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for access_log in (False, True):
        bench = Bench(RequestError("wrong"), access_log=access_log)
        bench.ask(way, {b"x-request-id": b"abc"})
        bench.application.reject(431, "too large", "192.0.2.7")
        found = lines(capfd.readouterr().err)
        if access_log:
            assert [line["event"] for line in found] == ["request", "refused"]
            assert (found[0]["request"], found[0]["level"]) == ("abc", "warning")
            assert {line["client"] for line in found} == {"192.0.2.7"}
        else:
            assert found == []


@both_ways
@pytest.mark.parametrize("closed", ["before the start", "later"])
def test_a_log_that_nobody_can_read_changes_no_answer(
    way: str, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        monkeypatch.setattr(logs, "_WRITER", logs._Writer())  # it notes lines that were lost
        monkeypatch.setattr(sys, "stderr", pipe if closed == "later" else None)
        assert Bench(QueueFull()).ask(way).status == 503
        monkeypatch.undo()
