"""The HTTP routes: one table, from which also the OpenAPI document is made.

No path is ever a file name, but for those of the page's own files.
"""

import time
from collections.abc import Mapping
from typing import Any, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route, Router
from starlette.types import Receive, Scope, Send

from mnist_sgd_serve.http import openapi
from mnist_sgd_serve.http.api_docs import render_html
from mnist_sgd_serve.http.authentication import Authentication
from mnist_sgd_serve.http.bodies import received
from mnist_sgd_serve.http.compression import SMALL, decompress
from mnist_sgd_serve.http.decoders import Decoders
from mnist_sgd_serve.http.endpoint import Endpoint, Json
from mnist_sgd_serve.http.page import PageFiles
from mnist_sgd_serve.http.page_data import page_document
from mnist_sgd_serve.http.responses import Reply
from mnist_sgd_serve.images.preprocessing import Preprocessed
from mnist_sgd_serve.inference import InferenceService
from mnist_sgd_serve.metrics import Metrics
from mnist_sgd_serve.model.explanation import explanation
from mnist_sgd_serve.model.manager import Model
from mnist_sgd_serve.model.predictor import Prediction
from mnist_sgd_serve.protocol import (
    InferRequest,
    encode_infer,
    parse_index,
    parse_infer,
)
from mnist_sgd_serve.protocol.large import LARGE
from mnist_sgd_serve.settings import Settings

BINARY = (b"content-type", b"application/octet-stream")
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
DOCS_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'"
}


class Arrived(Protocol):
    """A request that has arrived, on the fast path or by ASGI."""

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        """By name in lower case."""

    def take_body(self) -> bytes:
        """Give the body away, as sent."""

    def is_disconnected(self) -> bool:
        """Whether the client has left."""


class Routes:
    """The routes of one worker, an ASGI application."""

    def __init__(
        self, settings: Settings, service: InferenceService, decoders: Decoders, metrics: Metrics
    ) -> None:
        self.service = service
        self.decoders = decoders
        self.metrics = metrics
        self.token_required = settings.token is not None
        self.authentication = Authentication(settings.token)
        self.root_path = settings.root_path.rstrip("/")
        self.endpoints = self._endpoints()
        page = PageFiles()
        routes: list[Route | Mount] = [self._route(one) for one in self.endpoints]
        routes.append(self._route(Endpoint("GET", "/", page.index, "page", None, open=True)))
        self.router = Router([*routes, Mount("/page", page)], redirect_slashes=False)
        self._model: Model | None = None
        self._infer_paths: frozenset[bytes] = frozenset()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a request.

        Raises:
            RequestError: it is refused.
            starlette.exceptions.HTTPException: there is no such path, or not with this method.
        """
        await self.router(scope, receive, send)

    def _route(self, endpoint: Endpoint) -> Route:
        async def handle(request: Request) -> Response:
            request.state.call.route = endpoint.metric
            if not endpoint.open:
                authorization = request.headers.get("authorization", "")
                self.authentication.check(authorization.encode("latin-1"))
            return await endpoint.handler(request)

        return Route(endpoint.path, handle, methods=[endpoint.method])

    def _endpoints(self) -> list[Endpoint]:
        """All routes but the page's."""
        predict = Endpoint("POST", "/predict", self._predict, "predict", openapi.predict())
        stats = Endpoint("GET", "/v2/models/stats", self._stats, "metadata", openapi.statistics())
        endpoints = [predict, stats]
        for base in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
            endpoints += [
                Endpoint("POST", f"{base}/infer", self._infer, "infer", openapi.infer()),
                Endpoint("GET", base, self._model_metadata, "metadata", openapi.model_metadata()),
                Endpoint("GET", f"{base}/config", self._config, "metadata", openapi.model_config()),
                Endpoint("GET", f"{base}/stats", self._stats, "metadata", openapi.statistics(404)),
                Endpoint(
                    "GET", f"{base}/ready", self._model_ready, "health", openapi.model_ready()
                ),
            ]
        return [
            *endpoints,
            Endpoint("GET", "/v2/models", self._models, "metadata", openapi.models()),
            Endpoint(
                "POST",
                "/v2/repository/index",
                self._repository_index,
                "metadata",
                openapi.repository_index(),
            ),
            Endpoint("GET", "/v2", self._server_metadata, "metadata", openapi.server_metadata()),
            Endpoint("GET", "/v2/", self._server_metadata, "metadata", None),
            Endpoint("GET", "/v2/health/live", self._live, "health", openapi.live(), open=True),
            Endpoint(
                "GET", "/v2/health/ready", self._server_ready, "health", openapi.ready(), open=True
            ),
            Endpoint("GET", "/metrics", self._metrics, "metrics", openapi.metrics()),
            Endpoint("GET", "/openapi.json", self._openapi, "page", openapi.itself(), open=True),
            Endpoint("GET", "/docs", self._docs, "page", None, open=True),
            Endpoint("GET", "/page/model.json", self._page_document, "page", None),
            Endpoint("GET", "/page/examples/{number}", self._example, "page", None),
        ]

    @property
    def infer_paths(self) -> frozenset[bytes]:
        """The paths of inference by the current model, as they are usually sent."""
        if self._model is not self.service.model:  # at the start, and after a reload
            self._model = self.service.model
            name, version = self.service.name, self._model.version
            base = f"/v2/models/{name}"
            paths = [f"{base}/infer", f"{base}/versions/{version}/infer"]
            paths += [self.root_path + path for path in paths]
            self._infer_paths = frozenset(path.encode() for path in paths)
        return self._infer_paths

    # Inference.

    async def infer(self, request: Arrived) -> Reply:
        """Respond to a request for inference by the current model.

        Raises:
            RequestError: it is invalid, or cannot be answered now.
        """
        self.service.check_capacity()
        given = await self._parse_infer(request)
        response = await self.service.infer(given.images, given.id, request.is_disconnected)
        body, json_length = encode_infer(response, binary=given.binary)
        if json_length is None:
            return Reply(body)
        length = (b"inference-header-content-length", b"%d" % json_length)
        return Reply(body, headers=[BINARY, length])

    async def _parse_infer(self, request: Arrived) -> InferRequest:
        length = request.headers.get(b"inference-header-content-length")
        encoding = request.headers.get(b"content-encoding")
        header_length = None if length is None else length.decode("latin-1")
        body, most = request.take_body(), self.service.max_images
        if encoding is None and (len(body) <= LARGE or _is_little_json(length)):
            return parse_infer(body, header_length, max_images=most)

        def parse(limit: int) -> InferRequest:
            content = body
            if encoding is not None:
                content = decompress(body, encoding.decode("latin-1"), limit=limit)
            return parse_infer(content, header_length, max_images=most)

        is_small = encoding is not None and len(body) <= SMALL
        return await self.service.parse(parse, request.is_disconnected, is_small=is_small)

    async def _infer(self, request: Request) -> Response:
        self._check_model(request)
        async with received(request, self.service.bodies) as upload:
            reply = await self.infer(upload)
        return Response(reply.body, headers={k.decode(): v.decode() for k, v in reply.headers})

    async def _predict(self, request: Request) -> Response:
        self.service.check_capacity()
        async with received(request, self.service.bodies) as upload:
            content_type = upload.headers.get(b"content-type", b"").decode("latin-1")
            encoding = upload.headers.get(b"content-encoding")
            body = upload.take_body()

            async def preprocess(preprocessing: str) -> Preprocessed:
                return await self.decoders.decode(
                    body,
                    encoding=None if encoding is None else encoding.decode("latin-1"),
                    content_type=content_type,
                    preprocessing=preprocessing,
                    is_disconnected=upload.is_disconnected,
                )

            model, preprocessed, probability = await self.service.classify(
                preprocess, upload.is_disconnected
            )
        prediction = Prediction.of(model.metadata, probability, preprocessed)
        answer = prediction.as_dict() | {
            "classes": list(model.metadata.classes),
            "threshold": model.metadata.threshold,
        }
        if request.query_params.get("explain") == "1":
            answer |= explanation(model, preprocessed.image)
        answer["milliseconds"] = round(1000 * (time.perf_counter() - upload.started), 3)
        return _json(answer)

    # What the server and the model are.

    def _check_model(self, request: Request) -> None:
        """Raise an error if a request is not for the current model."""
        name, version = request.path_params["name"], request.path_params.get("version", "")
        self.service.check_model(name, version)

    async def _model_metadata(self, request: Request) -> Response:
        self._check_model(request)
        return _json(self.service.model_metadata())

    async def _model_ready(self, request: Request) -> Response:
        self._check_model(request)
        self.service.check_ready()
        return _json({"name": self.service.name, "ready": True})

    async def _config(self, request: Request) -> Response:
        self._check_model(request)
        return _json(self.service.model_config())

    async def _stats(self, request: Request) -> Response:
        if request.path_params:
            self._check_model(request)
        return _json(self.service.statistics())

    async def _repository_index(self, request: Request) -> Response:
        async with received(request, self.service.bodies) as upload:
            encoding = upload.headers.get(b"content-encoding")
            coded = None if encoding is None else encoding.decode("latin-1")
            ready = parse_index(decompress(upload.take_body(), coded, limit=SMALL))
        return _json(self.service.repository_index(ready=ready))

    async def _models(self, request: Request) -> Response:
        return _json({"models": [self.service.name]})

    async def _server_metadata(self, request: Request) -> Response:
        return _json(self.service.server_metadata())

    async def _live(self, request: Request) -> Response:
        return _json({"live": True})

    async def _server_ready(self, request: Request) -> Response:
        self.service.check_ready()
        return _json({"ready": True})

    async def _metrics(self, request: Request) -> Response:
        text = self.metrics.text(self.service.name, self.service.model.version)
        return Response(text, media_type=METRICS_TYPE)

    async def _page_document(self, request: Request) -> Response:
        return _json(page_document(self.service.name, self.service.model))

    async def _example(self, request: Request) -> Response:
        numbered = {str(number): one for number, one in enumerate(self.service.model.examples)}
        example = numbered.get(request.path_params["number"])
        if example is None:
            raise self.service.unknown_path(request.url.path)
        headers = {"cache-control": "no-store"}
        return Response(example.content, media_type="image/png", headers=headers)

    def _document(self) -> Json:
        """The OpenAPI document; where a token is required, it does not tell the classes."""
        classes = () if self.token_required else self.service.model.metadata.classes
        return openapi.document(
            self.endpoints,
            self.service.name,
            classes,
            self.service.version,
            root_path=self.root_path,
            token_required=self.token_required,
        )

    async def _openapi(self, request: Request) -> Response:
        return _json(self._document())

    async def _docs(self, request: Request) -> Response:
        page = render_html(self._document(), str(request.base_url).rstrip("/"))
        return Response(page, media_type="text/html", headers=DOCS_HEADERS)


def _json(document: Any) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")


def _is_little_json(length: bytes | None) -> bool:
    """Whether there is little JSON, followed by images, which are used in place."""
    return length is not None and length.isdigit() and len(length) < 20 and int(length) <= LARGE
