"""The HTTP routes: which path has which handler, and how each response is made.

Paths are compared as they were sent, without decoding. No path is ever a file name: the few files
of the page are read once, at the start.
"""

import time
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import orjson

from mnist_sgd_serve.http.api_docs import render_html
from mnist_sgd_serve.http.compression import SMALL
from mnist_sgd_serve.http.decoders import Decoders
from mnist_sgd_serve.http.messages import JSON, Handler, Request, Response, Route
from mnist_sgd_serve.http.openapi import openapi
from mnist_sgd_serve.http.page_data import EXAMPLE, page_document
from mnist_sgd_serve.http.static_files import STATIC_FILES
from mnist_sgd_serve.images.preprocessing import Preprocessed
from mnist_sgd_serve.inference import InferenceService
from mnist_sgd_serve.metrics import Metrics
from mnist_sgd_serve.model.explanation import explanation
from mnist_sgd_serve.model.manager import Model
from mnist_sgd_serve.model.predictor import Prediction
from mnist_sgd_serve.protocol import (
    InferRequest,
    Kind,
    RequestError,
    encode_infer,
    parse_infer,
    quoted,
)
from mnist_sgd_serve.protocol.large import LARGE

BINARY = (b"content-type", b"application/octet-stream")
TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
HTML = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
]
PNG = [
    (b"content-type", b"image/png"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]


class Routes:
    """The routes of one worker."""

    def __init__(self, service: InferenceService, decoders: Decoders, metrics: Metrics) -> None:
        self.service = service
        self.decoders = decoders
        self.metrics = metrics
        self.model: Model | None = None
        self.table: dict[bytes, Route] = {}

    def find(self, path: bytes) -> Route:
        """Find the route of a path as sent.

        Raises:
            RequestError: there is none; the message tells an unknown model from the rest.
        """
        if self.model is not self.service.model:  # at the start, and after a reload
            self.model = self.service.model
            self.table = self._table(self.model)
        route = self.table.get(path)
        if route is not None:
            return route
        parts = path.split(b"/")
        if parts[0] in (b"http:", b"https:"):  # as to a proxy: RFC 9112, section 3.2.2
            return self.find(b"/" + b"/".join(parts[3:]))
        if parts[:3] == [b"", b"v2", b"models"] and len(parts) > 3:
            raise self.service.unknown_model(quoted(path.decode("ascii", "replace")))
        raise RequestError("there is nothing at this path, see /openapi.json", Kind.NOT_FOUND)

    def _table(self, model: Model) -> dict[bytes, Route]:
        service = self.service
        name, version = service.name, model.version
        document = openapi(name, model.metadata.classes, service.version)
        table = {
            b"/v2/health/live": Route("health", b"GET", _fixed({"live": True}), open=True),
            b"/v2/health/ready": Route("health", b"GET", self._server_ready, open=True),
            b"/v2": Route("metadata", b"GET", _fixed(service.server_metadata())),
            b"/v2/": Route("metadata", b"GET", _fixed(service.server_metadata())),
            b"/v2/models": Route("metadata", b"GET", _fixed({"models": [name]})),
            b"/predict": Route("predict", b"POST", self._predict),
            b"/metrics": Route("metrics", b"GET", self._metrics),
            b"/openapi.json": Route("page", b"GET", _fixed(document)),
            b"/docs": Route("page", b"GET", _always(Response(render_html(document), HTML))),
        }
        for base in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{version}"):
            table[base.encode()] = Route("metadata", b"GET", _fixed(service.model_metadata()))
            table[f"{base}/ready".encode()] = Route("health", b"GET", self._model_ready)
            table[f"{base}/infer".encode()] = Route("infer", b"POST", self._infer)
        table[b"/page/model.json"] = Route("page", b"GET", _fixed(page_document(name, model)))
        for number, example in enumerate(model.examples):
            path = f"/{EXAMPLE.format(number)}".encode()
            table[path] = Route("page", b"GET", _always(Response(example.content, PNG)))
        for path, handler in STATIC_FILES.items():
            table[path] = Route("page", b"GET", handler, open=True)  # the page asks for the token
        return table

    async def _infer(self, request: Request) -> Response:
        self.service.check_capacity()
        given = await self._parse_infer(request)
        request.body = b""  # what is needed of it is in `given`
        response = await self.service.infer(given.images, given.id, request.is_disconnected)
        body, json_length = encode_infer(response, binary=given.binary)
        if json_length is None:
            return Response(body)
        return Response(body, [BINARY, (b"inference-header-content-length", b"%d" % json_length)])

    async def _parse_infer(self, request: Request) -> InferRequest:
        length = request.headers.get(b"inference-header-content-length")
        compressed = b"content-encoding" in request.headers
        is_small = len(request.body) <= (SMALL if compressed else LARGE)
        # Little JSON, followed by images that are used in place.
        is_binary = (
            not compressed
            and length is not None
            and (length.isdigit() and len(length) < 20 and int(length) <= LARGE)
        )
        header_length = None if length is None else length.decode("latin-1")

        def parse(limit: int) -> InferRequest:
            body = request.decompressed_body(limit)
            return parse_infer(body, header_length, max_images=self.service.max_images)

        return await self.service.parse(
            parse, request.is_disconnected, is_small=is_small or is_binary
        )

    async def _predict(self, request: Request) -> Response:
        self.service.check_capacity()
        model, preprocessed, probability = await self.service.classify(
            partial(self._preprocess, request), request.is_disconnected
        )
        prediction = Prediction.of(model.metadata, probability, preprocessed)
        answer = prediction.as_dict() | {
            "classes": list(model.metadata.classes),
            "threshold": model.metadata.threshold,
        }
        if parse_qs(request.query.decode("latin-1")).get("explain") == ["1"]:
            answer |= explanation(model, preprocessed.image)
        answer["milliseconds"] = round(1000 * (time.perf_counter() - request.started), 3)
        return Response(orjson.dumps(answer))

    async def _preprocess(self, request: Request, preprocessing: str) -> Preprocessed:
        """Have the picture of a request decoded and preprocessed."""
        encoding = request.headers.get(b"content-encoding")
        return await self.decoders.decode(
            request.body,
            encoding=None if encoding is None else encoding.decode("latin-1"),
            content_type=request.headers.get(b"content-type", b"").decode("latin-1"),
            preprocessing=preprocessing,
            is_disconnected=request.is_disconnected,
        )

    async def _server_ready(self, request: Request) -> Response:
        self.service.check_ready()
        return Response(b'{"ready":true}')

    async def _model_ready(self, request: Request) -> Response:
        self.service.check_ready()
        return Response(orjson.dumps({"name": self.service.name, "ready": True}))

    async def _metrics(self, request: Request) -> Response:
        return Response(self.metrics.text(self.service.name, self.service.model.version), [TEXT])


def _fixed(document: dict[str, Any]) -> Handler:
    return _always(Response(orjson.dumps(document), JSON))


def _always(response: Response) -> Handler:
    async def handler(request: Request) -> Response:
        return response

    return handler
