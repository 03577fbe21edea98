"""Behind a proxy: whose X-Forwarded headers are believed, and the path that the proxy adds."""

from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from pictures import encode, stroke
from server import INFER, RAW, message, running, stopped
from waiting import PATIENCE


@pytest.mark.parametrize(
    ("trusted", "forwarded", "client"),
    [
        ((), "203.0.113.9", "127.0.0.1"),
        (("10.0.0.0/8",), "203.0.113.9", "127.0.0.1"),
        (("127.0.0.1",), "203.0.113.9", "203.0.113.9"),
        (("127.0.0.0/8",), "203.0.113.9", "203.0.113.9"),
        (("127.0.0.1", "10.0.0.0/8"), "6.6.6.6, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        (("unix",), "203.0.113.9", "127.0.0.1"),
        (("10.0.0.1", "*"), "203.0.113.9", "203.0.113.9"),
        (("*",), "y" * 9000, "y" * 100),
    ],
)
def test_only_a_trusted_proxy_names_the_client(
    model: Path, trusted: tuple[str, ...], forwarded: str, client: str
) -> None:
    options = [f"--trusted-proxy={one}" for one in trusted]
    with running(model, "--access-log", *options) as server:
        headers = RAW | {"X-Forwarded-For": forwarded}
        assert server.post(INFER, bytes(784), headers).status == 200
        assert server.wait_for("request")["client"] == client


def test_an_ipv4_proxy_is_trusted_on_a_socket_for_ipv6(model: Path) -> None:
    options = ("--host", "::", "--trusted-proxy", "127.0.0.1", "--access-log")
    with running(model, *options) as server:
        server.host = "127.0.0.1"
        for headers in ({}, {"X-Forwarded-For": "203.0.113.9"}):
            assert server.get("/v2", headers).status == 200
        server.wait_for("request", 2)
        clients = [event["client"] for event in server.events("request")]
        assert clients == ["127.0.0.1", "203.0.113.9"]


def test_a_failure_names_the_client_without_an_access_log_too(model: Path) -> None:
    with (
        running(model, "--trusted-proxy", "127.0.0.1", "--max-queue-size", "1") as server,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(server.connect()) for _ in range(20)]
        request = message("POST", INFER, bytes(784), RAW | {"X-Forwarded-For": "203.0.113.9"})
        for client in clients:  # so that each is accepted
            assert client.ask("GET", "/v2/health/live").status == 200
        with stopped(server):
            for client in clients:
                client.send(request)
                client.wait_until_delivered()
        assert {client.reply().status for client in clients} == {200, 503}
        assert server.wait_for("request")["client"] == "203.0.113.9"


def test_a_proxy_at_the_unix_socket_names_the_client(model: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "server.sock")
    options = ("--unix-socket", path, "--trusted-proxy", "unix", "--access-log")
    with running(model, *options) as server:
        transport = httpx.HTTPTransport(uds=path)
        with httpx.Client(transport=transport, timeout=PATIENCE) as http:
            for forwarded in ("203.0.113.9", "6.6.6.6, unix, 203.0.113.9"):
                headers = {"X-Forwarded-For": forwarded}  # with what the client says of itself
                assert http.get("http://localhost/v2", headers=headers).status_code == 200
        server.wait_for("request", 2)
        assert [event["client"] for event in server.events("request")] == ["203.0.113.9"] * 2


def test_the_root_path_may_be_stripped_by_the_proxy_or_not(model: Path) -> None:
    with running(model, "--root-path", "/digits", "--trusted-proxy", "127.0.0.1") as server:
        for prefix in ("", "/digits"):
            assert server.post(prefix + INFER, bytes(784), RAW).status == 200
            for path in ("/", "/docs", "/page/page.css"):
                assert server.get(prefix + path).status == 200
            document = server.get(f"{prefix}/openapi.json").json
            assert [one["url"] for one in document["servers"]] == ["/digits"]
        assert server.get("/digitsv2").status == 404


def test_the_page_may_post_behind_a_proxy_that_speaks_tls(model: Path) -> None:
    own = {"Host": "localhost", "Origin": "https://localhost", "X-Forwarded-Proto": "https"}
    with running(model, "--trusted-proxy", "127.0.0.1") as server:
        assert server.post("/predict", encode(stroke(1)), own).status == 200
        foreign = own | {"Origin": "https://example.org"}
        assert server.post("/predict", encode(stroke(1)), foreign).status == 403
