"""Reads the objects of a request's JSON: which members they have, and that none is repeated.

Members that the protocol does not know are refused, so that a misspelt one is not passed over;
one that is null counts as absent.
"""

import re
from typing import Any

import orjson

from mnist_sgd_serve.protocol.errors import RequestError, shown

__all__ = [
    "UNSUPPORTED",
    "flag",
    "json_object",
    "only",
    "parameters",
    "read_json",
    "refuse_repetition",
]

_OPENING = re.compile(rb"\A[ \t\r\n]*+([\[{])[ \t\r\n]++")

UNSUPPORTED = ("classification", "shared_memory_region")
"""Parameters that would change the answer in ways that are not built here."""


def read_json(text: bytes) -> Any:
    """Parse JSON.

    orjson takes JSON whose first bracket is followed by two blanks for indented, and reserves too
    little memory where it is not. Without these blanks it reads the same.

    Raises:
        orjson.JSONDecodeError: it cannot be read.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "allocate" not in str(error):
            raise
        return orjson.loads(_OPENING.sub(rb"\1", text, count=1))


def json_object(value: Any, what: str, members: frozenset[str]) -> dict[str, Any]:
    """Take a value that must be an object with no other than these members.

    Raises:
        RequestError: 400, it is something else; `what` names it.
    """
    if not isinstance(value, dict):
        raise RequestError(400, "bad_json", f"{what} must be a JSON object, got {shown(value)}")
    if not value.keys() <= members:
        unknown = min(value.keys() - members)
        raise RequestError(
            400,
            "unknown_member",
            f"{what} has no member {shown(unknown)}, it may have: {', '.join(sorted(members))}",
        )
    return value


def only(values: Any, kind: str, name: str, members: frozenset[str]) -> dict[str, Any]:
    """Take the one tensor of an array that must hold it and nothing else.

    Args:
        values: of the member `inputs` or `outputs`.
        kind: `input` or `output`.
        name: the tensor's.
        members: those that it may have.

    Raises:
        RequestError: 400, the array holds something else, or the tensor twice.
    """
    if not isinstance(values, list) or not values:
        raise RequestError(
            400,
            f"bad_{kind}s",
            f"{kind}s must be an array of one object, for {name!r}, got {shown(values)}",
        )
    for value in values:
        given = json_object(value, f"an {kind}", members).get("name")
        if given != name:
            raise RequestError(
                400,
                f"unknown_{kind}",
                f"{kind} {shown(given)} is unknown, the only one is {name!r}",
            )
    if len(values) > 1:
        raise RequestError(
            400, f"bad_{kind}s", f"{kind} {name!r} is given {len(values)} times, must be once"
        )
    tensor: dict[str, Any] = values[0]
    return tensor


def parameters(holder: dict[str, Any], what: str) -> dict[str, Any]:
    """Take the parameters of a request or a tensor; `what` names it.

    Raises:
        RequestError: 400, they are no object of strings, numbers and booleans.
    """
    values = holder.get("parameters")
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise RequestError(
            400, "bad_parameters", f"parameters of {what} must be an object, got {shown(values)}"
        )
    for name, value in values.items():
        if isinstance(value, (dict, list)):
            raise RequestError(
                400,
                "bad_parameters",
                f"parameter {shown(name)} of {what} must be a string, a number or a boolean, "
                f"got {shown(value)}",
            )
        if name in UNSUPPORTED:
            raise RequestError(
                400, "bad_parameters", f"parameter {name!r} of {what} is not supported"
            )
    return values


def flag(values: dict[str, Any], name: str) -> bool | None:
    """Read a boolean parameter; None if it is not there.

    Raises:
        RequestError: 400, it is no boolean.
    """
    value = values.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise RequestError(
        400, "bad_parameters", f"parameter {name!r} must be true or false, got {shown(value)}"
    )


def refuse_repetition(text: bytes, document: dict[str, Any]) -> None:
    r"""Refuse JSON in which an object has a member twice; the parser keeps the last one silently.

    Every member has a colon, so more colons in the text than in the document written anew mean
    that some are lost. Only who writes colons of strings as \u003a could hide a repetition, and
    gets the last one.

    Raises:
        RequestError: 400.
    """
    if text.count(b":") > orjson.dumps(document).count(b":"):
        raise RequestError(400, "bad_json", "the JSON has a member twice in one object")
