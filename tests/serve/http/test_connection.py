"""A connection without a socket: the order of answers, what is read, when it closes."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st

from mnist_sgd_serve.http.connection import LINGER_SECONDS, Connection, connection_class
from mnist_sgd_serve.http.messages import JSON, Request, Response
from mnist_sgd_serve.inference import BodyBudget
from mnist_sgd_serve.settings import Settings

GET = b"GET /%d HTTP/1.1\r\nHost: test\r\n\r\n"
POST = b"POST /%d HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n"
LIMITS = Settings(
    model=__file__,  # type: ignore[arg-type]  # not looked at
    header_timeout=10,
    body_timeout=20,
    keep_alive_timeout=60,
    write_timeout=30,
)


class StillLoop(asyncio.SelectorEventLoop):
    """A loop whose time stands still, however long a test takes."""

    def time(self) -> float:
        return 1000.0


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = StillLoop()
    yield made
    made.close()


@dataclass
class Transport:
    """What a connection does to its socket."""

    sent: bytes = b""
    closed: bool = False
    aborted: bool = False
    ended: bool = False
    reading: bool = True
    full: Callable[[], None] = lambda: None

    def write(self, data: bytes) -> None:
        assert not self.closed
        assert not self.ended
        self.sent += data
        self.full()

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


@dataclass
class State:
    """What uvicorn shares between connections."""

    connections: set[Any] = field(default_factory=set)
    default_headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    total_requests: int = 0


class Echo:
    """Answers with the request's path; those under /slow when they are let go."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.bodies = BodyBudget(1000, 10_000)
        self.draining = False
        self.seen: list[Request] = []
        self.slow: dict[bytes, asyncio.Future[None]] = {}
        self.refusals: list[int] = []

    async def handle(self, request: Request) -> Response:
        self.seen.append(request)
        if request.path == b"/same":
            return Response(b"", [(b"etag", b'"1"')], 304)
        if request.path.startswith(b"/slow"):
            self.slow[request.path] = self.loop.create_future()
            await self.slow[request.path]
            await asyncio.sleep(0)
        return Response(request.path + request.body, JSON)

    def reject(self, status: int, message: str) -> Response:
        self.refusals.append(status)
        return Response(json.dumps({"error": message}).encode(), JSON, status)


@dataclass
class Bench:
    """A connection, with both of its ends in hand."""

    loop: asyncio.AbstractEventLoop
    application: Echo
    transport: Transport
    connection: Connection
    state: State

    def feed(self, *parts: bytes) -> None:
        for part in parts:
            self.connection.data_received(part)

    def turn(self) -> None:
        """Let the event loop do what is due."""
        for _ in range(5):
            self.loop.run_until_complete(asyncio.sleep(0))

    def let_go(self, path: bytes) -> None:
        self.application.slow.pop(path).set_result(None)
        self.turn()

    def answers(self) -> list[tuple[int, bytes]]:
        """The status and body of each answer; those to HEAD and 304 must not be among them."""
        found, rest = [], self.transport.sent
        while rest:
            head, _, rest = rest.partition(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            sizes = [int(line[16:]) for line in lines if line.startswith(b"content-length: ")]
            size = sizes[0] if sizes else 0
            found.append((int(lines[0][9:12]), rest[:size]))
            rest = rest[size:]
        return found

    def look(self, seconds: float) -> None:
        """Let a deadline pass."""
        self.connection.close_if_slow(self.loop.time() + seconds, LIMITS)


@pytest.fixture
def bench(loop: asyncio.AbstractEventLoop) -> Bench:
    return make(loop)


def make(loop: asyncio.AbstractEventLoop) -> Bench:
    application, transport, state = Echo(loop), Transport(), State()
    connection = connection_class(application, application)(None, state, {}, loop)
    connection.connection_made(transport)  # type: ignore[arg-type]
    return Bench(loop, application, transport, connection, state)


def test_answers_keep_the_order_of_the_requests(bench: Bench) -> None:
    bench.feed(GET % 1 + GET.replace(b"%d", b"slow") + GET % 2 + GET % 3)
    assert bench.answers() == [(200, b"/1")]
    assert not bench.transport.reading
    bench.let_go(b"/slow")
    assert bench.answers() == [(200, b"/1"), (200, b"/slow"), (200, b"/2"), (200, b"/3")]
    assert bench.transport.reading
    assert not bench.transport.closed


def test_many_requests_of_one_read_give_the_event_loop_a_turn_between(bench: Bench) -> None:
    bench.feed(b"".join(GET % number for number in range(100)))
    counts = [len(bench.answers())]
    while counts[-1] < 100:
        bench.loop.run_until_complete(asyncio.sleep(0))
        counts.append(len(bench.answers()))
    assert counts[0] == 16
    assert all(after - before <= 4 for before, after in pairwise(counts))
    assert bench.answers() == [(200, b"/%d" % number) for number in range(100)]
    assert bench.transport.reading


@given(st.data())
def test_answers_do_not_depend_on_how_the_bytes_arrive(data: st.DataObject) -> None:
    loop = StillLoop()
    try:
        whole, cut = make(loop), make(loop)
        requests = data.draw(
            st.lists(
                st.sampled_from(
                    [
                        GET % 1,
                        POST % (2, 5) + b"hello",
                        POST % (3, 2000) + bytes(2000),
                        b"POST /4 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                        b"3\r\nabc\r\n2\r\nde\r\n0\r\nx: y\r\n\r\n",
                        b"POST /5 HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
                        b"Content-Length: 3\r\n\r\nabc",
                        b"\r\n",
                        GET.replace(b"%d", b"slow"),
                    ]
                ),
                max_size=6,
            )
        )
        stream = b"".join(requests) + data.draw(
            st.sampled_from([b"", b"nonsense\r\n\r\n", GET[:20]])
        )
        places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
        whole.feed(stream)
        cut.feed(*(stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)))
        for one in (whole, cut):
            while one.application.slow:
                one.let_go(b"/slow")
            one.turn()
        assert cut.answers() == whole.answers()
        assert len(whole.answers()) >= len([one for one in requests if one != b"\r\n"])
        assert cut.transport.ended == whole.transport.ended
        assert cut.application.refusals == whole.application.refusals
    finally:
        loop.close()


def test_bytes_one_by_one_are_a_request(bench: Bench) -> None:
    bench.feed(*(bytes([byte]) for byte in POST % (1, 5) + b"hello" + GET % 2))
    assert bench.answers() == [(200, b"/1hello"), (200, b"/2")]


def test_a_refused_body_is_thrown_away_and_the_next_request_answered(bench: Bench) -> None:
    bench.feed(POST % (1, 1001))
    assert [status for status, _ in bench.answers()] == [413]
    bench.feed(bytes(500), bytes(501) + GET % 2)
    assert [status for status, _ in bench.answers()] == [413, 200]
    assert [one.path for one in bench.application.seen] == [b"/2"]
    assert bench.application.refusals == [413]


def test_a_body_that_is_refused_behind_a_slow_request_is_answered_after_it(bench: Bench) -> None:
    bench.feed(GET.replace(b"%d", b"slow") + POST % (1, 1001), bytes(1001), GET % 2)
    assert bench.answers() == []
    bench.let_go(b"/slow")
    assert [status for status, _ in bench.answers()] == [200, 413, 200]


def test_a_refused_body_that_does_not_end_in_time_closes_without_another_answer(
    bench: Bench,
) -> None:
    bench.feed(POST % (1, 1001), b"x")
    bench.look(21)
    assert [status for status, _ in bench.answers()] == [413]
    assert bench.transport.ended
    bench.look(23)
    assert bench.transport.closed


def test_head_has_the_length_and_no_body(bench: Bench) -> None:
    bench.feed(b"HEAD /12345 HTTP/1.1\r\n\r\n")
    assert b"content-length: 6\r\n" in bench.transport.sent
    assert bench.transport.sent.endswith(b"\r\n\r\n")


def test_304_has_no_length_and_keeps_the_connection(bench: Bench) -> None:
    bench.feed(b"GET /same HTTP/1.1\r\n\r\n")
    assert bench.transport.sent == b'HTTP/1.1 304 Not Modified\r\netag: "1"\r\n\r\n'
    assert not bench.transport.closed


@pytest.mark.parametrize(
    "head",
    [
        b"GET /1 HTTP/1.0\r\n\r\n",
        b"GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"GET /1 HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /1 HTTP/1.1\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n",
    ],
)
@pytest.mark.parametrize("more", [b"", GET % 2, b"nonsense", b"\r\n"])
def test_after_the_last_request_it_says_so_and_closes(
    bench: Bench, head: bytes, more: bytes
) -> None:
    bench.feed(head + more)
    assert bench.answers() == [(200, b"/1")]
    assert b"\r\nconnection: close\r\n" in bench.transport.sent
    assert bench.transport.closed
    assert bench.application.refusals == []


def test_a_tunnel_is_answered_and_closed(bench: Bench) -> None:
    bench.feed(b"CONNECT a:1 HTTP/1.1\r\n\r\n" + GET % 1)
    assert bench.answers() == [(200, b"a:1")]  # the application would refuse it
    assert bench.transport.closed


def test_a_wish_for_another_protocol_keeps_body_and_connection(bench: Bench) -> None:
    head = b"POST /%d HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    body = b"Content-Length: 30\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n    "
    bench.feed(head % 1 + body[:-2], body[-2:] + head % 2 + b"\r\n" + GET % 3)
    statuses, bodies = zip(*bench.answers(), strict=True)
    assert statuses == (200, 200, 200)
    assert bodies == (b"/1" + body[-30:], b"/2", b"/3")


def test_a_client_that_asks_first_is_told_to_go_on_once(bench: Bench) -> None:
    head = b"POST /1 HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n"
    bench.feed(head)
    assert bench.transport.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    bench.feed(b"hi")
    assert bench.answers() == [(100, b""), (200, b"/1hi")]


def test_a_client_that_asks_first_for_too_much_is_refused_for_good(bench: Bench) -> None:
    bench.feed(b"POST /1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n")
    assert [status for status, _ in bench.answers()] == [413]
    assert b"\r\nconnection: close\r\n" in bench.transport.sent


def test_what_is_no_http_is_answered_after_what_came_before_it(bench: Bench) -> None:
    bench.feed(GET.replace(b"%d", b"slow") + b"nonsense\r\n\r\n" + GET % 1)
    bench.feed(GET % 2)
    bench.let_go(b"/slow")
    assert [status for status, _ in bench.answers()] == [200, 400]
    assert bench.transport.ended


def test_a_refused_client_is_listened_to_for_a_moment(bench: Bench) -> None:
    bench.feed(b"nonsense\r\n\r\n")
    assert (bench.transport.ended, bench.transport.closed) == (True, False)
    bench.feed(b"more")
    bench.look(LINGER_SECONDS / 2)
    assert not bench.transport.closed
    bench.look(LINGER_SECONDS * 2)
    assert bench.transport.closed
    assert [status for status, _ in bench.answers()] == [400]


def test_no_request_is_begun_while_the_client_does_not_read(bench: Bench) -> None:
    bench.transport.full = bench.connection.pause_writing
    bench.feed(b"".join(GET % number for number in range(1000)))
    assert bench.answers() == [(200, b"/0")]
    assert not bench.transport.reading
    bench.connection.resume_writing()
    bench.turn()
    assert bench.answers() == [(200, b"/0"), (200, b"/1")]
    bench.transport.full = lambda: None
    bench.connection.resume_writing()
    for _ in range(250):
        bench.turn()
    assert bench.answers() == [(200, b"/%d" % number) for number in range(1000)]
    assert bench.transport.reading


def test_a_client_that_does_not_read_is_thrown_out(bench: Bench) -> None:
    bench.transport.full = bench.connection.pause_writing
    bench.feed(GET % 1)
    bench.look(29)
    assert not bench.transport.closed
    bench.look(31)
    assert bench.transport.aborted
    assert bench.application.refusals == [408]


@pytest.mark.parametrize(
    ("sent", "seconds", "statuses"),
    [
        ([], 10, []),
        ([GET % 1], 60, [200]),
        ([GET[:20]], 10, [408]),
        ([GET % 1 + GET[:20]], 10, [200, 408]),
        ([POST % (1, 9), b"x"], 20, [408]),
        ([GET % 1, POST % (1, 9), b"x"], 20, [200, 408]),
    ],
    ids=["silent", "idle", "head", "second head", "body", "second body"],
)
def test_a_client_is_over_its_deadline_and_not_before(
    bench: Bench, sent: list[bytes], seconds: float, statuses: list[int]
) -> None:
    bench.feed(*sent)
    bench.look(seconds - 1)
    assert [status for status, _ in bench.answers()] == [s for s in statuses if s == 200]
    assert not bench.transport.closed
    bench.look(seconds + 1)
    assert [status for status, _ in bench.answers()] == statuses
    assert bench.transport.ended is (408 in statuses)
    assert bench.transport.closed is (408 not in statuses)


def test_a_request_that_is_being_answered_has_no_deadline_here(bench: Bench) -> None:
    bench.feed(GET.replace(b"%d", b"slow"))
    bench.look(1000)
    bench.let_go(b"/slow")
    assert bench.answers() == [(200, b"/slow")]


def test_a_client_that_leaves_is_noticed_and_nothing_is_written(bench: Bench) -> None:
    bench.feed(GET.replace(b"%d", b"slow") + GET % 1)
    (request,) = bench.application.seen
    assert not request.is_disconnected()
    bench.transport.closed = True
    bench.connection.connection_lost(None)
    assert request.is_disconnected()
    bench.let_go(b"/slow")
    assert bench.transport.sent == b""
    assert [one.path for one in bench.application.seen] == [b"/slow"]
    assert bench.state.connections == set()


def test_a_server_that_ends_answers_what_has_come_and_closes(bench: Bench) -> None:
    bench.feed(GET.replace(b"%d", b"slow") + GET % 1)
    bench.connection.shutdown()
    assert not bench.transport.closed
    bench.let_go(b"/slow")
    assert bench.answers() == [(200, b"/slow"), (200, b"/1")]
    assert bench.transport.sent.count(b"connection: close") == 1
    assert bench.transport.closed


@pytest.mark.parametrize("asked", [False, True], ids=["never asked", "asked before"])
def test_a_server_that_ends_closes_a_connection_that_is_quiet_for_a_moment(
    bench: Bench, asked: bool
) -> None:
    """A request may be on its way."""
    if asked:
        bench.feed(GET % 1)
    bench.connection.shutdown()
    assert not bench.transport.closed
    bench.connection.since -= 1.0
    bench.connection.shutdown()
    assert bench.transport.closed
    assert bench.answers() == [(200, b"/1")] * asked


@pytest.mark.parametrize("asked", [False, True], ids=["never asked", "asked before"])
def test_a_server_that_ends_answers_a_request_that_was_on_its_way(
    bench: Bench, asked: bool
) -> None:
    if asked:
        bench.feed(GET % 1)
    bench.connection.shutdown()
    bench.feed(GET % 2)
    assert bench.answers()[-1] == (200, b"/2")
    assert bench.transport.sent.count(b"connection: close") == 1
    assert bench.transport.closed
    bench.connection.shutdown()  # as it was to do later


def test_a_draining_server_closes_after_the_answer(bench: Bench) -> None:
    bench.application.draining = True
    bench.feed(GET % 1 + GET % 2)
    assert bench.answers() == [(200, b"/1")]
    assert bench.transport.closed


def test_headers_given_twice_are_a_list_and_trailers_none(bench: Bench) -> None:
    head = b"POST /1 HTTP/1.1\r\nContent-Encoding: a\r\nTransfer-Encoding: chunked\r\n"
    bench.feed(head + b"content-encoding: b\r\n\r\n1\r\nx\r\n0\r\nAuthorization: c\r\n\r\n")
    (request,) = bench.application.seen
    assert request.headers[b"content-encoding"] == b"a, b"
    assert b"authorization" not in request.headers


def test_bodies_are_counted_while_they_arrive_and_no_longer(
    loop: asyncio.AbstractEventLoop,
) -> None:
    one, other = make(loop), make(loop)
    other.connection = connection_class(one.application, one.application)(None, one.state, {}, loop)
    other.connection.connection_made(other.transport)  # type: ignore[arg-type]
    one.application.bodies.max_body, one.application.bodies.max_held = 100_000, 120_000
    one.feed(POST % (1, 90_000), bytes(80_000))
    assert one.application.bodies.held == 80_000
    other.feed(POST % (2, 90_000), bytes(35_000))
    assert one.application.bodies.held == 115_000
    other.feed(bytes(35_000))
    assert [status for status, _ in other.answers()] == [503]
    assert one.application.bodies.held == 80_000
    one.feed(bytes(10_000))
    assert one.application.bodies.held == 0
    assert [status for status, _ in one.answers()] == [200]
    other.feed(bytes(20_000) + GET % 3)
    assert [status for status, _ in other.answers()] == [503, 200]
    one.feed(POST % (1, 90_000), bytes(80_000))
    one.connection.connection_lost(None)
    assert one.application.bodies.held == 0


def test_a_body_is_counted_until_its_request_is_over_though_the_client_has_left(
    bench: Bench,
) -> None:
    bench.application.bodies.max_body, bench.application.bodies.max_held = 100_000, 1_000_000
    slow = b"POST /slow HTTP/1.1\r\nContent-Length: 90000\r\n\r\n"
    bench.feed(slow, bytes(90_000))
    assert bench.application.bodies.held == 90_000
    bench.feed(slow, bytes(50_000))  # the next one, which arrives meanwhile, is counted too
    assert bench.application.bodies.held == 140_000
    bench.feed(bytes(40_000))
    assert bench.application.bodies.held == 180_000
    bench.connection.connection_lost(None)
    assert bench.application.bodies.held == 90_000  # it is still worked on
    bench.application.slow[b"/slow"].set_result(None)
    bench.turn()
    assert bench.application.bodies.held == 0


def test_a_small_body_is_not_counted(bench: Bench) -> None:
    bench.feed(b"POST /slow HTTP/1.1\r\nContent-Length: 900\r\n\r\n" + bytes(900))
    assert bench.application.bodies.held == 0


def test_a_failure_of_our_own_is_not_blamed_on_the_client(bench: Bench) -> None:
    def fail(request: Request) -> Any:
        raise ZeroDivisionError

    bench.application.handle = fail  # type: ignore[method-assign]
    with pytest.raises(Exception, match="on_message_complete") as raised:
        bench.feed(GET % 1)
    assert isinstance(raised.value.__context__, ZeroDivisionError)
    assert bench.application.refusals == []
