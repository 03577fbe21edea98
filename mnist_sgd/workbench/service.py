"""Run a workbench until it is told to stop."""

import asyncio
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_sgd.workbench.access import Access
from mnist_sgd.workbench.home import Home

if TYPE_CHECKING:
    from starlette.applications import Starlette

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class ServiceConfig:
    """How a workbench is run.

    Attributes:
        home: its folder, which is created.
        host: the address to listen on.
        port: the port; 0 takes any free one.
        serve_port: the port of the inference server, on the same address.
        token: what a browser or a program must know; needed unless the host is a loopback one.
        allow_host: further names of the service.
        jobs: trainings that run at the same time.
    """

    home: Path = Path("workbench")
    host: str = "127.0.0.1"
    port: int = 8100
    serve_port: int = 8000
    token: str | None = None
    allow_host: tuple[str, ...] = ()
    jobs: int = 1

    def check(self) -> None:
        """Check what can be checked before anything is created.

        Raises:
            ValueError: others could reach the workbench, and there is no token.
        """
        if self.token is None and self.host not in LOOPBACK:
            raise ValueError(
                f"--host {self.host} lets others use the workbench; give them a --token"
            )


def serve(config: ServiceConfig, began: Callable[[str], None]) -> int:
    """Serve a workbench.

    Args:
        config: how.
        began: called with the address when it accepts connections.

    Returns:
        The exit code.

    Raises:
        ValueError: the configuration is refused, or another service holds the home.
        OSError: the home cannot be created, or the address cannot be listened on.
    """
    from importlib.metadata import version

    from mnist_sgd.workbench.app import Workbench

    config.check()
    home = Home(config.home)
    with home.only_service():
        listener = _bind(config.host, config.port)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        serve_at = config.host, config.serve_port, config.token
        workbench = Workbench(home, version("mnist-sgd"), config.jobs, serve_at)
        access = Access(config.host, config.allow_host, config.token)
        application = workbench.application(access)
        start = "" if config.token is None else f"?token={config.token}"
        asyncio.run(_run(application, listener, lambda: began(f"http://{shown}:{port}/{start}")))
    return 0


async def _run(
    application: "Starlette", listener: socket.socket, began: Callable[[], None]
) -> None:
    import uvicorn

    config = uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        lifespan="on",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not (server.started or serving.done()):
        await asyncio.sleep(0.01)
    if server.started:
        began()
    await serving
    if not server.started:  # uvicorn has said why
        sys.exit(1)


def _bind(host: str, port: int) -> socket.socket:
    """Listen on an address.

    Raises:
        OSError: it is in use or not this machine's; the message names it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from error
    listener.listen(256)
    return listener
