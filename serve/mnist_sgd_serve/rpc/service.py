"""The calls of GRPCInferenceService, as routes of an `Application` of their own.

A call is an exchange like one over HTTP: its method's path, a message as its body. So who may ask,
what went wrong, what is counted and logged is decided in one place for both, and an HTTP status
says what became of a call until it leaves as the code of gRPC.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import orjson

from mnist_sgd_serve.http.compression import LITTLE
from mnist_sgd_serve.http.exchange import Answer, Exchange, Handler, Route
from mnist_sgd_serve.http.offload import Offload
from mnist_sgd_serve.model.batcher import Batcher
from mnist_sgd_serve.model.host import ModelHost
from mnist_sgd_serve.protocol import (
    InferRequest,
    RequestError,
    model_metadata,
    server_metadata,
    shown,
)
from mnist_sgd_serve.protocol.large import LARGE
from mnist_sgd_serve.rpc.large import take_apart
from mnist_sgd_serve.rpc.messages import is_packed, message_class, parse, parse_small, unpacked
from mnist_sgd_serve.rpc.tensors import read_infer, write_infer
from mnist_sgd_serve.settings import Settings

__all__ = ["SERVICE", "Service"]

SERVICE = "inference.GRPCInferenceService"

OPEN = ("ServerLive", "ServerReady")
"""What may be asked without the bearer token, as the health routes of HTTP."""

Method = Callable[[Any], Awaitable[bytes]]

_INFER = message_class("inference.ModelInferRequest")


class Service:
    """The service of one worker.

    Args:
        settings: of the server.
        version: of the server's package.
        host: holds the model.
        batcher: runs it.
        ready: whether new requests are welcome.

    Attributes:
        routes: by the paths of the methods. Their bodies and answers are messages.
    """

    def __init__(
        self,
        settings: Settings,
        version: str,
        host: ModelHost,
        batcher: Batcher,
        ready: Callable[[], bool],
    ) -> None:
        self.settings = settings
        self.version = version
        self.host = host
        self.batcher = batcher
        self.ready = ready
        self.offload = Offload(settings.deadline)
        methods: dict[str, Method] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
        }
        handlers = {name: _parsed(name, method) for name, method in methods.items()}
        handlers["ModelInfer"] = self._model_infer
        self.routes = {
            f"/{SERVICE}/{name}".encode(): Route("grpc", b"POST", handler, open=name in OPEN)
            for name, handler in handlers.items()
        }

    async def _server_live(self, request: Any) -> bytes:
        return _message("ServerLiveResponse", live=True)

    async def _server_ready(self, request: Any) -> bytes:
        return _message("ServerReadyResponse", ready=self.ready())

    async def _model_ready(self, request: Any) -> bytes:
        self._check_model(request.name, request.version)
        return _message("ModelReadyResponse", ready=self.ready())

    async def _server_metadata(self, request: Any) -> bytes:
        return _message("ServerMetadataResponse", **orjson.loads(server_metadata(self.version)))

    async def _model_metadata(self, request: Any) -> bytes:
        self._check_model(request.name, request.version)
        fields = orjson.loads(model_metadata(self.settings.name, self.host.model.version))
        return _message("ModelMetadataResponse", **fields)

    async def _model_infer(self, exchange: Exchange) -> Answer:
        self.batcher.check_room()
        request = await self._read_infer(exchange)
        exchange.body = b""  # what is needed of it is in the request
        model, probabilities = await self.host.answer(self.batcher, request.images, exchange.gone)
        return Answer(
            write_infer(
                request, probabilities, model_name=self.settings.name, model_version=model.version
            )
        )

    async def _read_infer(self, exchange: Exchange) -> InferRequest:
        """Read a request: at once if that is little work, else beside the event loop."""
        most = self.settings.max_body
        if len(exchange.body) <= (LITTLE if is_packed(exchange.body) else LARGE):
            try:
                return self._parse_infer(exchange, min(LARGE, most))
            except RequestError as error:
                if error.reason != "too_large":
                    raise
        return await self.offload.run(partial(self._parse_infer, exchange, most), exchange.gone)

    def _parse_infer(self, exchange: Exchange, limit: int) -> InferRequest:
        """Read a request for the model that is here, of at most so many bytes unpacked."""
        parts = take_apart(unpacked(exchange.body, limit))
        message = parse(_INFER, parts.rest)
        self._check_model(message.model_name, message.model_version)
        return read_infer(message, max_rows=self.settings.max_rows, parts=parts)

    def _check_model(self, name: str, version: str) -> None:
        """Refuse another model than the one that is here; an empty version is any.

        Raises:
            RequestError: 404.
        """
        ours, current = self.settings.name, self.host.model.version
        if name == ours and version in ("", current):
            return
        given = f"{shown(name)}, of version {shown(version)}," if version else shown(name)
        raise RequestError(
            404,
            "unknown_model",
            f"{given} is unknown, the model is {ours!r}, of version {current!r}",
        )


def _parsed(name: str, method: Method) -> Handler:
    """A handler that gives a method its message, which must be small."""
    request = message_class(f"inference.{name}Request")

    async def handler(exchange: Exchange) -> Answer:
        return Answer(await method(parse_small(request, exchange.body)))

    return handler


def _message(kind: str, /, **fields: Any) -> bytes:
    answer: bytes = message_class(f"inference.{kind}")(**fields).SerializeToString()
    return answer
