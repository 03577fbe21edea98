"""Cross-origin resource sharing: which other origin's pages may read responses.

Source: the Fetch standard, section 3.2.
"""

from mnist_sgd_serve.http.messages import Headers, Request, Response

_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, HEAD, POST"),
    (
        b"access-control-allow-headers",
        b"authorization, content-encoding, content-type, inference-header-content-length, "
        b"x-request-id",
    ),
    (b"access-control-max-age", b"600"),
]
_EXPOSED = b"inference-header-content-length, retry-after, x-request-id"


class Cors:
    """The headers for one allowed origin."""

    def __init__(self, origin: str | None) -> None:
        self.headers: Headers = []
        if origin:
            self.headers = [
                (b"access-control-allow-origin", origin.encode()),
                (b"access-control-expose-headers", _EXPOSED),
            ]

    def preflight(self, request: Request) -> Response | None:
        """Respond to a preflight request, which comes without the token; None if it is none."""
        asks = request.method == b"OPTIONS" and b"access-control-request-method" in request.headers
        return Response(b"", _PREFLIGHT, 204) if asks and self.headers else None
