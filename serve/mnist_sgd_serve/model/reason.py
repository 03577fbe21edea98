"""The reason in an error's text: one printable line of bounded length.

ONNX Runtime puts a source location and a C++ signature before the reason, 300 characters and more.
They are dropped; of a text that is still too long, the middle is.
"""

import re

MAX_LENGTH = 300

_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : (\w+) : ")
_PLACE = re.compile(r"^\S+\.(?:cc|cpp|h|hpp):\d+ ")
_SIGNATURE = re.compile(r"^[\w:<>~*&, ]*\w\(")
"""Up to the first parenthesis, which follows the function's name without a space."""
_FUNCTION = re.compile(r"^\w+ ")


def one_line(error: object) -> str:
    """Shorten an error's text to one line of at most `MAX_LENGTH` printable characters.

    The middle is cut out: a text begins with its subject and ends with the reason.
    """
    text = " ".join(str(error).split())
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    if len(text) <= MAX_LENGTH:
        return text
    return f"{text[:80]} ... {text[-(MAX_LENGTH - 85) :]}"


def runtime_reason(error: Exception) -> str:
    """Shorten an error of ONNX Runtime to its name and reason, on one line as `one_line`."""
    text = " ".join(str(error).split())
    code = _CODE.match(text)
    text = text[code.end() :] if code else text
    place = _PLACE.match(text)
    if place:
        text = text[place.end() :]
        signature = _SIGNATURE.match(text)
        text = text[_closing(text, signature.end()) :] if signature else _FUNCTION.sub("", text)
    return one_line(f"{code[1]}: {text.lstrip()}" if code else text)


def _closing(text: str, start: int) -> int:
    """Find the end of the parentheses that are open before `start`; 0 if they stay open."""
    depth = 1
    for at in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0:
            return at + 1
    return 0
