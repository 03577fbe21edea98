"""Several workers are one service: it outlives the death of each, and none outlives it."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from mnist_sgd_serve.supervisor import CHECK_SECONDS
from onnx_models import content, endless, linear
from server import INFER, RAW, Server, launch, message, stopped
from waiting import PATIENCE, has_ended, wait_until, wait_until_ended

LOADED = 'mnist_sgd_model_reloads_total{result="loaded"}'
LIVE = 'mnist_sgd_requests_total{route="metadata",status="200"}'


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(content(linear()))
    return path


@contextmanager
def two_workers(
    model: Path, program: Sequence[str] = ("-m", "mnist_sgd_serve"), *options: str
) -> Iterator[Server]:
    """A server of two workers that are both ready."""
    given = ("--workers", "2", "--shutdown-delay", "0", "--token", "secret")
    if "--worker-timeout" not in options:  # a busy machine may keep a worker waiting
        options = (*options, "--worker-timeout", "3600")
    with launch(model, *given, *options, program=program) as server:
        server.wait_until_ready()
        server.wait_for("ready", 2)
        yield server


@pytest.fixture
def pair(model: Path) -> Iterator[Server]:
    """Two workers, and their supervisor."""
    with two_workers(model) as server:
        yield server


def workers(server: Server) -> dict[int, int]:
    """The process that is the last to hold each worker's number."""
    return {event["worker"]: event["process"] for event in server.events("ready")}


def children(server: Server) -> list[int]:
    """The processes that the supervisor has started, ready or not."""
    text = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return [int(process) for process in text.split()]


def wait_for_draining(server: Server) -> None:
    """Wait for both workers, though their supervisor is gone."""
    wait_until(lambda: len(server.events("draining")) == 2, lambda: server.log)


def ask(server: Server, times: int) -> None:
    """Ask on connections of their own, all of which must be answered."""
    for _ in range(times):
        assert server.get("/v2", {"Authorization": "Bearer secret"}).status == 200


def metric(server: Server, series: str) -> float:
    page = server.get("/metrics", {"Authorization": "Bearer secret"}).body.decode()
    values = dict(line.rsplit(" ", 1) for line in page.splitlines() if line[0] != "#")
    return float(values.get(series, 0))


def test_two_workers_share_a_free_port_and_count_together(pair: Server) -> None:
    first, second = pair.events("ready")
    assert first["address"] == second["address"]
    assert {first["worker"], second["worker"]} == {0, 1}
    ask(pair, 40)
    assert {metric(pair, LIVE) for _ in range(10)} == {40}
    assert pair.stop() == 0
    assert [event["event"] for event in pair.events()].count("stopped") == 2
    assert has_ended(first["process"])
    assert has_ended(second["process"])


def test_a_killed_worker_is_replaced_while_the_other_answers_and_no_count_is_lost(
    pair: Server,
) -> None:
    ask(pair, 20)
    before = workers(pair)
    os.kill(before[0], signal.SIGKILL)
    wait_until_ended(before[0])
    ask(pair, 20)
    death = pair.wait_for("worker died")
    assert (death["process"], death["code"]) == (before[0], -signal.SIGKILL)
    pair.wait_for("ready", 3)
    after = workers(pair)
    assert after[1] == before[1]
    assert after[0] not in before.values()
    ask(pair, 20)
    assert metric(pair, LIVE) == 60
    os.kill(before[1], signal.SIGKILL)  # so that the new one must answer
    wait_until_ended(before[1])
    ask(pair, 20)
    assert metric(pair, LIVE) == 80
    pair.wait_for("worker died", 2)  # else its end may be noticed only among the others' after stop
    assert pair.stop() == 0, pair.log


FAILING_FORKS = """
import subprocess
import sys
from mnist_sgd_serve import command, supervisor

class Popen(subprocess.Popen):
    started = 0
    def __init__(self, *arguments, **options):
        Popen.started += 1
        if Popen.started in (3, 4):
            raise BlockingIOError(11, "Resource temporarily unavailable")
        super().__init__(*arguments, **options)

supervisor.subprocess.Popen = Popen
sys.exit(command.main(sys.argv[1:]))
"""
"""A server whose third and fourth process cannot be made, as at a limit of processes."""


def test_a_process_that_cannot_be_made_is_made_later_and_the_service_goes_on(model: Path) -> None:
    with two_workers(model, ("-c", FAILING_FORKS)) as pair:
        os.kill(workers(pair)[0], signal.SIGKILL)
        ask(pair, 10)
        first, second = pair.wait_for("worker not started"), pair.wait_for("worker not started", 2)
        assert first["error"] == "[Errno 11] Resource temporarily unavailable"
        assert second["retry_seconds"] == 2 * first["retry_seconds"] > 0
        pair.wait_for("ready", 3)
        ask(pair, 10)
        assert pair.stop() == 0


def test_a_worker_that_hangs_is_replaced_while_the_other_answers(model: Path) -> None:
    with two_workers(model, ("-m", "mnist_sgd_serve"), "--worker-timeout", "2") as pair:
        hanging = workers(pair)[0]
        os.kill(hanging, signal.SIGSTOP)
        ask(pair, 10)
        wait_until_ended(hanging)
        event = next(one for one in pair.events("worker hangs") if one["process"] == hanging)
        assert (event["level"], event["seconds"]) == ("error", 2)
        wait_until(lambda: pair.wait_for("worker died") and workers(pair)[0] != hanging)
        ask(pair, 10)


def test_a_worker_whose_event_loop_stands_still_is_replaced(tmp_path: Path) -> None:
    """Its process runs, and would run for ever."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content(endless()))
    with two_workers(path, ("-m", "mnist_sgd_serve"), "--worker-timeout", "2") as pair:
        head = RAW | {"Authorization": "Bearer secret"}
        with pair.connect() as client:
            client.send(message("POST", INFER, b"\1" * 784, head))
            hanging = pair.wait_for("worker hangs")["process"]
            wait_until_ended(hanging)
            with pytest.raises(ConnectionError):
                client.reply()
        ask(pair, 10)


def test_a_worker_that_is_told_to_end_alone_takes_no_connection_from_the_others(
    pair: Server,
) -> None:
    """As by somebody who has found its number: the socket is not its own."""
    process = workers(pair)[0]
    os.kill(process, signal.SIGTERM)
    while not has_ended(process):
        ask(pair, 1)
    ask(pair, 20)
    death = pair.wait_for("worker died")
    assert (death["process"], death["code"]) == (process, 0)
    pair.wait_for("ready", 3)
    ask(pair, 20)
    assert pair.stop() == 0


WITH_A_THREAD = """
import sys, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
from mnist_sgd_serve import command
sys.exit(command.main(sys.argv[1:]))
"""
"""A server with a thread that was there before any signal was blocked, as those of OpenBLAS."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_another_thread_is_given_is_passed_on(
    number: signal.Signals, model: Path
) -> None:
    with two_workers(model, ("-c", WITH_A_THREAD)) as pair:
        os.kill(pair.pid, signal.SIGHUP)
        wait_until(lambda: metric(pair, LOADED) == 2)
        assert pair.stop(number) == 0
        ends = [event["event"] for event in pair.events()][-4:]
        assert ends == ["draining", "draining", "stopped", "stopped"]
        assert not pair.events("supervisor gone")


SHORT = """
import sys
from mnist_sgd_serve import command, supervisor
supervisor.KILL_SECONDS = 0.5
sys.exit(command.main(sys.argv[1:]))
"""
"""A server whose workers have half a second to end."""


def test_sigterm_ends_the_service_though_a_worker_is_stopped(model: Path) -> None:
    with two_workers(model, ("-c", SHORT)) as pair:
        process = workers(pair)[1]
        os.kill(process, signal.SIGSTOP)
        assert pair.stop() == 1
        assert process in pair.wait_for("cut off")["processes"]
        assert has_ended(process)


def test_sigterm_ends_the_service_though_a_worker_never_comes_to_an_end(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content(endless()))
    with two_workers(path, ("-c", SHORT)) as pair, pair.connect() as client:
        head = RAW | {"Authorization": "Bearer secret"}
        client.send(message("POST", INFER, b"\1" * 784, head))
        client.wait_until_delivered()
        assert pair.stop() == 1
        for process in workers(pair).values():
            assert has_ended(process)


YOUNG = """
import sys
from mnist_sgd_serve import command, supervisor
supervisor.MIN_LIFETIME = {}
sys.exit(command.main(sys.argv[1:]))
"""
"""A server that takes its workers for young until they have lived so long."""


def test_a_worker_that_cannot_start_is_tried_again_ever_more_rarely(model: Path) -> None:
    """However long a busy machine needs for a start."""
    good = model.read_bytes()
    with two_workers(model, ("-c", YOUNG.format(3600))) as pair:
        model.unlink()
        os.kill(workers(pair)[0], signal.SIGKILL)
        pair.wait_for("worker died", 3)
        deaths = pair.events("worker died")[:3]
        assert [death["code"] for death in deaths] == [-signal.SIGKILL, 2, 2]
        assert [death["restart_seconds"] for death in deaths] == [0.5, 1.0, 2.0]
        ask(pair, 10)
        model.write_bytes(good)
        pair.wait_for("ready", 3)
        assert pair.stop() == 0


def test_a_worker_that_has_lived_long_is_replaced_at_once(model: Path) -> None:
    with two_workers(model, ("-c", YOUNG.format(0))) as pair:
        for number in (1, 2):
            os.kill(workers(pair)[0], signal.SIGKILL)
            assert pair.wait_for("worker died", number)["restart_seconds"] == 0
            pair.wait_for("ready", 2 + number)
        assert pair.stop() == 0


def test_a_server_that_was_stopped_goes_on_when_it_is_continued(pair: Server) -> None:
    """As after Ctrl-Z and fg; it is stopped for longer than it waits for a signal."""
    for _ in range(5):
        with stopped(pair):
            time.sleep(2 * CHECK_SECONDS)
        ask(pair, 2)
    os.kill(workers(pair)[0], signal.SIGKILL)
    pair.wait_for("ready", 3)  # it still looks after its workers
    assert pair.stop() == 0
    events = [event["event"] for event in pair.events()]
    assert sorted(events) == sorted(
        ["ready"] * 3 + ["worker died"] + ["draining"] * 2 + ["stopped"] * 2
    )


def test_workers_end_in_order_when_their_supervisor_is_killed(pair: Server) -> None:
    processes = workers(pair).values()
    with pair.connect() as client:
        request = message("GET", "/v2/health/live")
        assert client.ask("GET", "/v2/health/live").status == 200  # so that it is accepted
        client.send(request[:-1])
        client.wait_until_delivered()
        pair.process.kill()
        pair.process.wait()
        wait_for_draining(pair)
        client.send(request[-1:])
        assert client.reply().status == 200
    for process in processes:
        wait_until_ended(process)
    events = [event["event"] for event in pair.events()]
    assert events.count("supervisor gone") == events.count("stopped") == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_supervisor_with_more_threads_waits_for_its_workers(model: Path, number: int) -> None:
    """OpenBLAS starts threads when NumPy is imported, and the kernel chooses who gets a signal."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "3", "OMP_NUM_THREADS": "3"}
    options = ("--workers", "2", "--shutdown-delay", "0")
    with launch(model, *options, environment=environment) as server:
        server.wait_until_ready()
        server.wait_for("ready", 2)
        assert len(os.listdir(f"/proc/{server.pid}/task")) > 1
        server.process.send_signal(number)
        assert server.process.wait(PATIENCE) == 0
        assert not server.events("supervisor gone")
        assert len(server.events("stopped")) == 2


def test_sighup_makes_every_worker_load_the_model_anew(pair: Server) -> None:
    pair.process.send_signal(signal.SIGHUP)
    pair.wait_for("model", 2)
    assert metric(pair, LOADED) == 2
    assert pair.stop() == 0


def test_a_second_signal_kills_the_workers(pair: Server) -> None:
    with pair.connect() as client:
        assert client.ask("GET", "/v2/health/live").status == 200  # so that it is accepted
        client.send(message("GET", "/v2/health/live")[:-1])
        client.wait_until_delivered()
        pair.process.send_signal(signal.SIGTERM)
        pair.wait_for("draining", 2)
        assert pair.stop() == 1
        assert client.rest() == b""
    for process in workers(pair).values():
        assert has_ended(process)


def test_the_token_is_on_no_workers_command_line(pair: Server) -> None:
    for process in workers(pair).values():
        line = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        assert b"--inherit" in line
        assert not [part for part in line if b"secret" in part]
    assert pair.get("/v2").status == 401
    assert pair.stop() == 0


def test_sigterm_before_the_first_worker_is_ready_ends_with_code_0(tmp_path: Path) -> None:
    """At once, though the worker waits for its model and nobody gives it."""
    path = tmp_path / "model.onnx"
    os.mkfifo(path)
    with launch(path, "--workers", "2", "--shutdown-delay", "0") as server, open(path, "wb"):
        (worker,) = children(server)
        assert server.stop() == 0
        assert server.events() == []
        assert has_ended(worker)


def test_a_first_worker_that_is_killed_ends_the_start_with_code_1(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    os.mkfifo(path)
    with launch(path, "--workers", "2") as server, open(path, "wb"):
        (worker,) = children(server)
        os.kill(worker, signal.SIGKILL)
        assert server.process.wait(PATIENCE) == 1
        (death,) = server.events()
        assert (death["event"], death["process"], death["code"]) == ("worker died", worker, -9)
