"""Which pages of other origins may read responses: CORS, by Starlette."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from mnist_sgd_serve.http.site import foreign_page
from mnist_sgd_serve.protocol import Kind, RequestError

METHODS = ["GET", "HEAD", "POST"]

REQUEST_HEADERS = [
    "authorization",
    "content-encoding",
    "content-type",
    "inference-header-content-length",
    "x-request-id",
]

RESPONSE_HEADERS = ["inference-header-content-length", "retry-after", "x-request-id"]


class Cors(CORSMiddleware):
    """Answers preflight requests, and adds headers to responses to other origins."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=RESPONSE_HEADERS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Make the response to a preflight request.

        Raises:
            RequestError: its origin, method or headers are not allowed.
        """
        response = super().preflight_response(request_headers)
        if response.status_code == 200:
            return response
        if not self.is_allowed_origin(request_headers["origin"]):
            raise foreign_page()
        raise RequestError(
            f"a page of another origin may send {', '.join(METHODS)} with the headers "
            f"{', '.join(REQUEST_HEADERS)}, and nothing else",
            Kind.FORBIDDEN,
        )
