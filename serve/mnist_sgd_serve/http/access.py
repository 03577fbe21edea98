"""Who may ask: the bearer token, and the pages of another origin.

Sources: RFC 6750, section 2.1, for the token; the Fetch standard, section 3.2, for CORS.
"""

import hmac

from mnist_sgd_serve.http.exchange import Answer, Exchange, Headers
from mnist_sgd_serve.protocol import RequestError
from mnist_sgd_serve.settings import Settings

__all__ = ["Access"]

PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, HEAD, POST"),
    (
        b"access-control-allow-headers",
        b"authorization, content-encoding, content-type, inference-header-content-length, "
        b"x-request-id",
    ),
    (b"access-control-max-age", b"600"),
]
EXPOSED = b"inference-header-content-length, retry-after, x-request-id"


class Access:
    """What the settings say of token and origin.

    Attributes:
        headers: for every answer; none where no other origin is allowed.
    """

    def __init__(self, settings: Settings) -> None:
        self.token = None if settings.token is None else settings.token.encode()
        self.headers: Headers = []
        if settings.cors:
            self.headers = [
                (b"access-control-allow-origin", settings.cors.encode()),
                (b"access-control-expose-headers", EXPOSED),
            ]

    def preflight(self, exchange: Exchange) -> Answer | None:
        """The answer to a browser that asks for leave, which it does without the token."""
        asks = exchange.method == b"OPTIONS" and b"access-control-request-method" in exchange.head
        return Answer(b"", PREFLIGHT, 204) if asks and self.headers else None

    def check(self, exchange: Exchange) -> None:
        """Ask for the token.

        Raises:
            RequestError: 401, it is missing or wrong.
        """
        if self.token is None:
            return
        scheme, _, token = exchange.head.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self.token):
            raise RequestError(
                401, "unauthorized", "the header Authorization: Bearer TOKEN is missing or wrong"
            )
