"""One worker: the application on uvicorn, from the warm model to the last response.

It listens once the model has been run, never before. After the first SIGTERM or SIGINT it reports
that it is not ready, continues for the shutdown delay, then stops listening and finishes the
requests in flight; the process ends with code 0. A second signal ends it immediately, with code 1.
SIGHUP reloads the model. A worker that loses its supervisor ends as after SIGTERM. If the event
loop hangs, the process is ended all the same (see signals.py).
"""

import asyncio
import contextlib
import logging
import mmap
import os
import signal
import socket
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import uvicorn

from mnist_sgd_serve.http.application import Application
from mnist_sgd_serve.http.connection import (
    NEW,
    QUIET_SECONDS,
    Connection,
    close_slow_connections,
)
from mnist_sgd_serve.http.decoders import Decoders
from mnist_sgd_serve.http.fast_path import connection_class
from mnist_sgd_serve.http.routes import Routes
from mnist_sgd_serve.inference import InferenceService
from mnist_sgd_serve.logs import LibraryLog, Log, RequestLog, make_log
from mnist_sgd_serve.metrics import Metrics
from mnist_sgd_serve.model.batcher import Batcher
from mnist_sgd_serve.model.manager import ModelManager
from mnist_sgd_serve.model.watch import ModelWatch
from mnist_sgd_serve.process import listening
from mnist_sgd_serve.process.allocation import return_large_blocks
from mnist_sgd_serve.process.busy_poll import BusyPoll
from mnist_sgd_serve.process.channel import Channel
from mnist_sgd_serve.process.signals import Signals
from mnist_sgd_serve.process.waited_signals import SIGNALS
from mnist_sgd_serve.settings import Settings
from mnist_sgd_serve.supervisor import CLOSING_SECONDS, GRACE_SECONDS

if TYPE_CHECKING:
    from mnist_sgd_serve.rpc.server import RpcServer

WATCH_SECONDS = 0.5
"""For a check of the model file to end, when the server has ended."""

LAST_SECONDS = GRACE_SECONDS + 1
"""From the end of the shutdown delay to the end of the process if its event loop hangs."""


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
        worker: this worker's row of it.
        channel: to the supervisor, if there is one.

    Returns:
        The exit code: 0, or 1 when the requests in flight did not finish in time.

    Raises:
        ArtifactError: the model's file cannot be used.
        OSError: the processes that decode pictures cannot be started.
    """
    return_large_blocks()
    log = make_log(settings, worker)
    library_log = LibraryLog(log)
    logging.getLogger().addHandler(library_log)
    decoders = Decoders(settings, log)
    decoders.launch()  # they start while the model is loaded
    try:
        server = _server(settings, memory, worker, channel, log, decoders)
        server.run(sockets=[listener])
    finally:
        decoders.close()
        logging.getLogger().removeHandler(library_log)
    return server.code


def _server(
    settings: Settings,
    memory: mmap.mmap,
    worker: int,
    channel: socket.socket | None,
    log: Log,
    decoders: Decoders,
) -> "_Server":
    """Load the model and assemble the server."""
    metrics = Metrics(memory, worker)
    metrics.waiting(0)  # a dead worker may have left another value

    def on_reload(result: str, text: str) -> None:
        metrics.reloaded(result)
        (log.info if result == "loaded" else log.warning)("model", result=result, text=text)

    busy_poll = BusyPoll(settings.busy_poll)

    def on_batch(requests: int, images: int, seconds: float, queued: float) -> None:
        metrics.ran(requests, images, seconds, queued)
        if requests == 1:
            busy_poll.start()

    models = ModelManager(settings.model, on_reload)
    batcher = Batcher(
        lambda: models.model,
        max_batch_size=settings.max_batch_size,
        max_queue_size=settings.max_queue_size,
        queue_timeout=settings.queue_timeout,
        on_batch=on_batch,
        on_queue_size=metrics.waiting,
    )
    service = InferenceService(settings, _version(), models, batcher, metrics)
    requests = RequestLog(metrics, log, settings.access_log)
    application = Application(settings, Routes(settings, service, decoders, metrics), requests)
    server = _Server(_config(settings, application), settings, service, decoders, log, channel)
    if settings.grpc_port is not None:
        from mnist_sgd_serve.rpc.server import RpcServer

        server.rpc = RpcServer(settings, service, requests)
    return server


def _config(settings: Settings, application: Application) -> uvicorn.Config:
    # uvicorn takes a `*` among others for a name.
    trusted = ["*"] if "*" in settings.trusted_proxy else list(settings.trusted_proxy)
    return uvicorn.Config(
        application,
        http=connection_class(application),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=bool(trusted),
        forwarded_allow_ips=trusted,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )


class _Server(uvicorn.Server):
    """uvicorn's server with draining, reloading and timeouts."""

    def __init__(
        self,
        config: uvicorn.Config,
        settings: Settings,
        service: InferenceService,
        decoders: Decoders,
        log: Log,
        channel: socket.socket | None,
    ) -> None:
        super().__init__(config)
        self.settings = settings
        self.service = service
        self.decoders = decoders
        self.log = log
        self.channel = None if channel is None else Channel(channel, self._orphaned)
        self.watch = ModelWatch(service.models, settings.reload_interval, log)
        self.rpc: RpcServer | None = None
        self.accepted: WeakSet[Connection] = (
            WeakSet()
        )  # over TLS, as the handshakes may not be over
        self.code = 0

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop, and leave no process behind."""
        try:
            await super().serve(sockets)
        finally:
            self.decoders.close()
            await asyncio.sleep(0)  # so that requests that were cut off notice

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop.

        A thread that still loads a model would crash at interpreter exit, and one that reads from
        an unresponsive disk would block it: with such a thread the process ends here.
        """
        super().run(sockets)
        if not self.watch.has_ended(WATCH_SECONDS):
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    with contextlib.suppress(OSError, ValueError):
                        stream.flush()
            os._exit(self.code)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and log the address."""
        await self.decoders.wait_until_ready()
        for listener in sockets or []:
            listening.listen(listener)
        rpc = {} if self.rpc is None else {"grpc": await self.rpc.start()}
        await self._accept(sockets or [])
        connections = self.server_state.connections
        self.deadlines = asyncio.create_task(close_slow_connections(connections, self.settings))
        self.watch.start()
        for listener in sockets or []:
            self.log.info(
                "ready",
                address=listening.url(listener, self.settings),
                **rpc,
                model=os.fspath(self.settings.model),
                version=self.service.model.version,
                process=os.getpid(),
                classes=list(self.service.model.metadata.classes),
            )
            if self.settings.open and self.channel is None:
                listening.open_page(listener, self.settings)
        if self.channel is not None:
            self.channel.start()

    async def _accept(self, listeners: list[socket.socket]) -> None:
        """Accept connections, as uvicorn would, but with the header timeout for TLS handshakes."""
        config = self.config

        def connection(_loop: asyncio.AbstractEventLoop | None = None) -> asyncio.Protocol:
            make: Any = config.http_protocol_class
            made: Connection = make(config, self.server_state, self.lifespan.state, _loop)
            if config.ssl is not None:
                self.accepted.add(made)
            return made

        seconds = None if config.ssl is None else self.settings.header_timeout
        self.servers = [
            await asyncio.get_running_loop().create_server(
                connection,
                sock=listener,
                ssl=config.ssl,
                backlog=config.backlog,
                ssl_handshake_timeout=seconds,
            )
            for listener in listeners
        ]
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, and log it."""
        self.watch.stop()
        stopping = None
        if self.rpc is not None:
            stopping = asyncio.create_task(self.rpc.stop(GRACE_SECONDS))
        await self._stop_listening(sockets or [])
        await self._finish_handshakes()
        await super().shutdown(sockets)
        if stopping is not None:
            await stopping
        self.deadlines.cancel()  # not earlier: slow clients would delay the end
        self.log.info("stopped", process=os.getpid())

    async def _stop_listening(self, listeners: list[socket.socket]) -> None:
        """Accept the connections that the kernel has begun, unless other workers will."""
        alone = self.channel is None
        if self.channel is not None:
            if not await self.channel.wait_until_closed(CLOSING_SECONDS):
                return
            alone = self.channel.alone
        if alone:
            for listener in listeners:
                listening.reject_new(listener)
        await listening.accept_remaining(listeners)

    async def _finish_handshakes(self) -> None:
        """Give TLS handshakes the time to end that a first request has to come."""
        end = asyncio.get_running_loop().time() + QUIET_SECONDS[NEW]
        while left := [one for one in self.accepted if one.is_in_handshake]:
            if asyncio.get_running_loop().time() > end:
                break
            await asyncio.sleep(0.05)
        for connection in left:
            connection.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Pass signals to the event loop, and end with code 0 after them."""
        last = self.settings.shutdown_delay + LAST_SECONDS
        self.signals = Signals(self._handle, last, self.decoders.kill, self.log)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # one may be pending since the start
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
        if not self.service.draining:
            self.signals.stop()

    def _stop(self) -> None:
        self.service.draining = True
        if self.rpc is not None:
            self.rpc.drain()
        self.log.info("draining", seconds=self.settings.shutdown_delay, process=os.getpid())
        asyncio.get_running_loop().call_later(self.settings.shutdown_delay, self._leave)

    def _leave(self) -> None:
        self.should_exit = True
        asyncio.get_running_loop().call_later(GRACE_SECONDS, self._cut_off)

    def _cut_off(self) -> None:
        """Close the open connections, the only thing uvicorn still waits for."""
        connections = list(self.server_state.connections)
        self.log.error("cut off", connections=len(connections), process=os.getpid())
        self.code = 1
        for connection in connections:
            connection.transport.abort()
        for task in self.server_state.tasks:
            task.cancel()


def _version() -> str:
    try:
        return version("mnist-sgd")
    except PackageNotFoundError:
        return "0+source"
