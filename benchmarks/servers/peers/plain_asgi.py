"""What one would write by hand: ASGI on uvicorn, bytes in and out, a `session.run` a request."""

from typing import Any

import numpy as np
import uvicorn
from session import PORT, Session

HEADERS = [(b"content-type", b"application/octet-stream")]

session = Session()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer the probabilities, float32, of images of 784 bytes."""
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    images = np.frombuffer(b"".join(parts), np.uint8).reshape(-1, 28, 28)
    body = session.run(images).tobytes()
    headers = [*HEADERS, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=PORT,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        access_log=False,
        log_level="error",
    )
