"""What is at which path, and how each answer is made.

Paths are compared as they were sent, so no encoding of a slash or a dot reaches anything, and no
path is ever a file name: the few files of the page are read once, at the start.
"""

import base64
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import parse_qs

import numpy as np
import orjson
from numpy.typing import NDArray

from mnist_sgd_serve.http.api_docs import reference
from mnist_sgd_serve.http.compression import LITTLE
from mnist_sgd_serve.http.decoders import Decoders
from mnist_sgd_serve.http.exchange import JSON, Answer, Exchange, Handler, Headers, Route
from mnist_sgd_serve.http.offload import Offload
from mnist_sgd_serve.http.openapi import openapi
from mnist_sgd_serve.http.static_files import PAGES
from mnist_sgd_serve.images.pixels import border
from mnist_sgd_serve.images.preprocessing import Preprocessed
from mnist_sgd_serve.metrics import Metrics
from mnist_sgd_serve.model.attribution import contributions
from mnist_sgd_serve.model.batcher import Batcher
from mnist_sgd_serve.model.host import Model, ModelHost
from mnist_sgd_serve.model.predictor import Prediction
from mnist_sgd_serve.protocol import (
    LIVE,
    READY,
    InferRequest,
    RequestError,
    encode_infer,
    model_list,
    model_metadata,
    model_ready,
    parse_infer,
    server_metadata,
    shown,
)
from mnist_sgd_serve.protocol.large import LARGE
from mnist_sgd_serve.settings import Settings

__all__ = ["Routes"]

BINARY = (b"content-type", b"application/octet-stream")
TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
HTML = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
]


class Routes:
    """The routes of one worker.

    Args:
        settings: of the server.
        version: of the server's package.
        host: holds the model.
        batcher: runs it.
        decoders: read pictures.
        metrics: shown at /metrics.
        ready: whether new requests are welcome.
    """

    def __init__(
        self,
        settings: Settings,
        version: str,
        host: ModelHost,
        batcher: Batcher,
        decoders: Decoders,
        metrics: Metrics,
        ready: Callable[[], bool],
    ) -> None:
        self.settings = settings
        self.version = version
        self.host = host
        self.batcher = batcher
        self.decoders = decoders
        self.metrics = metrics
        self.ready = ready
        self.model: Model | None = None
        self.table: dict[bytes, Route] = {}
        self.offload = Offload(settings.deadline)

    def find(self, path: bytes) -> Route:
        """The route of a path as sent.

        Raises:
            RequestError: 404, there is none; the message tells an unknown model from the rest.
        """
        if self.model is not self.host.model:  # at the start, and after a reload
            self.model = self.host.model
            self.table = self._table(self.model)
        route = self.table.get(path)
        if route is not None:
            return route
        parts = path.split(b"/")
        if parts[0] in (b"http:", b"https:"):  # as to a proxy: RFC 9112, section 3.2.2
            return self.find(b"/" + b"/".join(parts[3:]))
        if parts[:3] == [b"", b"v2", b"models"] and len(parts) > 3:
            known = f"{self.settings.name!r}, of version {self.model.version!r}"
            given = shown(path.decode("ascii", "replace"))
            raise RequestError(404, "unknown_model", f"{given} is unknown, the model is {known}")
        raise RequestError(404, "unknown_route", "there is nothing at this path, see /openapi.json")

    def _table(self, model: Model) -> dict[bytes, Route]:
        name, version = self.settings.name, model.version
        document = openapi(name, model.metadata.classes, self.version)
        table = {
            b"/v2/health/live": Route("health", b"GET", _always(LIVE), open=True),
            b"/v2/health/ready": Route("health", b"GET", self._server_ready, open=True),
            b"/v2": _fixed("metadata", server_metadata(self.version)),
            b"/v2/": _fixed("metadata", server_metadata(self.version)),
            b"/v2/models": _fixed("metadata", model_list([name])),
            b"/predict": Route("predict", b"POST", self._predict),
            b"/metrics": Route("metrics", b"GET", self._metrics),
            b"/openapi.json": _fixed("page", orjson.dumps(document)),
            b"/docs": Route("page", b"GET", _always(reference(document), HTML)),
        }
        for base in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{version}"):
            table[base.encode()] = _fixed("metadata", model_metadata(name, version))
            table[f"{base}/ready".encode()] = Route("health", b"GET", self._model_ready)
            table[f"{base}/infer".encode()] = Route("infer", b"POST", self._infer)
        for path, page in PAGES.items():
            table[path] = Route("page", b"GET", page, open=True)  # it asks for the token itself
        return table

    async def _infer(self, exchange: Exchange) -> Answer:
        self.batcher.check_room()
        request = await self._read_infer(exchange)
        exchange.body = b""  # what is needed of it is in the request
        model, probabilities = await self.host.answer(self.batcher, request.images, exchange.gone)
        answer, header = encode_infer(
            request, probabilities, model_name=self.settings.name, model_version=model.version
        )
        if header is None:
            return Answer(answer)
        return Answer(answer, [BINARY, (b"inference-header-content-length", b"%d" % header)])

    async def _read_infer(self, exchange: Exchange) -> InferRequest:
        """Read a request: at once if that is little work, else beside the event loop."""
        packed = b"content-encoding" in exchange.head
        if len(exchange.body) <= (LITTLE if packed else LARGE) or _is_binary(exchange):
            try:
                return self._parse_infer(exchange, min(LARGE, self.settings.max_body))
            except RequestError as error:
                if error.reason != "too_large":
                    raise
        work = partial(self._parse_infer, exchange, self.settings.max_body)
        return await self.offload.run(work, exchange.gone)

    def _parse_infer(self, exchange: Exchange, limit: int) -> InferRequest:
        """Read a request that unpacks into at most so many bytes, if it is compressed."""
        length = exchange.head.get(b"inference-header-content-length")
        return parse_infer(
            exchange.unpacked(limit),
            None if length is None else length.decode("latin-1"),
            max_rows=self.settings.max_rows,
        )

    async def _predict(self, exchange: Exchange) -> Answer:
        self.batcher.check_room()
        while True:
            preprocessing = self.host.model.metadata.preprocessing
            preprocessed = await self._preprocess(exchange, preprocessing)
            model, probabilities = await self.host.answer(
                self.batcher, preprocessed.image[None], exchange.gone
            )
            if model.metadata.preprocessing == preprocessing:  # else a reload came between
                break
        prediction = Prediction.of(model.metadata, float(probabilities[0]), preprocessed)
        answer = prediction.as_dict() | {
            "classes": list(model.metadata.classes),
            "threshold": model.metadata.threshold,
        }
        if parse_qs(exchange.query.decode("latin-1")).get("explain") == ["1"]:
            answer |= self._explain(model, preprocessed.image)
        answer["milliseconds"] = round(1000 * (time.perf_counter() - exchange.started), 3)
        return Answer(orjson.dumps(answer))

    async def _preprocess(self, exchange: Exchange, preprocessing: str) -> Preprocessed:
        """Have the picture of a request read and preprocessed."""
        encoding = exchange.head.get(b"content-encoding")
        return await self.decoders.read(
            exchange.body,
            encoding=None if encoding is None else encoding.decode("latin-1"),
            content_type=exchange.head.get(b"content-type", b"").decode("latin-1"),
            preprocessing=preprocessing,
            gone=exchange.gone,
        )

    def _explain(self, model: Model, image: NDArray[np.uint8]) -> dict[str, object]:
        added, paper = None, model.metadata.paper
        if model.metadata.model == "linear":
            ground = 0 if model.metadata.preprocessing == "mnist" else paper
            if ground is None:  # not in the file: as `fit` takes it for the picture at hand
                ground = int(np.median(border(image)) + 0.5)
            added = contributions(model.predictor.probabilities, image, ground)
        return {
            "preparation": model.metadata.preprocessing,
            "paper": paper,
            "image": base64.b64encode(image.tobytes()).decode(),
            "contributions": None
            if added is None
            else base64.b64encode(added.astype("<f4").tobytes()).decode(),
        }

    async def _server_ready(self, exchange: Exchange) -> Answer:
        if self.ready():
            return Answer(READY)
        raise RequestError(503, "not_ready", "the server is shutting down")

    async def _model_ready(self, exchange: Exchange) -> Answer:
        await self._server_ready(exchange)
        return Answer(model_ready(self.settings.name))

    async def _metrics(self, exchange: Exchange) -> Answer:
        return Answer(self.metrics.text(self.settings.name, self.host.model.version), [TEXT])


def _is_binary(exchange: Exchange) -> bool:
    """Whether a body is bytes of images, which are used where they are, after little JSON."""
    length = exchange.head.get(b"inference-header-content-length", b"")
    packed = b"content-encoding" in exchange.head
    return not packed and length.isdigit() and len(length) < 20 and int(length) <= LARGE


def _fixed(name: str, body: bytes) -> Route:
    return Route(name, b"GET", _always(body))


def _always(body: bytes, headers: Headers = JSON) -> Handler:
    answer = Answer(body, headers)

    async def handler(exchange: Exchange) -> Answer:
        return answer

    return handler
