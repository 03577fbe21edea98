"""The command `python -m mnist_sgd_serve`, which is also `mnist-sgd serve`."""

import argparse
import contextlib
import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

from mnist_sgd_serve.process.arguments import ArgumentParser
from mnist_sgd_serve.process.interruption import was_interrupted
from mnist_sgd_serve.settings import GROUPS, OPTIONS, Option, SettingError, Settings

DESCRIPTION = """\
Serve a model over HTTP: the Open Inference Protocol v2 for programs, POST /predict for image
files, and a page at / to draw on or to upload a picture to. --grpc-port serves the protocol over
gRPC too.
"""

USAGE = "%(prog)s [MODEL] [--host ADDRESS] [--port PORT] [OPTION]..."

EXAMPLES = """\
  {program} model.onnx
  {program} model.onnx --host 0.0.0.0 --port 80 --workers 2
  {program} model.onnx --tls-cert cert.pem --tls-key key.pem --max-body 1000000
  curl --data-binary @three.png http://127.0.0.1:8000/predict
  curl http://127.0.0.1:8000/v2/models/mnist_sgd

SIGHUP reloads the model file, as does replacing it; SIGTERM ends the server after the requests
in flight. MNIST_SGD_TOKEN sets the token without showing it in the list of processes.
"""
"""`{program}` stands for the program's name."""

TOKEN = "MNIST_SGD_TOKEN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add an argument for each of the settings, with its default."""
    parser.add_argument(
        "model",
        type=_path,
        nargs="?",
        default=Path("model.onnx"),
        metavar="MODEL",
        help="a .onnx file, or a folder that holds model.onnx, such as that of a run "
        "(default: %(default)s)",
    )
    groups = {name: parser.add_argument_group(name) for name in GROUPS}
    types = get_type_hints(Settings)
    for field in dataclasses.fields(Settings):
        if field.name not in OPTIONS:
            continue
        option, kind = OPTIONS[field.name], types[field.name]
        given: dict[str, Any] = {"default": field.default, "help": option.help}
        if kind is bool:
            given["action"] = "store_true"
        elif kind == tuple[str, ...]:
            given |= {"action": "append", "default": [], "metavar": option.metavar}
        else:
            of = next(iter(get_args(kind)), kind)  # of `int | None`, int
            of = of if option.bounds is None else partial(_number, of, option)
            given |= {"type": of, "metavar": option.metavar, "choices": option.choices}
            if field.default is not None:
                given["help"] += " (default: %(default)s)" if field.default != "" else ""
        groups[option.group].add_argument(_option(field.name), **given)
        if option.earlier is not None:
            hidden = {"dest": field.name, "default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
            parser.add_argument(_option(option.earlier), **given | hidden)


def _path(text: str) -> Path:
    """Convert an argument to a path; reject an empty one, as of an unset variable."""
    if not text:
        raise argparse.ArgumentTypeError("must name a file or a folder, got ''")
    return Path(text)


def _number(kind: Callable[[str], float], option: Option, text: str) -> float:
    """Convert an argument to a number; the settings check its range."""
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be {option.allowed}, got {text!r}") from None


def run(args: argparse.Namespace) -> int:
    """Serve with the parsed arguments of `add_arguments`, until told to stop.

    Returns:
        0 after a signal and an orderly shutdown, 1 when requests had to be cut off.

    Raises:
        ArtifactError: the model's file cannot be used.
        OSError: the address cannot be bound.
        ValueError: a setting is out of its range, or the system is Windows.
    """
    settings = _settings(args)
    _fill_standard_files()
    if not hasattr(signal, "pthread_sigmask"):
        raise ValueError("serve needs the signals of Linux or macOS; on Windows run it under WSL")
    # Until the server runs, SIGTERM ends the start, as Ctrl-C does, and SIGHUP is blocked.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # and ignored at the very end
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
        What `run` returns; 2 when the model, the address or a setting cannot be used, as one line
        on standard error explains.
    """
    parser = ArgumentParser(
        prog="python -m mnist_sgd_serve",
        usage=USAGE,
        description=DESCRIPTION,
        epilog="examples:\n" + EXAMPLES.replace("{program}", "python -m mnist_sgd_serve"),
    )
    add_arguments(parser)
    # How a supervisor passes a worker its sockets, the metrics' memory, its number and an inode.
    parser.add_argument("--inherit", type=int, nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    try:
        return run(args) if args.inherit is None else _work(_settings(args), args.inherit)
    except (ValueError, OSError) as error:
        from mnist_sgd_serve.logs import write

        write(f"mnist_sgd_serve: {' '.join(str(error).split())}\n")
        return 2


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _settings(args: argparse.Namespace) -> Settings:
    """Make the settings of parsed arguments; the environment may have the token.

    An empty token is passed on, and rejected: a missing secret must not open a server that was
    meant to be protected.

    Raises:
        ValueError: one is out of its range; the message begins with its option, or with the
            variable that has the token.
    """
    names = [field.name for field in dataclasses.fields(Settings)]
    given = {name: getattr(args, name) for name in names if hasattr(args, name)}
    given = {name: tuple(one) if isinstance(one, list) else one for name, one in given.items()}
    token = os.environ.get(TOKEN) if args.token is None else args.token
    try:
        return Settings(**given | {"token": token})
    except SettingError as error:
        is_variable = error.setting == "token" and args.token is None
        source = TOKEN if is_variable else _option(error.setting)
        raise ValueError(f"{source} {error.reason}") from error


def _fill_standard_files() -> None:
    """Open the null device as standard input, output or error if one of them is closed.

    Else a socket would get its number, and a client would receive what a library writes there.
    """
    while True:
        file = os.open(os.devnull, os.O_RDWR)
        if file > 2:
            os.close(file)
            return
        os.set_inheritable(file, True)  # for the workers


def _serve(settings: Settings) -> int:
    """Bind, then serve in this process or in several others."""
    from mnist_sgd_serve.process.listening import bind
    from mnist_sgd_serve.server import serve

    if settings.log is None:
        is_terminal = sys.stderr is not None and sys.stderr.isatty()
        settings = dataclasses.replace(settings, log="text" if is_terminal else "json")
    _check_certificate(settings)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(bind(settings))
        if settings.grpc_port is not None:
            from mnist_sgd_serve.rpc.port import reserve_port

            reserved = stack.enter_context(reserve_port(settings))
            settings = dataclasses.replace(settings, grpc_port=reserved.getsockname()[1])
        if settings.workers == 1:
            from mnist_sgd_serve.metrics import shared_memory

            return serve(settings, listener, shared_memory(1))
        from mnist_sgd_serve.supervisor import supervise

        environment = dict(os.environ) | ({} if settings.token is None else {TOKEN: settings.token})
        return supervise(settings, partial(_command, settings), environment, listener)


def _check_certificate(settings: Settings) -> None:
    """Load the certificate and its key, before anything is started.

    Raises:
        OSError: a file cannot be read, or they are no such pair; the message names the files.
    """
    if settings.tls_cert is None:
        return
    import ssl

    certificate, key = settings.tls_cert, settings.tls_key or settings.tls_cert
    for file in (certificate, key):
        try:
            Path(file).read_bytes()
        except OSError as error:
            raise OSError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        # A key with a password would be asked for on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, lambda: "")
    except (ssl.SSLError, ValueError) as error:
        raise OSError(
            f"{certificate}, with the key in {key}, is no certificate in PEM format with its own "
            "private key, without a password"
        ) from error


def _work(settings: Settings, inherited: Sequence[int]) -> int:
    """Serve as one of several workers."""
    _fill_standard_files()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the server is there, and after it
    from mnist_sgd_serve.server import serve
    from mnist_sgd_serve.supervisor import inherit

    listener, memory, channel, worker = inherit(inherited)
    return serve(settings, listener, memory, worker, channel)


def _command(settings: Settings, inherited: Sequence[int]) -> list[str]:
    """Make the command line of a worker; the token is passed in the environment instead."""
    command = [sys.executable, "-m", "mnist_sgd_serve", "--inherit", *map(str, inherited)]
    for field in dataclasses.fields(Settings):
        value = getattr(settings, field.name)
        if field.name not in OPTIONS or field.name == "token" or value is None or value is False:
            continue
        values = value if isinstance(value, tuple) else (value,)
        option = _option(field.name)
        command += [option if one is True else f"{option}={one}" for one in values]
    return [*command, "--", os.fspath(settings.model)]
