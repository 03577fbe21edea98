"""Why a request gets no answer: one error for all protocols, with a sentence for the client."""

import json
from enum import StrEnum

import orjson


class Kind(StrEnum):
    """What went wrong; HTTP and gRPC each have a table from it to their own status."""

    BAD_REQUEST = "bad_request"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    NOT_OFFERED = "not_offered"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    SLOW_CLIENT = "slow_client"
    TOO_LARGE = "too_large"
    DECOMPRESSED_TOO_LARGE = "decompressed_too_large"
    UNSUPPORTED = "unsupported"
    NO_INK = "no_ink"
    CLIENT_DISCONNECTED = "client_disconnected"
    FAILED = "failed"
    UNKNOWN_CODING = "unknown_coding"
    OVERLOADED = "overloaded"
    SHUTTING_DOWN = "shutting_down"
    TIMEOUT = "timeout"


class RequestError(Exception):
    """A request that is rejected; its message is for the client.

    Attributes:
        kind: why.
    """

    def __init__(self, message: str, kind: Kind = Kind.BAD_REQUEST) -> None:
        super().__init__(message)
        self.kind = kind


class QueueFull(RequestError):  # noqa: N818  (it says all without "Error")
    """There is no room for one more request."""

    def __init__(self) -> None:
        super().__init__("too many images are waiting, try again soon", Kind.OVERLOADED)


class DeadlineExceeded(RequestError):  # noqa: N818  (as above)
    """The request waited in the queue longer than it may."""

    def __init__(self) -> None:
        super().__init__("the request waited too long for its turn", Kind.TIMEOUT)


class ClientDisconnected(RequestError):  # noqa: N818  (as above)
    """The client left before its answer."""

    def __init__(self) -> None:
        super().__init__("the client has left", Kind.CLIENT_DISCONNECTED)


def describe(error: Exception) -> tuple[Kind, str]:
    """The kind of an exception and the message for the client, without internal details."""
    if isinstance(error, RequestError):
        return error.kind, str(error)
    return Kind.FAILED, "the server failed to answer; its log says why"


def error_body(message: str) -> bytes:
    """Encode the JSON body of an error response."""
    return orjson.dumps({"error": message})


_MAX_QUOTED = 64


def quoted(value: object) -> str:
    """Quote a client's value in a message: printable, on one line, at most 64 characters.

    Strings are in quotes; an array shows its first 6 elements, and none of its inner arrays.

    Args:
        value: a string, or any other JSON value.
    """
    if isinstance(value, list):
        elements = [_element(element) for element in value[:6]] + ["..."] * (len(value) > 6)
        text = f"[{', '.join(elements)}]"
    else:
        text = _element(value)
    return text if len(text) <= _MAX_QUOTED else text[: _MAX_QUOTED - 3] + "..."


def _element(value: object) -> str:
    if isinstance(value, str):
        return repr(value[:_MAX_QUOTED])
    if isinstance(value, (list, dict)):
        return "[...]" if isinstance(value, list) else "{...}"
    return json.dumps(value)
