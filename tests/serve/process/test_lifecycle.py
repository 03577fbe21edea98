"""A server starts when it can answer, or says in one line why not, and ends without a loss."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from endings import end_under_load
from mnist_sgd_serve.model.artifact import MAX_BYTES
from onnx_models import (
    NOT_ARTIFACTS,
    content,
    endless,
    linear,
    with_a_custom_domain,
    with_external_data,
    with_float_images,
    with_one_answer_for_all,
)
from server import INFER, RAW, Server, launch, message, reserved_port, running
from waiting import PATIENCE, wait_until

BODY = (
    b'{"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 28, 28], "data": ['
    + b", ".join([b"9"] * 784)
    + b"]}]}"
)


@pytest.fixture
def server(model: Path) -> Iterator[Server]:
    """One that goes on for an hour after SIGTERM: the test ends it."""
    with launch(model, "--shutdown-delay", "3600", "--header-timeout", "3600") as launched:
        launched.wait_until_ready()
        yield launched


def start(*arguments: str | Path, prefix: Sequence[str] = ()) -> tuple[int, str]:
    """The exit code of a server that must not start, and all that it printed."""
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "mnist_sgd_serve", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout


def with_two_answers_at_most() -> onnx.ModelProto:
    """It passes the first check, which asks of two images."""
    model = with_one_answer_for_all()
    end = next(tensor for tensor in model.graph.initializer if tensor.name == "end")
    end.CopyFrom(numpy_helper.from_array(np.array([2], np.int64), "end"))
    return model


def with_two_images_at_least() -> onnx.ModelProto:
    """It multiplies by the second image's answer."""
    model = linear()
    model.graph.node[-1].output[0] = "each"
    model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "one"))
    model.graph.node.append(helper.make_node("Gather", ["each", "one"], ["second"]))
    model.graph.node.append(helper.make_node("Mul", ["each", "second"], ["probability"]))
    return model


UNUSABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "it is empty"),
    "corrupt": (lambda: content(linear())[:1000], "is not a usable artifact: "),
    "text": (lambda: b"<html>404</html>", "is not a usable artifact: "),
    "too large": (lambda: bytes(MAX_BYTES + 1), f"it is larger than {MAX_BYTES} bytes"),
    "signature": (lambda: content(with_float_images()), "its input must be image: tensor(uint8)"),
    "custom domain": (lambda: content(with_a_custom_domain()), "the custom domain 'com.microsoft'"),
    "external data": (lambda: content(with_external_data("w.bin")), "tensors in other files"),
    "two at most": (lambda: content(with_two_answers_at_most()), "2 answers for 16 images"),
    "two at least": (lambda: content(with_two_images_at_least()), "it does not run with 1 images"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_model_that_cannot_be_used_ends_the_start_with_one_line(
    case: str, tmp_path: Path
) -> None:
    make, says = UNUSABLE[case]
    path = tmp_path / "model.onnx"
    path.write_bytes(make())
    code, said = start(path, "--port", "0")
    assert code == 2
    assert said.startswith(f"mnist_sgd_serve: {path} is not a usable artifact: ")
    assert says in said
    assert said.count("\n") == 1


def test_every_kind_of_unusable_model_is_one_line_from_several_workers_too(tmp_path: Path) -> None:
    for case in ("custom domain", "no metadata"):
        path = tmp_path / "model.onnx"
        path.write_bytes(content(NOT_ARTIFACTS[case][0]()))
        code, said = start(path, "--port", "0", "--workers", "2")
        assert (code, said.count("\n")) == (2, 1)
        assert said.startswith(f"mnist_sgd_serve: {path} is not a usable artifact: ")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_missing_model_is_said_once_whatever_the_workers(workers: str, tmp_path: Path) -> None:
    path = tmp_path / "none.onnx"
    code, said = start(path, "--port", "0", "--workers", workers)
    text = f"mnist_sgd_serve: {path} cannot be read: No such file or directory\n"
    assert (code, said) == (2, text)


def test_a_port_in_use_is_named_in_one_line(model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for workers in ("1", "2"):
            code, said = start(model, "--port", str(port), "--workers", workers)
            text = f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another with"
            assert (code, said) == (2, f"mnist_sgd_serve: {text} --port\n")


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("203.0.113.7", "cannot listen on 203.0.113.7:8: Cannot assign requested address"),
        ("2001:db8::1", "cannot listen on [2001:db8::1]:8: "),
        ("no host", "cannot listen on no host:8: "),
        ("a" * 64, "cannot listen on aaaa"),
    ],
)
def test_a_host_that_cannot_be_bound_is_named_in_one_line(
    host: str, says: str, model: Path
) -> None:
    code, said = start(model, "--host", host, "--port", "8")
    assert code == 2
    assert said.startswith(f"mnist_sgd_serve: {says}")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--bad"], "there is no option '--bad'"),
        (["--port", "http"], "--port must be a whole number from 0 to 65535, got 'http'"),
        (["--port", "70000"], "--port must be a whole number from 0 to 65535, got 70000"),
        (
            ["--queue-timeout", "nan"],
            "--queue-timeout must be a number of seconds from 0.001 to 86400, got nan",
        ),
        (["--name", "a/b"], "--name must be up to 100 letters"),
    ],
)
def test_a_bad_flag_is_said_in_one_line(flags: list[str], says: str, model: Path) -> None:
    code, said = start(model, *flags)
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith(f"mnist_sgd_serve: {says}")


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is missing")
def test_a_model_without_permission_to_read_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content(linear()))
    path.chmod(0)
    # What root may do all the same is taken from it.
    ordinary = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    code, said = start(path, "--port", "0", prefix=ordinary if os.geteuid() == 0 else [])
    text = f"mnist_sgd_serve: {path} cannot be read: Permission denied\n"
    assert (code, said) == (2, text)


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root, and setpriv"
)
def test_a_port_without_permission_is_said_in_one_line(model: Path) -> None:
    """Where any user may bind it, root without its rights may too, so a namespace is asked for."""
    ordinary = ["unshare", "--net", "setpriv", "--bounding-set=-net_bind_service"]
    code, said = start(model, "--port", "80", prefix=ordinary)
    if "unshare" in said:
        pytest.skip(said)
    text = "mnist_sgd_serve: cannot listen on 127.0.0.1:80: Permission denied\n"
    assert (code, said) == (2, text)


def test_nothing_listens_until_the_model_has_answered(tmp_path: Path) -> None:
    """The model comes through a pipe, so that its load ends when the test says so."""
    path = tmp_path / "model.onnx"
    os.mkfifo(path)
    with reserved_port() as port, launch(path, "--port", str(port)) as server:
        with open(path, "wb") as pipe:  # the server has opened it: it is loading
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
            assert server.events() == []
            pipe.write(content(linear()))
        server.wait_until_ready()
        assert server.port == port
        assert server.get("/v2/health/ready").status == 200
        assert server.stop() == 0


def test_of_two_servers_that_start_on_one_port_one_is_refused_in_one_line(
    model: Path, tmp_path: Path
) -> None:
    """The other listens only after this one has bound, as both are loading."""
    path = tmp_path / "model.onnx"
    os.mkfifo(path)
    with reserved_port() as port, launch(path, "--port", str(port)) as late:
        with open(path, "wb") as pipe, running(model, "--port", str(port)):
            pipe.write(content(linear()))
            pipe.close()
            assert late.process.wait(PATIENCE) == 2
        text = f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another with"
        assert late.log == f"mnist_sgd_serve: {text} --port\n"


def test_sigterm_during_the_load_ends_the_start_at_once_with_code_0(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    os.mkfifo(path)
    with launch(path) as server, open(path, "wb"):
        assert server.stop() == 0
        assert server.log == ""


def test_a_model_from_a_pipe_is_read_once_and_holds_no_end_up(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    os.mkfifo(path)
    with launch(path, "--reload-interval", "0.01", "--shutdown-delay", "0") as server:
        with open(path, "wb") as pipe:
            pipe.write(content(linear()))
        server.wait_until_ready()
        version = server.wait_for("ready")["version"]
        server.check_good()
        server.process.send_signal(signal.SIGHUP)
        refused = server.wait_for("model")
        says = f"{path} is not a regular file and is read only once; {version} still answers"
        assert (refused["result"], refused["text"]) == ("refused", says)
        server.check_good()
        assert server.stop() == 0
        assert [event["event"] for event in server.events()] == [
            *("ready", "model", "draining", "stopped")
        ]


BLOCKED_READ = """
import sys, threading
from mnist_sgd_serve import command
from mnist_sgd_serve.model import manager
load = manager._load
def blocked(path):
    if threading.current_thread() is not threading.main_thread():
        print('{"event": "blocked"}', flush=True)
        threading.Event().wait()
    return load(path)
manager._load = blocked
sys.exit(command.main(sys.argv[1:]))
"""
"""A server that never comes to the end of reading its file anew, as on a disk that is gone."""


def test_a_file_whose_read_blocks_holds_neither_requests_nor_the_end_up(model: Path) -> None:
    with launch(model, "--shutdown-delay", "0", program=("-c", BLOCKED_READ)) as server:
        server.wait_until_ready()
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("blocked")
        server.check_good()
        server.process.send_signal(signal.SIGHUP)
        server.check_good()
        assert server.stop() == 0


SHORT = """
import sys
from mnist_sgd_serve import command, server
server.LAST_SECONDS = 0.5
sys.exit(command.main(sys.argv[1:]))
"""
"""A server that is ended half a second after its drain time, if it has not ended by itself."""


def test_sigterm_ends_a_server_whose_model_never_comes_to_an_end(tmp_path: Path) -> None:
    """Its event loop cannot hear the signal."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content(endless()))
    with launch(path, "--shutdown-delay", "0", program=("-c", SHORT)) as server:
        server.wait_until_ready()
        with server.connect() as client:
            assert client.ask("GET", "/v2/health/live").status == 200  # so that it is accepted
            client.send(message("POST", INFER, b"\1" * 784, RAW))
            client.wait_until_delivered()
            before = server.processor_seconds()
            wait_until(lambda: server.processor_seconds() > before + 0.2)  # it has begun
            assert server.stop() == 1
        assert [event["event"] for event in server.events()] == ["ready", "cut off"]


def test_a_second_signal_ends_a_server_whose_model_never_comes_to_an_end(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content(endless()))
    with launch(path, "--shutdown-delay", "3600") as server:
        server.wait_until_ready()
        with server.connect() as client:
            client.send(message("POST", INFER, b"\1" * 784, RAW))
            before = server.processor_seconds()
            wait_until(lambda: server.processor_seconds() > before + 0.2)
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not signals_waiting(server))
            assert server.stop(signal.SIGINT) == 1
        assert server.events()[-1]["event"] == "forced"


def signals_waiting(server: Server) -> bool:
    """Whether a signal was sent to the process and is not handled yet."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.partition("ShdPnd:")[2].split()[0], 16) != 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_under_32_clients_loses_no_request_and_resets_no_connection(
    workers: str, model: Path
) -> None:
    """Half of them connect anew for each request; some are always about to."""
    patient = ("--worker-timeout", "3600", "--workers", workers)
    for seconds in ("0", "0.2"):
        with launch(model, "--shutdown-delay", seconds, *patient) as server:
            server.wait_until_ready()
            server.wait_for("ready", int(workers))
            outcomes = asyncio.run(end_under_load(server, 32, seconds=0.1))
            assert set(outcomes) == {"200"}
            assert server.process.wait(PATIENCE) == 0
            assert {event["event"] for event in server.events()} == {"ready", "draining", "stopped"}


def test_sigterm_loses_none_of_64_requests_in_flight(model: Path) -> None:
    """Half of a request each, of which the rest comes when the server no longer listens."""
    request = message("POST", INFER, BODY)
    patient = ("--header-timeout", "3600", "--body-timeout", "3600")
    with launch(model, "--shutdown-delay", "0.5", *patient) as server:
        server.wait_until_ready()
        with ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(64)]
            for number, client in enumerate(clients):  # a part of the head, or of the body
                client.send(request[: 40 if number % 2 else len(request) // 2])
            for client in clients:
                client.wait_until_delivered()
            assert server.get("/v2/health/ready").status == 200  # those before are accepted
            server.process.send_signal(signal.SIGTERM)
            wait_until_nobody_listens(server)
            answers = []
            for number, client in enumerate(clients):
                client.send(request[40 if number % 2 else len(request) // 2 :])
            for client in clients:
                answers.append(client.reply())
                assert client.rest() == b""
        assert [answer.status for answer in answers] == [200] * 64
        assert len({answer.json["outputs"][0]["data"][0] for answer in answers}) == 1
        assert server.process.wait(PATIENCE) == 0
        assert [event["event"] for event in server.events()] == ["ready", "draining", "stopped"]


def test_after_sigterm_it_says_that_it_is_not_ready_and_goes_on_to_answer(server: Server) -> None:
    with server.connect() as probe:
        assert probe.ask("GET", "/v2/health/ready").status == 200
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("draining")
        refused = probe.ask("GET", "/v2/health/ready")
        assert (refused.status, refused.headers["connection"]) == (503, "close")
        assert probe.rest() == b""
    assert server.get("/v2/health/live").status == 200
    assert server.post(INFER, BODY).status == 200
    assert server.stop() == 1
    assert [event["event"] for event in server.events()] == [
        "ready",
        "draining",
        "request",  # that of the probe
        "forced",
    ]


def wait_until_nobody_listens(server: Server) -> None:
    while True:
        try:
            server.connect().close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:  # met the very moment of the end
            continue


def test_a_second_signal_ends_at_once_with_code_1(server: Server) -> None:
    with server.connect() as client:
        client.send(message("POST", INFER, BODY)[:-1])
        server.process.send_signal(signal.SIGINT)
        server.wait_for("draining")
        assert server.stop(signal.SIGINT) == 1
        assert client.rest() == b""
    assert server.events()[-1]["event"] == "forced"


def test_a_client_that_sends_slowly_does_not_hold_up_the_end_longer_than_its_deadline(
    model: Path,
) -> None:
    with launch(model, "--shutdown-delay", "0", "--body-timeout", "0.5") as server:
        server.wait_until_ready()
        with server.connect() as client:
            assert client.ask("GET", "/v2/health/live").status == 200  # so that it is accepted
            client.send(message("POST", INFER, BODY)[:-1])
            client.wait_until_delivered()
            assert server.stop() == 0
            assert client.reply().status == 408


@pytest.mark.parametrize(("host", "shown"), [("::1", "http://[::1]:"), ("localhost", "http://127")])
def test_other_addresses_than_127_0_0_1_are_served(host: str, shown: str, model: Path) -> None:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, 0), family=family).close()
    except OSError as error:
        pytest.skip(f"{host} cannot be bound here: {error}")
    with running(model, "--host", host) as server:
        assert server.address.startswith(shown)
        assert server.get("/v2/health/ready").status == 200
