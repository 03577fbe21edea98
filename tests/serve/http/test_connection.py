"""One connection: the order of its answers, what is thrown away, how bodies are counted."""

import asyncio
import http.client
import io
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from starlette.requests import ClientDisconnect, Request

import onnx_models
from mnist_sgd_serve.http.bodies import SMALL_BODY, received
from mnist_sgd_serve.http.fast_path import FastInference
from mnist_sgd_serve.http.responses import Reply
from mnist_sgd_serve.inference import BodyBudget, TooManyBodies
from mnist_sgd_serve.protocol import RequestError
from server import INFER, RAW, Server, launch, message, running
from waiting import PATIENCE, wait_until

MAX_BODY = 1_000_000
LIVE = message("GET", "/v2/health/live")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(onnx_models.content(onnx_models.linear()))
    return path


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Server]:
    with running(model, "--max-body", str(MAX_BODY)) as started:
        yield started


def slow_request() -> bytes:
    """A picture, whose answer comes long after those to the requests behind it could."""
    file = io.BytesIO()
    image = Image.new("L", (2000, 2000))
    image.paste(255, (800, 400, 1100, 1600))
    image.save(file, "PNG")
    return message("POST", "/predict", file.getvalue())


SLOW = slow_request()
FAST = message("POST", INFER, bytes(784), RAW)
ANSWERED = 'mnist_sgd_requests_total{route="infer",status="200"}'
TOO_LARGE = message("POST", INFER, bytes(MAX_BODY + 1), RAW)


@pytest.mark.parametrize("first", [SLOW, FAST, LIVE], ids=["slow", "fast", "other"])
@pytest.mark.parametrize("pieces", [1, 7])
def test_answers_keep_the_order_of_the_requests(server: Server, first: bytes, pieces: int) -> None:
    data = first + FAST + LIVE + FAST + TOO_LARGE + SLOW + LIVE + b"nonsense\r\n\r\n" + LIVE
    with server.connect() as client:
        step = -(-len(data) // pieces)
        for start in range(0, len(data), step):
            client.send(data[start : start + step])
        replies = [client.reply() for _ in range(8)]
        assert [reply.status for reply in replies] == [200, 200, 200, 200, 413, 200, 200, 400]
        assert [b"outputs" in reply.body for reply in replies[1:4]] == [True, False, True]
        assert [reply.headers.get("connection") for reply in replies] == [None] * 7 + ["close"]
        assert client.rest() == b""


def test_five_thousand_requests_at_once_are_answered_one_by_one(server: Server) -> None:
    with server.watched_memory() as more, server.connect() as client:
        client.send((LIVE + FAST) * 2500)
        for _ in range(2500):
            assert client.reply().json == {"live": True}
            assert b"outputs" in client.reply().body
        assert more() < 16 * 2**20


@pytest.mark.parametrize("request_", [SLOW, FAST, LIVE], ids=["slow", "fast", "other"])
def test_a_client_that_sends_no_more_gets_its_answer(server: Server, request_: bytes) -> None:
    """As `nc -N` does; the interim answer finds out whether it is still there."""
    with server.connect() as client:
        client.send(request_)
        client.socket.shutdown(1)
        reply = client.reply()
        while reply.status == 100:
            reply = client.reply()
        assert reply.status == 200
        assert client.rest() == b""


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (FAST * 30, [200] * 30),
        (SLOW + b"nonsense\r\n\r\n", [200, 400]),
        (FAST + b"nonsense\r\n\r\n", [200, 400]),
        (SLOW + LIVE[:20], [200, 400]),
    ],
    ids=["many", "slow and garbage", "fast and garbage", "slow and a part"],
)
def test_a_client_that_sends_no_more_gets_all_its_answers(
    server: Server, sent: bytes, statuses: list[int]
) -> None:
    with server.connect() as client:
        client.send(sent)
        client.socket.shutdown(1)
        found: list[int] = []
        while len(found) < len(statuses):
            status = client.reply().status
            found += [] if status == 100 else [status]
        assert found == statuses
        assert client.rest() == b""


def test_one_that_pipelines_without_pause_costs_no_memory_and_holds_nobody_up(
    server: Server,
) -> None:
    stop = threading.Event()

    def flood() -> None:
        with server.connect() as client, suppress(OSError):
            reader = threading.Thread(target=client.rest)
            reader.start()
            while not stop.is_set():
                client.send(FAST * 100)
            client.socket.shutdown(2)
            reader.join()

    flooding = threading.Thread(target=flood)
    with server.watched_memory() as more:
        flooding.start()
        answered = server.metric(ANSWERED)
        wait_until(lambda: server.metric(ANSWERED) > answered + 3000)
        server.check_good()
        stop.set()
        flooding.join()
        assert more() < 16 * 2**20


def test_clients_that_leave_in_the_middle_are_no_failure_of_the_servers(server: Server) -> None:
    for sent in (FAST * 40, SLOW * 3, SLOW + b"nonsense\r\n\r\n", TOO_LARGE[:5000]):
        for _ in range(5):
            client = server.connect()
            client.send(sent)
            client.close()
    server.check_good()
    assert server.events("library") == []


@pytest.mark.parametrize("path", ["/nothing", INFER])
def test_a_client_that_is_refused_while_it_sends_sees_why(server: Server, path: str) -> None:
    body, close = bytes(4 * MAX_BODY), {"Connection": "close"}
    connection = http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE)
    with closing(connection):
        connection.request("POST", path, body, close)
        assert connection.getresponse().status == (413 if path == INFER else 404)


EXPECTING = {"Expect": "100-continue"}


@pytest.mark.parametrize("next_", [LIVE, FAST, SLOW, message("POST", INFER, b"1", EXPECTING)])
def test_nothing_is_answered_after_the_last_request(server: Server, next_: bytes) -> None:
    """A client that asks first and is refused may send its body or not, so no request follows."""
    with server.connect() as client:
        client.send(message("GET", "/nothing", headers=EXPECTING) + next_ + FAST[:-1])
        assert client.reply().headers["connection"] == "close"
        assert client.rest() == b""
    server.check_good()
    assert [event for event in server.events() if event["level"] == "error"] == []


def test_a_refusal_after_head_has_its_body(server: Server) -> None:
    with server.connect() as client:
        assert client.ask("HEAD", "/v2/health/live").status == 200
        client.send(b"nonsense\r\n\r\n")
        assert client.reply().error == "the request is not valid HTTP/1.1"


def test_http_1_0_stays_so_whatever_protocol_it_wishes_for(server: Server) -> None:
    with server.connect() as client:
        client.send(b"GET /v2 HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert client.reply().status == 200
        assert client.rest() == b""


def test_a_body_that_is_refused_early_is_thrown_away(server: Server) -> None:
    with server.connect() as client:
        client.send(TOO_LARGE[:1000])
        assert client.reply().status == 413
        client.send(TOO_LARGE[1000:] + FAST)
        assert client.reply().status == 200


@pytest.mark.parametrize("asked_before", [False, True])
def test_a_request_that_is_on_its_way_at_the_end_is_answered(
    model: Path, asked_before: bool
) -> None:
    with launch(model, "--shutdown-delay", "0") as server, ExitStack() as stack:
        server.wait_until_ready()
        clients = [stack.enter_context(server.connect()) for _ in range(20)]
        for client in clients if asked_before else clients[:1]:
            assert client.ask("GET", "/v2/health/live").status == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.wait_for("draining")
        for client in clients:
            client.send(FAST[:300])
        for client in clients:
            client.send(FAST[300:])
            reply = client.reply()
            assert (reply.status, reply.headers["connection"]) == (200, "close")
            assert client.rest() == b""
        assert server.process.wait(PATIENCE) == 0


# How bodies are counted.


def upload(bodies: BodyBudget, *parts: bytes, whole: bool = True) -> Any:
    """A request whose body comes in parts; without `whole` its client leaves after them."""
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages.append({"type": "http.request"} if whole else {"type": "http.disconnect"})

    async def receive() -> Any:
        await asyncio.sleep(0)
        return messages.pop(0)

    state = {"call": SimpleNamespace(started=0.0)}
    scope = {"type": "http", "headers": [(b"a", b"1"), (b"a", b"2")], "state": state}
    return received(Request(scope, receive), bodies)


def test_a_body_is_counted_from_its_arrival_to_the_end_of_its_handler() -> None:
    bodies = BodyBudget(max_body=100_000, max_held=150_000)

    async def run() -> None:
        async with upload(bodies, bytes(50_000), bytes(40_000)) as one:
            assert bodies.held == 90_000
            assert one.headers == {b"a": b"1, 2"}
            assert len(one.take_body()) == 90_000
            assert bodies.held == 90_000
            async with upload(bodies, bytes(SMALL_BODY)):
                assert bodies.held == 90_000  # a small one is not counted
            with pytest.raises(TooManyBodies):
                await upload(bodies, bytes(50_000), bytes(20_000)).__aenter__()
            with pytest.raises(RequestError, match="larger than 100000 bytes, the most allowed"):
                await upload(bodies, bytes(50_000), bytes(50_001)).__aenter__()
            with pytest.raises(ClientDisconnect):
                await upload(bodies, bytes(50_000), whole=False).__aenter__()
            assert bodies.held == 90_000
        assert bodies.held == 0

    asyncio.run(run())


class FakeApplication:
    """Counts bodies, and answers when it is told to."""

    def __init__(self) -> None:
        self.bodies = BodyBudget(max_body=100_000, max_held=150_000)
        self.draining = False
        self.may_answer = asyncio.Event()

    async def infer(self, request: FastInference) -> Reply:
        request.take_body()
        await self.may_answer.wait()
        return Reply(b"{}")

    def reject(self, status: int, message: str, client: str) -> Reply:
        return Reply(message.encode(), status)


class FakeConnection:
    """Notes what is written."""

    url = INFER.encode()

    def __init__(self, application: FakeApplication) -> None:
        self.application = application
        self.loop = asyncio.get_running_loop()
        self.transport = SimpleNamespace(is_closing=lambda: False)
        self.written: list[int] = []

    def forwarded_address(self, forwarded: bytes) -> str:
        return "192.0.2.7"

    def write(self, reply: Reply, *, keep_alive: bool) -> None:
        self.written.append(reply.status)

    def on_response_complete(self) -> None:
        pass


def test_a_body_on_the_fast_path_is_counted_in_the_same_way() -> None:
    async def run() -> None:
        application = FakeApplication()
        connection: Any = FakeConnection(application)

        def begin(*sizes: int) -> FastInference:
            request = FastInference(connection, {}, keep_alive=True)
            for size in sizes:
                request.add(bytes(size))
            return request

        one = begin(50_000, 40_000)
        assert application.bodies.held == 90_000
        one.complete()
        left = begin(40_000)
        assert application.bodies.held == 130_000
        left.message_event.set()  # its client leaves
        begin(40_000, 30_000)  # too many: answered at once
        assert connection.written == [503]
        assert application.bodies.held == 90_000
        one.message_event.set()  # its client leaves too, but it is worked on
        await asyncio.sleep(0)
        assert application.bodies.held == 90_000
        application.may_answer.set()
        await one.task
        assert application.bodies.held == 0

    asyncio.run(run())
