"""The bearer token.

Source: RFC 6750, section 2.1.
"""

import hmac

from mnist_sgd_serve.protocol import Kind, RequestError


class Authentication:
    """Checks the token of requests; None allows all."""

    def __init__(self, token: str | None) -> None:
        self.token = None if token is None else token.encode()

    def allows(self, authorization: bytes) -> bool:
        """Whether the value of an Authorization header, empty if there is none, has the token."""
        if self.token is None:
            return True
        scheme, _, token = authorization.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self.token)

    def check(self, authorization: bytes) -> None:
        """Raise a `RequestError` unless `allows`."""
        if not self.allows(authorization):
            raise RequestError(
                "the header Authorization: Bearer TOKEN is missing or wrong", Kind.UNAUTHENTICATED
            )
