"""`mnist-sgd workbench`: the training service, with its page."""

import argparse
import re
from pathlib import Path

from mnist_sgd.cli.options.arguments import Subcommands, path, subcommand, whole_number
from mnist_sgd.cli.terminal import say

EXAMPLES = """\
  mnist-sgd workbench                         in the folder workbench, at http://127.0.0.1:8100
  mnist-sgd workbench --home pets --jobs 2
  mnist-sgd workbench --host 0.0.0.0 --token SECRET
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "serve the training service: sets of pictures and trainings over HTTP"
    parser = subcommand(commands, "workbench", summary, EXAMPLES, run)
    service = parser.add_argument_group("service")
    service.add_argument(
        "--home",
        type=path,
        default=Path("workbench"),
        metavar="DIR",
        help="the folder with the sets and the trainings (default: %(default)s)",
    )
    service.add_argument(
        "--jobs",
        type=whole_number,
        default=1,
        metavar="N",
        help="trainings that run at the same time (default: %(default)s)",
    )
    address = parser.add_argument_group("address")
    address.add_argument(
        "--host",
        type=_text,
        default="127.0.0.1",
        metavar="ADDRESS",
        help="the address to listen on (default: %(default)s)",
    )
    address.add_argument(
        "--port",
        type=lambda text: whole_number(text, least=0, most=65_535),
        default=8100,
        metavar="PORT",
        help="the port to listen on; 0 takes any free one (default: %(default)s)",
    )
    address.add_argument(
        "--serve-port",
        type=lambda text: whole_number(text, least=1, most=65_535),
        default=8000,
        metavar="PORT",
        help="the port of the inference server for the model that is served (default: %(default)s)",
    )
    address.add_argument(
        "--token",
        type=_text,
        metavar="TOKEN",
        help="what a browser or a program must know (default: none, on loopback addresses only)",
    )
    address.add_argument(
        "--allow-host",
        type=_host_name,
        action="append",
        default=[],
        metavar="NAME",
        help="another name of this service, as in a browser's address bar; may be repeated",
    )


def _text(text: str) -> str:
    """Any text but an empty one."""
    if not text:
        raise argparse.ArgumentTypeError("must be a text that is not empty, got ''")
    return text


def _host_name(text: str) -> str:
    """The name of a host, or a pattern such as *.example.org."""
    if re.fullmatch(r"[A-Za-z0-9*\[][A-Za-z0-9.:_\]-]*", text) is None:
        raise argparse.ArgumentTypeError(f"must be the name of a host, got {text!r}")
    return text


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    from mnist_sgd.workbench.service import ServiceConfig, serve

    config = ServiceConfig(
        home=args.home,
        host=args.host,
        port=args.port,
        serve_port=args.serve_port,
        token=args.token,
        allow_host=tuple(args.allow_host),
        jobs=args.jobs,
    )
    return serve(config, lambda address: say(f"the workbench is at {address}"))
