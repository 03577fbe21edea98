"""The empty application in granian's own interface, RSGI."""

from typing import Any

from granian import Granian
from session import PORT

HEADERS = [("content-type", "text/plain")]


async def app(scope: Any, protocol: Any) -> None:
    """Read the body, answer with its length."""
    body = await protocol()
    protocol.response_bytes(200, HEADERS, b"%d" % len(body))


if __name__ == "__main__":
    Granian("empty_rsgi:app", port=PORT, interface="rsgi", loop="uvloop", log_level="error").serve()
