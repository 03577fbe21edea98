"""An application that reads the body and answers with its length: what a server costs alone.

python empty_asgi.py uvicorn|granian
"""

import sys
from typing import Any

from session import PORT

HEADERS = [(b"content-type", b"text/plain")]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request of HTTP."""
    size = 0
    more = True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"%d" % size
    headers = [*HEADERS, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    if sys.argv[1] == "uvicorn":
        import uvicorn

        uvicorn.run(
            app,
            port=PORT,
            http="httptools",
            loop="uvloop",
            lifespan="off",
            access_log=False,
            log_level="error",
        )
    else:
        from granian import Granian

        Granian(
            "empty_asgi:app",
            port=PORT,
            interface="asginl",
            loop="uvloop",
            log_level="error",
        ).serve()
