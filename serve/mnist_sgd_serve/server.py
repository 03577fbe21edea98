"""One worker: the application on uvicorn, from the warm model to the last answer.

It listens once the model has answered, never before. At the first SIGTERM or SIGINT it says that
it is not ready, goes on for the drain time, then stops listening and finishes what is in flight;
the process ends with code 0. A second signal ends it at once, with code 1. SIGHUP loads the model's
file anew. A worker whose supervisor is gone ends as after SIGTERM. All of that needs a turn of the
event loop; if it gets none, the process is ended all the same (see signals.py).
"""

import asyncio
import contextlib
import mmap
import os
import signal
import socket
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import uvicorn

from mnist_sgd_serve.http.application import Application
from mnist_sgd_serve.http.connection import close_slow_connections, connection_class
from mnist_sgd_serve.http.decoders import Decoders
from mnist_sgd_serve.http.picture_request import PictureLimits
from mnist_sgd_serve.http.routes import Routes
from mnist_sgd_serve.logs import Log
from mnist_sgd_serve.metrics import Metrics
from mnist_sgd_serve.model.batcher import Batcher
from mnist_sgd_serve.model.host import ModelHost
from mnist_sgd_serve.model.watch import ModelWatch
from mnist_sgd_serve.process import listening
from mnist_sgd_serve.process.allocation import give_back_large_blocks
from mnist_sgd_serve.process.busy_poll import BusyPoll
from mnist_sgd_serve.process.channel import Channel
from mnist_sgd_serve.process.signals import Signals
from mnist_sgd_serve.process.waited_signals import SIGNALS
from mnist_sgd_serve.settings import Settings
from mnist_sgd_serve.supervisor import CLOSING_SECONDS, GRACE_SECONDS

if TYPE_CHECKING:
    from mnist_sgd_serve.rpc.server import RpcServer

__all__ = ["GRACE_SECONDS", "bind", "serve"]

WATCH_SECONDS = 0.5
"""For a look at the model's file to end, when the server has ended."""

LAST_SECONDS = GRACE_SECONDS + 1
"""From the end of the drain time to the end of the process if its event loop hangs."""


def bind(settings: Settings) -> socket.socket:
    """A socket on the address of the settings, which `serve` will listen on.

    Raises:
        OSError: the address is in use, or not one to bind; the message names it.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        text = error.strerror or error
        raise OSError(
            f"cannot listen on {_address(settings.host, settings.port)}: {text}"
        ) from error
    listener.setblocking(False)
    return listener


def serve(
    settings: Settings,
    listener: socket.socket,
    memory: mmap.mmap,
    worker: int = 0,
    channel: socket.socket | None = None,
) -> int:
    """Serve until told to stop.

    Args:
        settings: of the server.
        listener: of `bind`; workers may share it.
        memory: of `metrics.shared_memory`.
        worker: which row of it is this worker's.
        channel: to the supervisor, if there is one.

    Returns:
        The exit code: 0, or 1 when the requests in flight did not finish in time.

    Raises:
        ArtifactError: the model's file cannot be used.
        OSError: the processes that read pictures cannot be started.
    """
    give_back_large_blocks()
    log = Log(worker)
    limits = PictureLimits(
        body=settings.max_body,
        pixels=settings.max_pixels,
        memory=settings.decode_memory,
        seconds=settings.decode_seconds,
    )
    decoders = Decoders(settings.decoders, limits, settings.deadline, log)
    decoders.launch()  # they become ready while the model is loaded
    try:
        server = _server(settings, memory, worker, channel, log, decoders)
        server.run(sockets=[listener])
    finally:
        decoders.close()
    return server.code


def _server(
    settings: Settings,
    memory: mmap.mmap,
    worker: int,
    channel: socket.socket | None,
    log: Log,
    decoders: Decoders,
) -> "_Server":
    """Load the model and put the server together."""
    metrics = Metrics(memory, worker)
    metrics.waiting(0)  # a worker that died may have left another figure

    def changed(result: str, sentence: str) -> None:
        metrics.reloaded(result)
        (log.info if result == "loaded" else log.warning)("model", result=result, text=sentence)

    poll = BusyPoll(settings.poll_seconds)

    def ran(requests: int, images: int, seconds: float) -> None:
        metrics.ran(images, seconds)
        if requests == 1:
            poll.again()

    host = ModelHost(settings.model, changed, settings.max_images)
    batcher = Batcher(
        host.run,
        max_images=settings.max_images,
        max_waiting=settings.max_waiting,
        deadline=settings.deadline,
        ran=ran,
        queued=metrics.waiting,
    )
    routes = Routes(
        settings,
        _version(),
        host,
        batcher,
        decoders,
        metrics,
        lambda: not application.draining,
    )
    application = Application(settings, routes.find, metrics, log)

    config = uvicorn.Config(
        _no_application,
        http=connection_class(application),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
    )
    server = _Server(config, settings, host, decoders, application, log, channel)
    if settings.grpc_port is not None:
        from mnist_sgd_serve.rpc.server import RpcServer
        from mnist_sgd_serve.rpc.service import Service

        service = Service(settings, _version(), host, batcher, lambda: not application.draining)
        server.rpc = RpcServer(settings, service, metrics, log, application)
    return server


async def _no_application(scope: object, receive: object, send: object) -> None:
    """What uvicorn wants to be given; the connections know the application themselves."""


class _Server(uvicorn.Server):
    """uvicorn's server with draining, reloading and deadlines."""

    def __init__(
        self,
        config: uvicorn.Config,
        settings: Settings,
        host: ModelHost,
        decoders: Decoders,
        application: Application,
        log: Log,
        channel: socket.socket | None,
    ) -> None:
        super().__init__(config)
        self.settings = settings
        self.host = host
        self.decoders = decoders
        self.application = application
        self.log = log
        self.channel = None if channel is None else Channel(channel, self._orphaned)
        self.watch = ModelWatch(host, settings.watch_seconds, log)
        self.rpc: RpcServer | None = None
        self.code = 0

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop; afterwards no other process is left."""
        try:
            await super().serve(sockets)
        finally:
            self.decoders.close()
            await asyncio.sleep(0)  # so that the requests that were cut off hear of it

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop.

        A thread that is still loading a model then would crash while Python ends, and one that
        reads from a disk that does not answer would stay: with such a thread the process ends here.
        """
        super().run(sockets)
        if not self.watch.has_ended(WATCH_SECONDS):
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    with contextlib.suppress(OSError, ValueError):
                        stream.flush()
            os._exit(self.code)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say where."""
        await self.decoders.wait_until_ready()
        for listener in sockets or []:
            _listen(listener)
        rpc = {} if self.rpc is None else {"grpc": await self.rpc.start()}
        await super().startup(sockets)
        connections = self.server_state.connections
        self.deadlines = asyncio.create_task(close_slow_connections(connections, self.settings))
        self.watch.start()
        for listener in sockets or []:
            host, port = listener.getsockname()[:2]
            self.log.info(
                "ready",
                address=f"http://{_address(host, port)}",
                **rpc,
                model=os.fspath(self.settings.model),
                version=self.host.model.version,
                process=os.getpid(),
            )
        if self.channel is not None:
            self.channel.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, and say so."""
        self.watch.stop()
        stopping = None
        if self.rpc is not None:
            stopping = asyncio.create_task(self.rpc.stop(GRACE_SECONDS))
        await self._stop_listening(sockets or [])
        await super().shutdown(sockets)
        if stopping is not None:
            await stopping
        self.deadlines.cancel()  # not before: clients that send slowly would hold the end up
        self.log.info("stopped", process=os.getpid())

    async def _stop_listening(self, listeners: list[socket.socket]) -> None:
        """Accept what the kernel has begun, if nobody else listens on these sockets.

        Other workers may do so, unless the supervisor has turned away who would connect.
        """
        alone = self.channel is None
        if self.channel is not None:
            if not await self.channel.wait_until_closed(CLOSING_SECONDS):
                return
            alone = self.channel.alone
        if alone:
            for listener in listeners:
                listening.turn_away(listener)
        await listening.accept_the_last(listeners)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let signals reach the event loop, and end with code 0 after them."""
        last = self.settings.drain_seconds + LAST_SECONDS
        self.signals = Signals(self._handle, last, self.decoders.kill, self.log)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # one may wait since the start
        try:
            yield
        finally:
            self.signals.close()

    def _handle(self, number: int) -> None:
        if number == signal.SIGHUP:
            self.watch.reload()
        else:
            self._stop()

    def _orphaned(self) -> None:
        self.log.error("supervisor gone", process=os.getpid())
        if not self.application.draining:
            self.signals.stop()

    def _stop(self) -> None:
        self.application.draining = True
        if self.rpc is not None:
            self.rpc.drain()
        self.log.info("draining", seconds=self.settings.drain_seconds, process=os.getpid())
        asyncio.get_running_loop().call_later(self.settings.drain_seconds, self._leave)

    def _leave(self) -> None:
        self.should_exit = True
        asyncio.get_running_loop().call_later(GRACE_SECONDS, self._cut_off)

    def _cut_off(self) -> None:
        """Close what is still open; uvicorn waits for nothing else."""
        connections = list(self.server_state.connections)
        self.log.error("cut off", connections=len(connections), process=os.getpid())
        self.code = 1
        for connection in connections:
            connection.transport.abort()


def _listen(listener: socket.socket) -> None:
    """Listen, as uvicorn will, but with an error that says where.

    Raises:
        OSError: another server that was starting at the same time was faster.
    """
    try:
        listener.listen()
    except OSError as error:
        address = _address(*listener.getsockname()[:2])
        raise OSError(f"cannot listen on {address}: {error.strerror}") from error


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _version() -> str:
    try:
        return version("mnist-sgd")
    except PackageNotFoundError:
        return "0+source"
