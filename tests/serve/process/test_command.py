"""Every setting has a flag, a default and a range, and `mnist-sgd serve` takes the same ones."""

import argparse
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from mnist_sgd.cli import main as cli
from mnist_sgd.data import sample_digits
from mnist_sgd_serve.command import _command, _settings, add_arguments
from mnist_sgd_serve.logs import Log
from mnist_sgd_serve.settings import OPTIONS, Settings
from server import Server, reserved_port, running
from waiting import PATIENCE, wait_until

FIELDS = {field.name: field for field in dataclasses.fields(Settings)}
RANGES = {name: option.bounds for name, option in OPTIONS.items() if option.bounds is not None}


def parse(*arguments: str) -> Settings:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inherit", type=int, nargs=5)
    add_arguments(parser)
    return _settings(parser.parse_args(arguments))


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MNIST_SGD_TOKEN", raising=False)


def test_every_setting_but_the_model_has_a_flag_with_its_default() -> None:
    assert set(OPTIONS) == set(FIELDS) - {"model"}
    assert parse() == Settings(model=Path("model.onnx"))


def test_every_number_has_a_range() -> None:
    numbers = {
        name
        for name, field in FIELDS.items()
        if type(field.default) in (int, float) or name == "grpc_port"
    }
    assert set(RANGES) == numbers


numbers = {
    name: st.floats(least, most)
    if type(FIELDS[name].default) is float
    else st.integers(int(least), int(most))
    for name, (least, most) in RANGES.items()
}


@given(
    st.fixed_dictionaries(
        {},
        optional=numbers
        | {
            "access_log": st.booleans(),
            "allow_host": st.lists(st.sampled_from(["*", "a.example", "[::1]"])).map(tuple),
            "cors": st.lists(st.sampled_from(["*", "https://example.org:8443"])).map(tuple),
            "unix_socket": st.just("a b/-socket"),
            "tls_cert": st.just("-cert.pem"),
            "root_path": st.sampled_from(["", "/digits", "/a/b/"]),
            "trusted_proxy": st.lists(st.sampled_from(["*", "unix", "10.0.0.0/8", "::1"])).map(
                tuple
            ),
            "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True),
            "host": st.sampled_from(["::1", "localhost"]),
        },
    ),
    st.sampled_from(["model.onnx", "-odd name.onnx", "a/b c.onnx"]),
)
def test_a_workers_command_line_gives_the_same_settings(
    values: dict[str, object], path: str
) -> None:
    settings = Settings(model=Path(path), **values)  # type: ignore[arg-type]  # drawn by name
    command = _command(settings, [3, 4, 5, 0, 0])
    assert command[:3] == [sys.executable, "-m", "mnist_sgd_serve"]
    assert parse(*command[3:]) == settings


@pytest.mark.parametrize("name", RANGES)
def test_a_number_outside_its_range_is_refused_with_the_range(name: str) -> None:
    least, most = RANGES[name]
    is_seconds = type(FIELDS[name].default) is float
    kind = "a number of seconds" if is_seconds else "a whole number(?: of bytes| of pixels)?"
    for value in (least, most):
        settings = Settings(model=Path("m"), **{name: value})  # type: ignore[arg-type]
        assert getattr(settings, name) == value
    for value in (least - 1, most + 1, float("nan"), float("inf")):
        with pytest.raises(
            ValueError, match=f"^{name} must be {kind} from {least} to {most}, got {value}$"
        ):
            Settings(model=Path("m"), **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("name", "", "name must be up to 100 letters, digits, '.', '_' and '-', beginning"),
        ("name", "a/b", "name must be up to 100 letters"),
        ("name", "..", "name must be up to 100 letters"),
        ("name", "x" * 101, "name must be up to 100 letters"),
        ("name", "three\n", "name must be up to 100 letters"),
        ("host", "", "host must be an address or a name"),
        ("token", "", "token must be visible ASCII characters without spaces"),
        ("token", "a b", "token must be visible ASCII characters without spaces"),
        ("token", "schlüssel", "token must be visible ASCII characters without spaces"),
        ("cors", "example.org", "cors must be \\* or an origin such as https://example.org, got"),
        ("cors", "https://a\r\nset-cookie: b", "cors must be \\* or an origin"),
    ],
)
def test_a_text_that_is_none_is_refused(name: str, value: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"^{says}"):
        Settings(model=Path("m"), **{name: value})  # type: ignore[arg-type]


def test_the_token_comes_from_the_environment_unless_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MNIST_SGD_TOKEN", "of-the-environment")
    assert parse().token == "of-the-environment"
    assert parse("--token", "given").token == "given"
    monkeypatch.delenv("MNIST_SGD_TOKEN")
    assert parse().token is None


@pytest.mark.parametrize("token", ["", "\n", "  "], ids=["empty", "newline", "spaces"])
def test_a_token_that_is_empty_never_opens_the_server(token: str, model: Path) -> None:
    """As of a secret that is not mounted."""
    command = [sys.executable, "-m", "mnist_sgd_serve", str(model), "--port", "0"]
    said = (
        "mnist_sgd_serve: {} must be visible ASCII characters without spaces, at least one; to "
        "ask for no token, leave out --token and unset MNIST_SGD_TOKEN\n"
    )
    for options, environment in (
        ([], {"MNIST_SGD_TOKEN": token}),
        (["--token", token], {"MNIST_SGD_TOKEN": "of-the-environment"}),
        (["--workers", "2", f"--token={token}"], {}),
    ):
        done = subprocess.run(
            [*command, *options],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        text = said.format("--token" if options else "MNIST_SGD_TOKEN")
        assert (done.returncode, done.stdout, done.stderr) == (2, "", text)


def test_an_option_still_has_its_earlier_name_which_help_does_not_show(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whichever of the two comes last counts."""
    earlier = {name: option.earlier for name, option in OPTIONS.items() if option.earlier}
    assert len(earlier) == 12
    for name, other in earlier.items():
        new, old = (f"--{one.replace('_', '-')}" for one in (name, other))
        least, most = RANGES[name]
        assert getattr(parse(f"{old}={least}"), name) == least
        assert getattr(parse(f"{old}={least}", f"{new}={most}"), name) == most
    with pytest.raises(SystemExit):
        parse("--help")
    shown = capsys.readouterr().out
    assert [other for other in earlier.values() if f"--{other.replace('_', '-')} " in shown] == []


def test_help_names_every_flag_and_loads_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from mnist_sgd_serve.command import main\n"
        "try: main(['--help'])\n"
        "finally: print({'numpy', 'onnxruntime', 'uvicorn', 'torch'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for name in OPTIONS:
        assert f"--{name.replace('_', '-')} " in done.stdout
    assert done.stdout.endswith("set()\n")


def test_mnist_sgd_serve_serves_model_onnx_of_the_folder_without_torch(
    model: Path, tmp_path: Path
) -> None:
    """Afterwards its caller goes on, and nothing waits any more to end the process."""
    (tmp_path / "model.onnx").write_bytes(model.read_bytes())
    script = (
        "import sys, threading\n"
        "from mnist_sgd.cli import main\n"
        "code = main(['serve', '--port', '0', '--shutdown-delay', '0'])\n"
        "for thread in threading.enumerate()[1:]: thread.join()\n"
        "print({'torch', 'mnist_sgd._core'} & set(sys.modules))\n"
        "sys.exit(code)\n"
    )
    with open(tmp_path / "output", "w+b") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=output, stderr=output, cwd=tmp_path
        )
        try:
            server = Server(process, output)
            server.wait_until_ready()
            assert server.get("/v2/health/ready").status == 200
            assert server.stop() == 0
            assert server.log.endswith("set()\n")
        finally:
            process.kill()
            process.wait()


def test_mnist_sgd_serve_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mnist_sgd", "serve"], cwd=tmp_path, capture_output=True, text=True
    )
    text = (
        "mnist-sgd: there is no model.onnx here; train one: mnist-sgd train, or name another: "
        "mnist-sgd serve FILE\n"
    )
    assert (done.returncode, done.stderr) == (2, text)


def test_a_system_without_the_signals_it_needs_is_told_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("signal.pthread_sigmask")
    assert cli(["serve", "model.onnx"]) == 2
    assert capsys.readouterr().err == (
        "mnist-sgd: serve needs the signals of Linux or macOS; on Windows run it under WSL\n"
    )


def test_mnist_sgd_says_in_one_line_which_flag_is_bad(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, help_of in (
        (["serve", "--port", "x"], "mnist-sgd serve"),
        (["predict"], "mnist-sgd predict"),
        (["server"], "mnist-sgd"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli(arguments)
        said = capsys.readouterr().err
        assert ended.value.code == 2
        assert said.startswith("mnist-sgd: ")
        assert said.endswith(f"; {help_of} --help shows what is allowed\n")
        assert said.count("\n") == 1


# Streams that are not there, and names that are not text.

CLOSED = ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"]


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_serves_where_its_streams_are_closed(
    closed: str, workers: str, model: Path, tmp_path: Path
) -> None:
    """No socket takes their numbers, where a library's messages would reach a client."""
    with reserved_port() as port:
        options = f"--port {port} --workers {workers} --shutdown-delay 0"
        line = f'exec "$0" -m mnist_sgd_serve "$1" {options} {closed}'
        process = subprocess.Popen(["sh", "-c", line, sys.executable, str(model)])
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until(lambda: answers(f"{address}/v2/health/ready"))
            for number in (0, 1, 2):
                if f"{number}>&-" in closed or (number == 1 and closed.startswith(">&-")):
                    assert os.readlink(f"/proc/{process.pid}/fd/{number}") == os.devnull
            request = urllib.request.Request(f"{address}/predict", sample_digits()[0].read_bytes())
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                assert json.load(reply)["label"] in ("3", "7")
            process.terminate()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.wait()


def answers(address: str) -> bool:
    """Whether there is an answer yet."""
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def test_a_start_that_fails_says_nothing_on_standard_output(tmp_path: Path) -> None:
    line = f'"{sys.executable}" -m mnist_sgd_serve none.onnx 2>&-'
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert (done.returncode, done.stdout) == (2, "")


class Stream:
    """A stream that is no file, as a notebook's or a program's own may be."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)


def test_a_log_is_written_to_any_stream_or_to_none(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = open(os.devnull, "w")  # noqa: SIM115  (it is closed at once)
    closed.close()
    for none in (None, closed):
        monkeypatch.setattr(sys, "stderr", none)
        Log().info("ready")
    stream = Stream()
    monkeypatch.setattr(sys, "stderr", stream)
    Log().warning("ready", model=Path("m\udcff.onnx"), name="\udcfe")
    said = json.loads(stream.text)
    assert stream.text.endswith("}\n")
    assert (said["model"], said["name"]) == ("m\\udcff.onnx", "\\udcfe")


def test_a_models_name_need_not_be_text(model: Path, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/m\xff.onnx"
    with open(odd, "wb") as file:
        file.write(model.read_bytes())
    with running(Path(os.fsdecode(odd)), "--workers", "2") as server:
        assert server.post("/predict", sample_digits()[0].read_bytes()).status == 200
        (ready, *_) = server.events("ready")
        assert ready["model"].endswith("/m\\udcff.onnx")


# What it needs of the machine.

needs_namespaces = pytest.mark.skipif(
    subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True).returncode != 0
    if shutil.which("unshare") and shutil.which("setpriv") and shutil.which("nsenter")
    else True,
    reason="needs root, and unshare, setpriv and nsenter",
)

NOBODY = 65534
ORDINARY_USER = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    # To find an interpreter that lies in a folder of root's: it gives no right to write.
    "--bounding-set=-all,+dac_read_search",
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=-all,+dac_read_search",
)


@contextmanager
def confined(model: Path, *program: str) -> Iterator[Server]:
    """A server that is started by another program, without a home and without a sign of CI."""
    kept = ("PATH", "PYTHONPATH", "PYTHONSAFEPATH")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    if "PYTHONPATH" in environment:
        paths = environment["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, paths))
    command = [*program, sys.executable, "-m", "mnist_sgd_serve", str(model), "--port", "0"]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [*command, "--shutdown-delay", "0"],
            stdout=output,
            stderr=output,
            env=environment,
            cwd="/",
        )
        try:
            server = Server(process, output)
            server.wait_until_ready()
            yield server
            assert server.stop() == 0, server.log
        finally:
            process.kill()
            process.wait()


@needs_namespaces
def test_it_serves_as_an_ordinary_user_without_a_home_on_a_read_only_disk(model: Path) -> None:
    read_only = 'mount --make-rprivate / && mount -o remount,ro,bind / && touch /tmp/new; exec "$@"'
    with confined(
        model, "unshare", "--mount", "sh", "-c", read_only, "sh", *ORDINARY_USER
    ) as server:
        assert "touch: " in server.log  # the disk is read-only indeed
        status = Path(f"/proc/{server.pid}/status").read_text()
        assert f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}\n" in status
        picture = sample_digits()[0].read_bytes()
        assert server.post("/predict", picture).json["label"] in ("3", "7")
        assert server.get("/").status == 200
        assert server.metric('mnist_sgd_requests_total{route="predict",status="200"}') == 1


@needs_namespaces
def test_it_serves_without_a_network_and_never_tries_to_reach_one(model: Path) -> None:
    """Linux counts what has no route, and in a namespace of loopback alone all else has none."""
    loopback = 'ip link set lo up && exec "$@"'
    with confined(model, "unshare", "--net", "sh", "-c", loopback, "sh") as server:

        def inside(script: str) -> str:
            enter = ["nsenter", f"--net=/proc/{server.pid}/ns/net", sys.executable, "-c", script]
            return subprocess.run(enter, check=True, capture_output=True, text=True).stdout

        ask = "import urllib.request as r; print(r.urlopen('{}/v2/health/ready').status)"
        assert inside(ask.format(server.address)) == "200\n"
        assert without_a_route(server.pid) == 0
        inside("import socket; print(socket.socket().connect_ex(('203.0.113.1', 443)))")
        assert without_a_route(server.pid) == 1  # so it would have been seen


def without_a_route(process: int) -> int:
    """How many packets a process's network namespace could not send anywhere, IPv4 and IPv6."""
    network = Path(f"/proc/{process}/net")
    names, values = [
        line.split() for line in (network / "snmp").read_text().splitlines() if line[:3] == "Ip:"
    ]
    newer = dict(line.split() for line in (network / "snmp6").read_text().splitlines())
    return int(values[names.index("OutNoRoutes")]) + int(newer["Ip6OutNoRoutes"])


# The guide, docs/serving.md.

GUIDE = (Path(__file__).parents[3] / "docs" / "serving.md").read_text()


def test_the_guide_names_flags_that_exist_and_their_defaults() -> None:
    options = {f"--{name.replace('_', '-')}": name for name in OPTIONS}
    others = {"--data-binary", "--output", "--no-deps", "--rm", "--read-only", "--time"}
    assert set(re.findall(r"--[a-z][a-z-]+", GUIDE)) - others <= set(options)
    rows = re.findall(r"^\| `(--\S+)` \| (\S+) \|", GUIDE, re.MULTILINE)
    numbers = {
        option for option, name in options.items() if type(FIELDS[name].default) in (int, float)
    }
    assert {option for option, _ in rows} == numbers - {"--port", "--workers"}
    for option, default in rows:
        assert default == str(FIELDS[options[option]].default)


def test_the_guide_names_paths_and_series_that_exist(model: Path) -> None:
    with running(model) as server:
        paths = set(re.findall(r"http://127\.0\.0\.1:8000(/[^\s']*)", GUIDE))
        assert len(paths) == 6
        for path in paths:
            assert server.get(path.partition("?")[0]).status in (200, 405), path
        for row in re.findall(r"^\| (`GET .*?) \|", GUIDE, re.MULTILINE):
            for path in re.findall(r"`GET (\S+)`", row):
                assert server.get(path).status == 200, path
        metrics = server.get("/metrics").body.decode()
    for series in re.findall(r"mnist_sgd_[a-z_]+(?=[`{])", GUIDE):
        if series != "mnist_sgd_serve":
            assert f"# TYPE {series} " in metrics, series
