"""Pictures are read by processes of their own: they can be ended, and cost the server nothing."""

import asyncio
import dataclasses
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

import onnx_models
from mnist_sgd_serve.http.decoder_process import DecoderProcess
from mnist_sgd_serve.http.decoders import Decoders
from mnist_sgd_serve.http.picture_request import PictureLimits
from mnist_sgd_serve.inference import MAX_HELD_BODIES
from mnist_sgd_serve.logs import Log
from mnist_sgd_serve.settings import Settings
from picture_bombs import BOMBS, MIB, bmp, filtered, half_noise
from server import INFER, RAW, Reply, Server, launch, message, running, stopped
from waiting import PATIENCE, wait_until, wait_until_ended

DEFAULTS = Settings(model=Path("model.onnx"))
MODEL = onnx_models.content(onnx_models.linear())
ENDLESS = bmp(b"\1\x80" * (8 * MIB - 1000))
"""Seconds of work for Pillow, which reads such files in Python; a server refuses it by default."""
READ_IT = ("--max-pixels", "300000000")
"""Has a server begin with such a picture."""
TOO_COSTLY = "the image takes more than 0.05 s of processor time to read, the most allowed"


def png() -> bytes:
    image = Image.new("L", (60, 80), 0)
    ImageDraw.Draw(image).line([(12, 15), (45, 15), (25, 65)], fill=255, width=8)
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


GOOD = png()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(MODEL)
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(MODEL)
    with running(path) as started:
        yield started


def endless(server: Server) -> Reply:
    return server.post("/predict", ENDLESS.body, ENDLESS.headers)


def check_good(server: Server) -> None:
    reply = server.post("/predict", GOOD)
    assert reply.status == 200, reply


def begun(process: int) -> bool:
    """Whether a process that reads pictures is at work: all of them were idle before."""
    state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "R"


def test_a_picture_that_takes_too_much_processor_time_costs_its_process_and_nothing_else(
    model: Path,
) -> None:
    with running(model, *READ_IT, "--decode-seconds", "0.05") as server:
        before = set(server.ready_decoders())
        for _ in range(4):
            server.check_refusal(endless(server), 413, TOO_COSTLY)
            check_good(server)
        after = set(server.ready_decoders())
        assert len(before & after) < 3
        assert len(server.events("picture ended")) == 4
        assert not server.events("decoder died")
        assert server.state() != "Z"


def test_a_picture_that_is_not_read_by_its_deadline_is_given_up(model: Path) -> None:
    with running(model, *READ_IT, "--queue-timeout", "0.3", "--decode-seconds", "3600") as server:
        server.ready_decoders()
        reply = endless(server)
        server.check_refusal(reply, 504, "the image was not read within 0.3 s")
        server.ready_decoders()
        assert [event["text"] for event in server.events("picture ended")] == [
            "it was not read within 0.3 s"
        ]
        assert server.metric('mnist_sgd_failures_total{reason="deadline"}') == 1


def test_pictures_that_wait_past_their_deadline_or_whose_clients_leave_are_not_begun(
    model: Path,
) -> None:
    """The decoder stands still with a picture; what is begun after it would cost a process."""
    arguments = ("--decoders", "1", "--decode-seconds", "0.05", "--queue-timeout", "60")
    with running(model, *READ_IT, *arguments) as server, ExitStack() as stack:
        decoders = server.ready_decoders(2)
        for decoder in decoders:
            os.kill(decoder, signal.SIGSTOP)
        first, gone = (stack.enter_context(server.connect()) for _ in range(2))
        first.send(message("POST", "/predict", GOOD))
        # An answer to what came later: both pictures have arrived.
        gone.send(message("POST", "/predict", ENDLESS.body, ENDLESS.headers))
        server.check_good()
        gone.close()
        server.check_good()
        for decoder in decoders:
            os.kill(decoder, signal.SIGCONT)
        assert first.reply().status == 200
        left = 'mnist_sgd_requests_total{route="predict",status="499"}'
        wait_until(lambda: server.metric(left) == 1)
        assert server.decoders() == decoders
        assert not server.events("picture ended")


def test_a_decoder_whose_server_is_gone_ends_without_a_word(
    capfd: pytest.CaptureFixture[str],
) -> None:
    limits = json.dumps(dataclasses.asdict(PictureLimits(2**20, 10**6, 2**27, 1.0)))
    process = DecoderProcess(limits)
    process._channel.close()
    assert process._process.wait(PATIENCE) == 0
    assert capfd.readouterr() == ("", "")


def test_after_kill_no_end_is_logged_and_no_process_takes_the_place_of_another(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The server is about to exit, but its event loop may still run for a moment."""

    async def killed_while_one_starts() -> None:
        decoders = Decoders(DEFAULTS, Log())
        decoders.launch()
        await decoders.wait_until_ready()
        await asyncio.sleep(0.01)  # for the tasks to start the others
        processes = tuple(decoders._processes)
        assert len(processes) == 1 + DEFAULTS.decoders
        decoders.kill()
        _, going = await asyncio.wait(decoders._tasks, timeout=5)
        assert not going
        assert {process._process.returncode for process in processes} == {-signal.SIGKILL}
        assert not decoders._processes

    asyncio.run(killed_while_one_starts())
    assert capfd.readouterr() == ("", "")


def test_a_picture_that_waits_too_long_is_told_and_not_begun(model: Path) -> None:
    arguments = ("--decoders", "1", "--decode-seconds", "0.05", "--queue-timeout", "1")
    with running(model, *READ_IT, *arguments) as server, ExitStack() as stack:
        decoders = server.ready_decoders(2)
        for decoder in decoders:
            os.kill(decoder, signal.SIGSTOP)
        clients = [stack.enter_context(server.connect()) for _ in range(3)]
        for client in clients:
            client.send(message("POST", "/predict", ENDLESS.body, ENDLESS.headers))
        begun, second, last = sorted(client.reply().error for client in clients)
        assert begun == "the image was not read within 1 s"
        assert last == "the request waited too long for its turn"
        # The first's process, when it is killed, may make way for the second, just in time.
        assert second in (begun, last)
        for decoder in server.decoders():
            with suppress(ProcessLookupError):  # one that the server has just killed
                os.kill(decoder, signal.SIGCONT)
        server.ready_decoders(2)


def test_pictures_that_cost_much_hold_up_neither_others_nor_the_event_loop(model: Path) -> None:
    with running(model, *READ_IT, "--decode-seconds", "0.5") as server, ExitStack() as stack:
        server.ready_decoders()
        slow = [stack.enter_context(server.connect()) for _ in range(2)]
        for client in slow:
            client.send(message("POST", "/predict", ENDLESS.body, ENDLESS.headers))
        with server.connect() as fast:
            assert fast.ask("POST", INFER, bytes(784), RAW).status == 200
            assert fast.ask("POST", "/predict", GOOD).status == 200  # waits for half a second
        assert [client.reply().status for client in slow] == [413, 413]


def test_a_decoder_has_no_model_no_token_no_terminal_and_no_other_file(model: Path) -> None:
    environment = os.environ | {"MNIST_SGD_TOKEN": "secret-of-ours"}
    with running(model, environment=environment) as server:
        for decoder in server.ready_decoders():
            process = Path(f"/proc/{decoder}")
            libraries = (process / "maps").read_text()
            assert "PIL" in libraries
            assert "onnxruntime" not in libraries
            assert "torch" not in libraries
            assert b"secret-of-ours" not in (process / "environ").read_bytes()
            assert b"secret-of-ours" not in (process / "cmdline").read_bytes()
            assert os.getsid(decoder) == decoder
            targets = [os.readlink(one) for one in (process / "fd").iterdir()]
            assert len([one for one in targets if one.startswith("socket:")]) == 1
            assert targets.count("/dev/null") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_that_end_the_server_leave_its_decoders_to_it(server: Server, number: int) -> None:
    decoders = server.ready_decoders()
    for decoder in decoders:
        os.kill(decoder, number)
    for _ in range(4):
        check_good(server)
    assert server.decoders() == decoders


def test_a_decoder_that_dies_is_replaced_and_leaves_no_zombie(server: Server) -> None:
    decoders = server.ready_decoders()
    deaths = len(server.events("decoder died"))
    os.kill(decoders[0], signal.SIGKILL)
    server.wait_for("decoder died", deaths + 1)
    after = server.ready_decoders()
    assert decoders[0] not in after
    check_good(server)


def test_a_decoder_that_dies_over_a_picture_fails_that_request_alone(model: Path) -> None:
    with running(model, "--decoders", "1") as server, server.connect() as client:
        decoders = server.ready_decoders(2)
        for decoder in decoders:
            os.kill(decoder, signal.SIGSTOP)
        client.send(message("POST", "/predict", GOOD))
        server.check_good()
        for decoder in decoders:
            os.kill(decoder, signal.SIGKILL)
        reply = client.reply()
        assert (reply.status, reply.error) == (
            500,
            "the server failed to answer; its log says why",
        )
        check_good(server)
        (event,) = server.events("request")
        assert event["error"] == "the process that read the picture ended with code -9"


def test_the_server_may_end_just_when_a_decoder_has_ended() -> None:
    """Its socket is closed then, and its exit code may not be known yet."""
    limits = PictureLimits(DEFAULTS.max_body, DEFAULTS.max_pixels, 64 * MIB, 1.0)

    async def main() -> None:
        process = DecoderProcess(json.dumps(dataclasses.asdict(limits)))
        process.kill()
        assert not await process.connect()
        process.close()
        assert await process.end() == -signal.SIGKILL
        process.close()

    asyncio.run(main())


def test_decoders_end_with_the_server_however_it_ends(model: Path) -> None:
    with launch(model, *READ_IT, "--shutdown-delay", "0") as server:
        server.wait_until_ready()
        decoders = server.ready_decoders()
        with server.connect() as client:
            client.send(message("POST", "/predict", ENDLESS.body, ENDLESS.headers))
            wait_until(lambda: any(map(begun, decoders)))
        server.process.kill()
        server.process.wait()
        for decoder in decoders:
            wait_until_ended(decoder)


def test_a_server_that_is_told_to_stop_ends_whatever_is_being_read(model: Path) -> None:
    arguments = ("--shutdown-delay", "0", "--queue-timeout", "5")
    with launch(model, *READ_IT, *arguments) as server, ExitStack() as stack:
        server.wait_until_ready()
        decoders = server.ready_decoders()
        clients = [stack.enter_context(server.connect()) for _ in range(3)]
        for client in clients:
            client.send(message("POST", "/predict", ENDLESS.body, ENDLESS.headers))
        wait_until(lambda: any(map(begun, decoders)))
        server.check_good()
        assert server.stop() == 0, server.log
        # By the processor time that they took, or on a busy machine by the deadline.
        assert {client.reply().status for client in clients} <= {413, 504}
        for decoder in decoders:
            wait_until_ended(decoder)


def test_workers_that_are_told_to_stop_end_whatever_is_being_read(model: Path) -> None:
    arguments = ("--shutdown-delay", "0", "--queue-timeout", "5", "--workers", "2")
    with launch(model, *READ_IT, *arguments) as server, ExitStack() as stack:
        server.wait_until_ready()
        workers = [
            event["process"] for event in (server.wait_for("ready", 2), server.events("ready")[0])
        ]
        decoders = [one for worker in workers for one in server.ready_decoders(3, worker)]
        clients = [stack.enter_context(server.connect()) for _ in range(3)]
        for client in clients:
            client.send(message("POST", "/predict", ENDLESS.body, ENDLESS.headers))
        wait_until(lambda: any(map(begun, decoders)))
        assert server.stop() == 0, server.log
        for decoder in decoders:
            wait_until_ended(decoder)


def test_a_second_signal_ends_the_decoders_too(model: Path) -> None:
    with launch(model, "--shutdown-delay", "3600") as server:
        server.wait_until_ready()
        decoders = server.ready_decoders()
        os.kill(decoders[0], signal.SIGSTOP)  # it would not notice the server's end
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("draining")
        assert server.stop() == 1
        for decoder in decoders:
            wait_until_ended(decoder)


COSTLY = {"25 megapixels": partial(filtered, 2, 3, 0), "16 MiB": partial(half_noise, 3930)}
"""The largest pictures that are still read: their pixels take much memory, or their files do."""


@pytest.mark.parametrize("name", COSTLY)
def test_one_picture_takes_at_most_128_mebibytes_and_ten_at_once_512(
    model: Path, name: str
) -> None:
    """The limits are at their defaults, but for the time."""
    bomb = COSTLY[name]()
    with running(model, "--decode-seconds", "3600") as server, ExitStack() as stack:
        decoders = server.ready_decoders()
        check_good(server)
        with server.watched_memory(*decoders) as more:
            status = server.post("/predict", bomb.body).status
            assert status in (200, 422)  # it was read
            assert 90 * MIB < more() < 128 * MIB
        with server.watched_memory(*decoders) as more:
            clients = [stack.enter_context(server.connect()) for _ in range(10)]
            with ThreadPoolExecutor(10) as senders:
                post = message("POST", "/predict", bomb.body)
                list(senders.map(lambda client: client.send(post), clients))
            assert {client.reply().status for client in clients} == {status}
            assert more() < 512 * MIB
        assert server.decoders() == decoders


def test_sixteen_pictures_of_a_pixel_by_25_million_hold_nobody_up(server: Server) -> None:
    slim = BOMBS["PNG, 1 x 25,000,000"]()
    with server.watched_memory(*server.ready_decoders()) as more, ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(16)]
        for client in clients:
            client.send(message("POST", "/predict", slim.body))
        check_good(server)
        for client in clients:
            assert client.reply().error == (
                "the PNG image of 1 x 25000000 pixels takes 301 MB of memory to read, at most "
                "117 MB are allowed: make it smaller"
            )
        assert more() < 16 * MIB


BROKEN = """\
import sys
from mnist_sgd_serve import command
from mnist_sgd_serve.http import decoder_process
decoder_process.PROGRAM = "raise SystemExit(3)"
sys.exit(command.main())
"""


def test_a_server_whose_decoders_cannot_start_says_so_and_ends(model: Path) -> None:
    command = [sys.executable, "-c", BROKEN, os.fspath(model), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert (done.returncode, lines) == (
        2,
        ["mnist_sgd_serve: the process that reads pictures could not start: it ended with code 3"],
    )


WRONG = """\
import sys
from mnist_sgd_serve import command
from mnist_sgd_serve.http import decoder_process
decoder_process.PROGRAM = decoder_process.PROGRAM.replace("main(", '''
from mnist_sgd_serve.http import decoder
def answer(head, requests, limits):
    requests.read(sum(decoder.HEADER.unpack(head)))
    return {answer}
decoder._answer = answer
main(''', 1)
sys.exit(command.main())
"""
KILLED = "the process that read the picture ended with code -9"
ANSWERS = {
    "decoder.HEADER.pack(2**32 - 1, 0)": KILLED,
    "decoder.HEADER.pack(3, 0) + b'[[['": KILLED,
    "decoder.HEADER.pack(10**5, 0) + b'[' * 10**5": KILLED,
    "decoder.message({}, bytes(3)) + bytes(3)": "the process that read the picture answered "
    "wrongly: cannot reshape array of size 3 into shape (28,28)",
    "decoder.message({'error': ['failed', '']})": "the process that read the picture answered "
    "wrongly: a kind 'failed'",
    "decoder.message({'inverted': True}, bytes(784)) + bytes(784)": "the process that read the "
    "picture answered wrongly: Preprocessed.__init__() missing 1 required positional argument: "
    "'unchanged'",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_decoder_that_a_picture_has_taken_over_can_say_nothing_that_harms(
    model: Path, tmp_path: Path, answer: str
) -> None:
    script = tmp_path / "wrong.py"
    script.write_text(WRONG.replace("{answer}", answer))
    options = ("--shutdown-delay", "0", "--queue-timeout", "3600", "--decoders", "1")
    with launch(model, *options, program=[os.fspath(script)]) as server:
        server.wait_until_ready()
        before = server.ready_decoders(2)
        reply = server.post("/predict", GOOD)
        assert (reply.status, reply.error) == (500, "the server failed to answer; its log says why")
        assert [event["error"] for event in server.events("request")] == [ANSWERS[answer]]
        wait_until(lambda: len(set(server.ready_decoders(2)) & set(before)) == 1)
        server.check_good()
        assert server.stop() == 0


def test_a_decoder_that_says_more_than_it_is_asked_is_killed(model: Path, tmp_path: Path) -> None:
    script = tmp_path / "wrong.py"
    answer = "decoder.message(dict(inverted=True, unchanged=False), bytes(784)) + bytes(784)"
    script.write_text(WRONG.replace("{answer}", f"{answer} + decoder.message({{}})"))
    with launch(model, "--shutdown-delay", "0", program=[os.fspath(script)]) as server:
        server.wait_until_ready()
        before = server.ready_decoders()
        check_good(server)
        died = server.wait_for("decoder died")
        assert died["process"] in before
        assert died["code"] == -signal.SIGKILL
        assert server.stop() == 0


SCARCE = """\
import os, subprocess, sys
from mnist_sgd_serve import command
start, started = subprocess.Popen, []
def scarce(*arguments, **options):
    started.append(len(started))
    if len(started) == FAILS:
        FAILURE
    return start(*arguments, **options)
subprocess.Popen = scarce
sys.exit(command.main())
"""


FAILURES = {
    'raise BlockingIOError(11, "Resource temporarily unavailable")': "[Errno 11] Resource "
    "temporarily unavailable",
    'arguments = ([sys.executable, "-c", "raise SystemExit(3)"],)': "the process that reads "
    "pictures could not start: it ended with code 3",
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_decoder_that_cannot_be_started_for_now_is_started_later(
    model: Path, tmp_path: Path, failure: str
) -> None:
    script = tmp_path / "scarce.py"
    script.write_text(SCARCE.replace("FAILS", "4").replace("FAILURE", failure))
    with launch(model, "--shutdown-delay", "0", program=[os.fspath(script)]) as server:
        server.wait_until_ready()
        os.kill(server.ready_decoders()[0], signal.SIGKILL)
        assert server.wait_for("decoder not started")["error"] == FAILURES[failure]
        check_good(server)
        server.ready_decoders()
        assert server.stop() == 0


def test_a_server_that_can_start_no_other_process_says_so_and_ends(
    model: Path, tmp_path: Path
) -> None:
    scarce = SCARCE.replace("FAILS", "1").replace("FAILURE", next(iter(FAILURES)))
    command = [sys.executable, "-c", scarce, os.fspath(model), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "mnist_sgd_serve: no process that reads pictures can be started: "
        "Resource temporarily unavailable\n",
    )


def test_decoders_that_hang_cost_their_pictures_and_are_replaced(model: Path) -> None:
    with running(model, "--queue-timeout", "0.3", "--decoders", "1") as server:
        hanging = server.ready_decoders(2)
        for decoder in hanging:
            os.kill(decoder, signal.SIGSTOP)
        for _ in hanging:
            server.check_refusal(
                server.post("/predict", GOOD), 504, "the image was not read within 0.3 s"
            )
            wait_until(lambda: len(server.decoders()) == 2)
        wait_until(lambda: not set(server.ready_decoders(2)) & set(hanging))


@pytest.mark.parametrize("workers", [1, 2])
def test_decoders_that_hang_do_not_hold_up_the_end(model: Path, workers: int) -> None:
    options = ("--shutdown-delay", "0", "--queue-timeout", "1", "--workers", str(workers))
    with launch(model, *options) as server, ExitStack() as stack:
        server.wait_until_ready()
        server.wait_for("ready", workers)
        parents = [event["process"] for event in server.events("ready")]
        decoders = [one for parent in parents for one in server.ready_decoders(3, parent)]
        for decoder in decoders:
            os.kill(decoder, signal.SIGSTOP)
        clients = [stack.enter_context(server.connect()) for _ in range(4)]
        for client in clients:
            client.send(message("POST", "/predict", GOOD))
        server.check_good()
        assert server.stop() == 0, server.log
        assert {client.reply().status for client in clients} == {504}
        for decoder in decoders:
            wait_until_ended(decoder)


def test_the_manifest_for_kserve_allows_the_memory_that_the_server_takes(model: Path) -> None:
    manifest = (Path(__file__).parents[3] / "deploy" / "inferenceservice.yaml").read_text()
    usual, most = (
        int(number) * (1024 if unit == "G" else 1) * MIB
        for number, unit in re.findall(r"memory: (\d+)([MG])i", manifest)
    )
    with running(model) as server:
        processes = [server.pid, *server.ready_decoders()]
        idle = sum(map(resident, processes))
    assert idle < usual
    assert idle + 512 * MIB + DEFAULTS.max_body * MAX_HELD_BODIES < most


def resident(process: int) -> int:
    """Bytes of memory that a process has."""
    pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_a_process_that_is_stopped_and_goes_on_loses_no_picture(server: Server) -> None:
    server.ready_decoders()
    with server.connect() as client:
        with stopped(server):
            client.send(message("POST", "/predict", GOOD))
            time.sleep(0)
        assert client.reply().status == 200
