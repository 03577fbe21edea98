"""What a client did wrong, in one sentence for the client and one word for the metrics."""

import json

import orjson

__all__ = ["RequestError", "error_body", "shown"]

_MAX_SHOWN = 64


class RequestError(ValueError):
    """A request that is refused; its message is for the client.

    Attributes:
        status: the HTTP status.
        reason: a short slug to count by. It comes from this code, never from the request.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


def error_body(message: str) -> bytes:
    """Write the body of an answer that is not 2xx."""
    return orjson.dumps({"error": message})


def shown(value: object) -> str:
    """Show in a message what a client gave: printable, on one line, at most 64 characters.

    Strings are quoted; of an array only the first 6 elements are shown, and none of its arrays.

    Args:
        value: a string, or anything else that was read from JSON.
    """
    if isinstance(value, list):
        elements = [_element(element) for element in value[:6]] + ["..."] * (len(value) > 6)
        text = f"[{', '.join(elements)}]"
    else:
        text = _element(value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


def _element(value: object) -> str:
    if isinstance(value, str):
        return repr(value[:_MAX_SHOWN])
    if isinstance(value, (list, dict)):
        return "[...]" if isinstance(value, list) else "{...}"
    return json.dumps(value)
