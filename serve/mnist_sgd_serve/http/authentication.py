"""The bearer token.

Source: RFC 6750, section 2.1.
"""

import hmac

from mnist_sgd_serve.protocol import Kind, RequestError


class Authentication:
    """Checks the token of requests; None allows all."""

    def __init__(self, token: str | None) -> None:
        self.token = None if token is None else token.encode()

    def check(self, authorization: bytes) -> None:
        """Check the value of an Authorization header, which is empty if there is none.

        Raises:
            RequestError: the token is missing or wrong.
        """
        if self.token is None:
            return
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self.token):
            raise RequestError(
                "the header Authorization: Bearer TOKEN is missing or wrong", Kind.UNAUTHENTICATED
            )
