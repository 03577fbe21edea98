"""The methods of GRPCInferenceService: from a message to the `InferenceService` and back."""

from collections.abc import Awaitable, Callable
from typing import Any

from mnist_sgd_serve.http.compression import SMALL
from mnist_sgd_serve.inference import InferenceService
from mnist_sgd_serve.protocol import InferRequest, check_repository
from mnist_sgd_serve.protocol.extensions import REFUSED_METHODS, NotOffered
from mnist_sgd_serve.protocol.large import LARGE
from mnist_sgd_serve.rpc.calls import Call
from mnist_sgd_serve.rpc.large import split_pixels
from mnist_sgd_serve.rpc.messages import (
    decompressed,
    is_compressed,
    message_class,
    parse,
    parse_small,
)
from mnist_sgd_serve.rpc.tensors import read_infer, write_infer

SERVICE = "inference.GRPCInferenceService"

OPEN = ("ServerLive", "ServerReady")
"""Methods that need no bearer token, like the health routes of HTTP."""

Method = Callable[[Call], Awaitable[bytes]]

_INFER = message_class("inference.ModelInferRequest")


class Methods:
    """The methods of one worker.

    Attributes:
        table: the methods by name; each takes a call with its message and returns a message.
    """

    def __init__(self, service: InferenceService) -> None:
        self.service = service
        methods = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelStatistics": self._model_statistics,
            "RepositoryIndex": self._repository_index,
        }
        self.table: dict[str, Method] = {
            name: _method(name, method) for name, method in methods.items()
        }
        self.table |= {name: _refusal(text) for name, text in REFUSED_METHODS.items()}
        self.table["ModelInfer"] = self._model_infer

    def _server_live(self, request: Any) -> dict[str, Any]:
        return {"live": True}

    def _server_ready(self, request: Any) -> dict[str, Any]:
        return {"ready": not self.service.draining}

    def _model_ready(self, request: Any) -> dict[str, Any]:
        known = self.service.has_model(request.name, request.version)
        return {"ready": known and not self.service.draining}

    def _server_metadata(self, request: Any) -> dict[str, Any]:
        return self.service.server_metadata()

    def _model_metadata(self, request: Any) -> dict[str, Any]:
        self.service.check_model(request.name, request.version)
        return self.service.model_metadata()

    def _model_config(self, request: Any) -> dict[str, Any]:
        self.service.check_model(request.name, request.version)
        return {"config": self.service.model_config()}

    def _model_statistics(self, request: Any) -> dict[str, Any]:
        if request.name:
            self.service.check_model(request.name, request.version)
        return self.service.statistics()

    def _repository_index(self, request: Any) -> dict[str, Any]:
        check_repository(request.repository_name)
        return {"models": self.service.repository_index(ready=request.ready)}

    async def _model_infer(self, call: Call) -> bytes:
        self.service.check_capacity()
        body = call.body
        is_small = len(body) <= (SMALL if is_compressed(body) else LARGE)

        def parse_infer(limit: int) -> InferRequest:
            parts = split_pixels(decompressed(call.body, limit))
            message = parse(_INFER, parts.rest)
            self.service.check_model(message.model_name, message.model_version)
            return read_infer(message, max_images=self.service.max_images, parts=parts)

        given = await self.service.parse(parse_infer, call.is_disconnected, is_small=is_small)
        call.body = body = b""  # what is needed of it is in `given`
        response = await self.service.infer(given.images, given.id, call.is_disconnected)
        return write_infer(response, binary=given.binary)


def _method(name: str, function: Callable[[Any], dict[str, Any]]) -> Method:
    """Make a method of a function from a small message to the fields of another."""
    request = message_class(f"inference.{name}Request")
    response = message_class(f"inference.{name}Response")

    async def method(call: Call) -> bytes:
        content: bytes = response(**function(parse_small(request, call.body))).SerializeToString()
        return content

    return method


def _refusal(sentence: str) -> Method:
    """Make a method that is refused."""

    async def method(call: Call) -> bytes:
        raise NotOffered(sentence)

    return method
