"""The page's files, with strict security headers.

The Content-Security-Policy allows what comes from this server and nothing else.
"""

from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

FOLDER = Path(__file__).parents[1] / "page"

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


class PageFiles(StaticFiles):
    """Serves the files; browsers keep copies, and ask whether they are still current."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a request."""
        scope["state"]["call"].route = "page"
        if scope["path"] != f"{scope['root_path']}/{self.get_path(scope)}":
            raise HTTPException(404)  # it has further slashes or dots
        # A part of so small a file is never needed: RFC 9110, section 14.2, lets Range be ignored.
        scope["headers"] = [header for header in scope["headers"] if header[0] != b"range"]
        await super().__call__(scope, receive, send)

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Make the response with a file, or 304 if the browser has it."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        return response

    async def index(self, request: Request) -> Response:
        """Serve the page itself."""
        return await self.get_response("index.html", request.scope)
