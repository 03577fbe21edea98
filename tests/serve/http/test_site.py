"""A web page of another site reaches nothing: neither by a name that it rebinds, nor by a post."""

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import onnx_models
from mnist_sgd.data import sample_digits
from mnist_sgd_serve.http.responses import STATUS
from mnist_sgd_serve.http.site import Site
from mnist_sgd_serve.protocol import RequestError
from mnist_sgd_serve.settings import Settings
from server import INFER, RAW, Server, running

FOREIGN_PAGE = (
    "a page of another site may not send this; start the server with --cors ORIGIN to allow one"
)
OWN = socket.gethostname()


def foreign(host: str) -> str:
    return (
        f"the host '{host}' is not a name of this server; start it with --allow-host NAME to "
        "allow another"
    )


def broken(host: str) -> str:
    return f"the header Host must be a host, got '{host}'"


def refusal(settings: Mapping[str, object], head: dict[str, str], method: str = "POST") -> str:
    """Why a request is refused, or an empty text."""
    given = [(name.encode(), value.encode()) for name, value in head.items()]
    site = Site(Settings(model=Path("m"), **settings))  # type: ignore[arg-type]
    try:
        site.check({"type": "http", "method": method, "headers": given, "http_version": "1.1"})
    except RequestError as error:
        assert STATUS[error.kind] == (400 if "must be a host" in str(error) else 403)
        return str(error)
    return ""


LOCAL = ["localhost", "LocalHost:8000", "app.localhost", "127.0.0.1:8000", "127.9.9.9", "[::1]:80"]
DOTLESS = ["serve", "mnist-sgd:8080", "test", OWN]
INTERNAL = ["pi.local", "mnist-sgd.default.svc", "a.default.svc.cluster.local:80", "ip-1.internal"]
ADDRESSES = ["10.1.2.3:8080", "192.168.1.7", "[fd00::7]:8080"]
FOREIGN = [
    "evil.example:8000",
    "evil.example.",
    "localhost.evil.example",
    "local.com",
    "127.0.0.1.a.b",
]
BROKEN = ["a b", "a, evil.example", "evil.example@localhost", "[::1", "a:b", "::1", "http://a"]


@pytest.mark.parametrize("bound", ["127.0.0.1", "localhost", "::1"])
def test_a_server_on_a_loopback_address_is_called_by_local_names_alone(bound: str) -> None:
    for host in [*LOCAL, *DOTLESS, *INTERNAL, bound.replace("::1", "[::1]"), ""]:
        assert refusal({"host": bound}, {"host": host}) == "", host
    for host in [*FOREIGN, *ADDRESSES]:
        assert refusal({"host": bound}, {"host": host}) == foreign(host), host


@pytest.mark.parametrize("bound", ["0.0.0.0", "::", "192.168.1.7"])
def test_a_server_on_other_addresses_is_called_by_any_address_too(bound: str) -> None:
    """As a probe of Kubernetes does, which names the address of the pod."""
    for host in [*LOCAL, *DOTLESS, *INTERNAL, *ADDRESSES]:
        assert refusal({"host": bound}, {"host": host}) == "", host
    for host in FOREIGN:
        assert refusal({"host": bound}, {"host": host}) == foreign(host), host


def test_names_are_allowed_by_the_option() -> None:
    named = {"host": "0.0.0.0", "allow_host": ("Digits.example.org", "*.example.net", "10.0.0.1")}
    for host in (
        "digits.example.org",
        "DIGITS.EXAMPLE.ORG.:443",
        "a.example.net",
        "b.a.example.net",
    ):
        assert refusal(named, {"host": host}) == ""
    for host in ("example.org", "a.digits.example.org", "example.net", "badexample.net"):
        assert refusal(named, {"host": host}) == foreign(host)
    for host in FOREIGN:
        assert refusal({"allow_host": ("*",)}, {"host": host}) == ""
    assert refusal({"allow_host": ("10.0.0.1", "[fd00::1]")}, {"host": "10.0.0.1:8000"}) == ""
    assert refusal({"allow_host": ("10.0.0.1", "[fd00::1]")}, {"host": "[FD00::1]:8000"}) == ""


@pytest.mark.parametrize("host", BROKEN)
@pytest.mark.parametrize("allowed", [(), ("*",)])
def test_what_is_no_host_is_refused_whatever_is_allowed(host: str, allowed: tuple[str]) -> None:
    assert refusal({"allow_host": allowed}, {"host": host}) == broken(host)


def test_a_page_of_another_origin_may_change_nothing() -> None:
    here = {"host": "localhost:8000"}
    for mark in (
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://localhost:3000"},
        {"sec-fetch-site": "something new"},
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
        {"origin": ""},
    ):
        for method in ("POST", "PUT", "DELETE"):
            assert refusal({}, here | mark, method) == FOREIGN_PAGE, mark
        for method in ("GET", "HEAD", "OPTIONS"):
            assert refusal({}, here | mark, method) == ""


def test_the_page_itself_and_programs_may_post() -> None:
    for mark in (
        {},
        {"sec-fetch-site": "same-origin", "origin": "http://localhost:8000"},
        {"sec-fetch-site": "none"},
        {"origin": "http://localhost:8000"},
        {"origin": "https://localhost:8000"},  # through a proxy that speaks TLS
    ):
        assert refusal({}, {"host": "localhost:8000"} | mark) == "", mark


@pytest.mark.parametrize("host", ["localhost", "localhost:443"])
@pytest.mark.parametrize("origin", ["https://localhost", "https://localhost:443"])
def test_the_default_port_of_a_scheme_may_be_said(host: str, origin: str) -> None:
    assert refusal({}, {"host": host, "origin": origin}) == ""
    assert refusal({}, {"host": host, "origin": "http://localhost:443"}) == (
        "" if host.endswith(":443") else FOREIGN_PAGE
    )


def test_an_origin_that_is_allowed_to_call_may_post() -> None:
    page = {"host": "localhost", "sec-fetch-site": "cross-site", "origin": "https://a.example"}
    assert refusal({"cors": ("https://c.example", "https://a.example")}, page) == ""
    assert refusal({"cors": ("*",)}, page) == ""
    assert refusal({"cors": ("https://b.example",)}, page) == FOREIGN_PAGE


@pytest.mark.parametrize("name", ["", "a:80", "http://a", "*.", "*a", "a/b", "a b"])
def test_a_name_to_allow_is_a_host_without_more(name: str) -> None:
    with pytest.raises(ValueError, match=r"^allow_host must be a name or an address without a por"):
        Settings(model=Path("m"), allow_host=(name,))


# A real server.


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    model = tmp_path_factory.mktemp("model") / "model.onnx"
    model.write_bytes(onnx_models.content(onnx_models.linear()))
    with running(model, "--allow-host", "digits.example.org", "--workers", "2") as started:
        yield started


def test_no_path_answers_to_a_foreign_host(server: Server) -> None:
    for path in ("/", "/v2", "/v2/models", "/v2/health/live", "/metrics", "/openapi.json", "/none"):
        reply = server.get(path, {"Host": "evil.example:8000"})
        assert (reply.status, reply.error) == (403, foreign("evil.example:8000"))
    for body, path in ((sample_digits()[0].read_bytes(), "/predict"), (bytes(784), INFER)):
        head = RAW | {"Host": "evil.example", "Origin": "http://evil.example"}
        server.check_refusal(server.post(path, body, head), 403, foreign("evil.example"))
    counted = 'mnist_sgd_failures_total{reason="foreign_site"}'
    assert server.metric(counted) == 9


def test_the_host_of_a_whole_url_counts_and_not_the_header(server: Server) -> None:
    for target in ("http://evil.example/v2", "HTTP://evil.example/v2", "https://evil.example"):
        server.check_refusal(server.get(target), 403, foreign("evil.example"))
    for path in ("/v2", "/v2/models"):
        assert server.get(f"http://localhost:8000{path}", {"Host": "evil.example"}).status == 200


def test_a_whole_url_needs_the_header_too(server: Server) -> None:
    for hosts in ("", "Host: localhost\r\nHost: localhost\r\n"):
        with server.connect() as client:
            client.send(f"GET http://localhost/v2 HTTP/1.1\r\n{hosts}\r\n".encode())
            assert client.reply().status == 400


def test_a_request_names_one_host(server: Server) -> None:
    for hosts in ("", "Host: localhost\r\nHost: localhost\r\n"):
        with server.connect() as client:
            client.send(f"GET /v2 HTTP/1.1\r\n{hosts}\r\n".encode())
            text = f"the request must have one header Host, got {hosts.count('Host')}"
            server.check_refusal(client.reply(), 400, text)


def test_a_post_of_another_site_is_refused_and_the_rest_answered(server: Server) -> None:
    picture = sample_digits()[0].read_bytes()
    simple = {
        "Content-Type": "text/plain",
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "no-cors",
    }
    for head in (simple, {"Origin": "http://evil.example"}, {"Origin": "null"}):
        server.check_refusal(server.post("/predict", picture, head), 403, FOREIGN_PAGE)
        server.check_refusal(server.post(INFER, bytes(784), RAW | head), 403, FOREIGN_PAGE)
    here = f"{server.host}:{server.port}"
    for host in (here, "digits.example.org"):
        head = {"Host": host, "Origin": f"http://{host}"}
        assert server.post("/predict", picture, head).status == 200
        assert server.get("/", head).status == 200


def test_a_server_on_all_addresses_answers_the_probes_of_a_cluster(tmp_path: Path) -> None:
    """They name the pod by its address, and the service by its name."""
    model = tmp_path / "model.onnx"
    model.write_bytes(onnx_models.content(onnx_models.linear()))
    with running(model, "--host", "0.0.0.0") as server:
        server.host = "127.0.0.1"
        for host in ("10.244.1.17:8080", "[fd00::17]:8080", "mnist-sgd:8080", OWN, "localhost"):
            for path in ("/v2/health/live", "/v2/health/ready"):
                assert server.get(path, {"Host": host}).status == 200
            assert server.post(INFER, bytes(784), RAW | {"Host": host}).status == 200
        refused = server.get("/v2/health/live", {"Host": "evil.example"})
        assert (refused.status, refused.error) == (403, foreign("evil.example"))
