"""The command `python -m mnist_sgd_serve`, which is also `mnist-sgd serve`."""

import argparse
import contextlib
import dataclasses
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Never, get_args, get_type_hints

from mnist_sgd_serve.process.interruption import was_interrupted
from mnist_sgd_serve.settings import Settings

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "main", "run"]

DESCRIPTION = """\
Answer over HTTP from an artifact: the Open Inference Protocol v2 for programs, POST /predict
for image files, and a page at / to draw on or to give a picture. With --grpc-port the protocol
is spoken over gRPC too.
"""

EXAMPLES = """\
  {program} model.onnx
  {program} model.onnx --host 0.0.0.0 --port 80 --workers 2
  curl --data-binary @three.png http://127.0.0.1:8000/predict
  curl http://127.0.0.1:8000/v2/models/mnist_sgd

SIGHUP loads the model's file anew, as does replacing it; SIGTERM ends the server when the
requests in flight are answered. MNIST_SGD_TOKEN gives a token that no list of processes shows.
"""
"""`{program}` stands for the name of the program."""

HELP = {
    "name": "of the model in URLs",
    "host": "the address to bind",
    "port": "0 takes any free one",
    "grpc_port": "serve gRPC too, which needs the extra grpc; 0 takes any free port",
    "workers": "processes that share the port",
    "token": "ask for this bearer token, but for health checks and the page",
    "allow_host": "a name by which clients call the server, *.DOMAIN, or * for any; repeatable",
    "cors": "an origin whose pages may call the server",
    "access_log": "log every request, not the failures alone",
    "max_body": "bytes of a request's body, unpacked",
    "max_rows": "images in a request",
    "max_images": "images in a run of the model",
    "max_waiting": "images that may wait",
    "deadline": "seconds that a request may wait",
    "head_seconds": "for the head of a request to arrive",
    "body_seconds": "for the body of a request to arrive",
    "idle_seconds": "that an unused connection is kept",
    "write_seconds": "for a client that has stopped reading to go on",
    "decoders": "pictures that are read at the same time",
    "decode_seconds": "of processor time that a picture may take to read",
    "decode_memory": "bytes that a picture may take to read",
    "max_pixels": "pixels of a picture",
    "drain_seconds": "between SIGTERM and the end of listening",
    "hang_seconds": "after which one of several workers that hangs is replaced",
    "watch_seconds": "between two looks at the model's file",
    "poll_seconds": "awake for the next request after a lone one; 0 sleeps at once",
}

TOKEN = "MNIST_SGD_TOKEN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add an argument for each of the settings, with its default."""
    parser.add_argument(
        "model",
        type=_path,
        nargs="?",
        default=Path("model.onnx"),
        help="the .onnx file (default: %(default)s)",
    )
    types = get_type_hints(Settings)
    for field in dataclasses.fields(Settings):
        if field.name not in HELP:
            continue
        option, text = _option(field.name), HELP[field.name]
        if types[field.name] is bool:
            parser.add_argument(option, action="store_true", help=text)
            continue
        if types[field.name] == tuple[str, ...]:
            parser.add_argument(option, action="append", default=[], metavar="X", help=text)
            continue
        kind = next(iter(get_args(types[field.name])), types[field.name])  # of `int | None`, int
        shown = "" if field.default is None else " (default: %(default)s)"
        parser.add_argument(
            option, type=kind, default=field.default, metavar="X", help=text + shown
        )


def _path(text: str) -> Path:
    """An argument that is a path; an empty one, as of a variable that is not set, is refused."""
    if not text:
        raise argparse.ArgumentTypeError("must name a file or a folder, got ''")
    return Path(text)


def run(args: argparse.Namespace) -> int:
    """Serve as the parsed arguments of `add_arguments` say, until told to stop.

    Returns:
        0 after a signal and an orderly end, 1 when requests had to be cut off.

    Raises:
        ArtifactError: the model's file cannot be used.
        OSError: the address cannot be bound.
        ValueError: a setting is out of its range, or the system is Windows.
    """
    settings = _settings(args)
    _fill_standard_files()
    if not hasattr(signal, "pthread_sigmask"):
        raise ValueError("serve needs the signals of Linux or macOS; on Windows run it under WSL")
    # Until the server is there: SIGTERM ends the start, as Ctrl-C does, and SIGHUP waits.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # and at the very end it does nothing
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        return _serve(settings)
    except KeyboardInterrupt:
        return 0
    except ImportError as error:
        if was_interrupted(error):
            return 0
        raise


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and serve.

    Returns:
        What `run` returns; 2 when the model, the address or a setting cannot be used, which one
        line on standard error says.
    """
    parser = _Parser(
        prog="python -m mnist_sgd_serve",
        description=DESCRIPTION,
        epilog="examples:\n" + EXAMPLES.replace("{program}", "python -m mnist_sgd_serve"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    # How a supervisor hands a worker its sockets, the metrics' memory and its number.
    parser.add_argument("--inherit", type=int, nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    try:
        return run(args) if args.inherit is None else _work(_settings(args), args.inherit)
    except (ValueError, OSError) as error:
        from mnist_sgd_serve.logs import write

        write(f"mnist_sgd_serve: {' '.join(str(error).split())}\n")
        return 2


class _Parser(argparse.ArgumentParser):
    """A parser whose error is one line."""

    def error(self, message: str) -> Never:
        self.exit(2, f"mnist_sgd_serve: {message}; --help shows what is allowed\n")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _settings(args: argparse.Namespace) -> Settings:
    """The settings of parsed arguments; the environment may have the token.

    An empty token is passed on, and refused: it is a secret that was not there, and a server that
    was to be closed must not open for want of it.
    """
    names = [field.name for field in dataclasses.fields(Settings)]
    given = {name: getattr(args, name) for name in names if hasattr(args, name)}
    token = os.environ.get(TOKEN) if args.token is None else args.token
    return Settings(**given | {"token": token, "allow_host": tuple(args.allow_host)})


def _fill_standard_files() -> None:
    """Open the null device as standard input, output or error where one of them is closed.

    Else a socket would get its number, and what a library writes to standard error would go to
    somebody's browser.
    """
    while True:
        file = os.open(os.devnull, os.O_RDWR)
        if file > 2:
            os.close(file)
            return
        os.set_inheritable(file, True)  # as these three are for the workers


def _serve(settings: Settings) -> int:
    """Bind, then serve in this process or in several others."""
    from mnist_sgd_serve.server import bind, serve

    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(bind(settings))
        if settings.grpc_port is not None:
            from mnist_sgd_serve.rpc.port import hold_port

            holder = stack.enter_context(hold_port(settings))
            settings = dataclasses.replace(settings, grpc_port=holder.getsockname()[1])
        if settings.workers == 1:
            from mnist_sgd_serve.metrics import shared_memory

            return serve(settings, listener, shared_memory(1))
        from mnist_sgd_serve.logs import Log
        from mnist_sgd_serve.supervisor import supervise

        environment = dict(os.environ) | ({} if settings.token is None else {TOKEN: settings.token})
        command = partial(_command, settings)
        return supervise(
            command,
            environment,
            settings.workers,
            listener,
            Log(),
            drain_seconds=settings.drain_seconds,
            hang_seconds=settings.hang_seconds,
        )


def _work(settings: Settings, inherited: Sequence[int]) -> int:
    """Serve as one of several workers."""
    _fill_standard_files()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the server is there, and after it
    from mnist_sgd_serve.server import serve
    from mnist_sgd_serve.supervisor import inherit

    listener, memory, channel, worker = inherit(inherited)
    return serve(settings, listener, memory, worker, channel)


def _command(settings: Settings, inherited: Sequence[int]) -> list[str]:
    """The command line of a worker, without the token, which goes by the environment."""
    command = [sys.executable, "-m", "mnist_sgd_serve", "--inherit", *map(str, inherited)]
    for field in dataclasses.fields(Settings):
        value = getattr(settings, field.name)
        if field.name not in HELP or field.name == "token" or value is None or value is False:
            continue
        values = value if isinstance(value, tuple) else (value,)
        option = _option(field.name)
        command += [option if one is True else f"{option}={one}" for one in values]
    return [*command, "--", os.fspath(settings.model)]
