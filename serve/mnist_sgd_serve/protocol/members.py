"""Validates the objects of a request's JSON: known members, none of them twice.

Unknown members are rejected, so that a misspelt one is not ignored; null ones count as absent.
Every function raises a `RequestError` for what it rejects; `what` names the object in the message.
"""

import re
from typing import Any

import orjson

from mnist_sgd_serve.protocol.errors import RequestError, quoted

_OPENING = re.compile(rb"\A[ \t\r\n]*+([\[{])[ \t\r\n]++")

UNSUPPORTED = ("classification", "shared_memory_region")
"""Parameters of the protocol that are not implemented."""


def read_json(text: bytes) -> Any:
    """Parse JSON.

    orjson takes JSON whose first bracket is followed by two blanks for indented, and reserves too
    little memory if it is not. Then it is parsed without these blanks.

    Raises:
        orjson.JSONDecodeError: it is invalid.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "allocate" not in str(error):
            raise
        return orjson.loads(_OPENING.sub(rb"\1", text, count=1))


def json_object(value: Any, what: str, members: frozenset[str]) -> dict[str, Any]:
    """Check that a value is an object with no other than these members."""
    if not isinstance(value, dict):
        raise RequestError(f"{what} must be a JSON object, got {quoted(value)}")
    unknown = [name for name in value.keys() - members if value[name] is not None]
    if unknown:
        raise RequestError(
            f"{what} has no member {quoted(min(unknown))}, "
            f"it may have: {', '.join(sorted(members))}"
        )
    return value


def single_tensor(values: Any, kind: str, name: str, members: frozenset[str]) -> dict[str, Any]:
    """Return the only tensor of an array.

    Args:
        values: of the member `inputs` or `outputs`.
        kind: `input` or `output`.
        name: the tensor's.
        members: the allowed ones.
    """
    if not isinstance(values, list) or not values:
        raise RequestError(
            f"{kind}s must be an array of one object, for {name!r}, got {quoted(values)}"
        )
    for value in values:
        given = json_object(value, f"an {kind}", members).get("name")
        if given != name:
            raise RequestError(f"{kind} {quoted(given)} is unknown, the only one is {name!r}")
    if len(values) > 1:
        raise RequestError(f"{kind} {name!r} is given {len(values)} times, must be once")
    tensor: dict[str, Any] = values[0]
    return tensor


def parameters(holder: dict[str, Any], what: str) -> dict[str, Any]:
    """Return the parameters of a request or a tensor: strings, numbers and booleans."""
    values = holder.get("parameters")
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise RequestError(f"parameters of {what} must be an object, got {quoted(values)}")
    for name, value in values.items():
        if isinstance(value, (dict, list)):
            raise RequestError(
                f"parameter {quoted(name)} of {what} must be a string, a number or a boolean, "
                f"got {quoted(value)}"
            )
        if name in UNSUPPORTED and value:  # 0 classes are none
            raise RequestError(f"parameter {name!r} of {what} is not supported")
    return values


def bool_parameter(values: dict[str, Any], name: str) -> bool | None:
    """Return a boolean parameter; None if it is absent."""
    value = values.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise RequestError(f"parameter {name!r} must be true or false, got {quoted(value)}")


def reject_duplicate_keys(text: bytes, document: dict[str, Any]) -> None:
    r"""Reject JSON in which an object has a member twice, of which the parser keeps the last.

    Every member has a colon, so more colons in the text than in the re-encoded document mean that
    some were lost. Only a client that escapes the colons of strings could hide a duplicate, and
    gets the last one.
    """
    if text.count(b":") > orjson.dumps(document).count(b":"):
        raise RequestError("the JSON has a member twice in one object")
