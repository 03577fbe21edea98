"""An entry of the table of routes, which serves requests and describes itself."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

Json = dict[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """What is at a path.

    Attributes:
        method: GET, which includes HEAD, or POST.
        path: with parameters in braces.
        handler: makes the response.
        metric: one of `metrics.ROUTES`.
        operation: its description in the OpenAPI document.
        open: whether it needs no bearer token.
    """

    method: str
    path: str
    handler: Callable[[Request], Awaitable[Response]]
    metric: str
    operation: Json | None
    open: bool = False
