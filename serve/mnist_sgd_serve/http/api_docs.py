"""The OpenAPI document as plain HTML without a script."""

import re
from collections.abc import Iterator
from html import escape
from typing import Any

import orjson

Json = dict[str, Any]

_METHODS = ("get", "post")
_CODE = re.compile("`(.*?)`")
_HEAD = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: API reference</title>
<link rel="stylesheet" href="page/theme.css">
<link rel="stylesheet" href="page/docs.css">
<h1>API reference</h1>
<p>{title} {version}. {description}</p>
<p><a href=".">Try it on the page</a>, or download the
<a href="openapi.json">OpenAPI document</a>.</p>"""


def render_html(document: Json, address: str) -> bytes:
    """Render a document of `openapi` as HTML, with commands for a server at `address`.

    A list of the operations comes first. Each is a section with a command, its parameters, bodies
    and responses. The schemas follow as JSON; references link to them.
    """
    info = {key: escape(document["info"][key]) for key in ("title", "version", "description")}
    operations = [
        (method, path, item[method], item.get("parameters", []))
        for path, item in document["paths"].items()
        for method in _METHODS
        if method in item
    ]
    lines = [
        _HEAD.format(**info),
        "<nav><ul>",
        *(_entry(method, path, operation) for method, path, operation, _ in operations),
        "</ul></nav>",
        *(line for each in operations for line in _operation(*each, address)),
        "<h2>Schemas</h2>",
        *(_schema(*named) for named in document["components"]["schemas"].items()),
        "</html>\n",
    ]
    return "\n".join(lines).encode()


def _title(method: str, path: str) -> str:
    return f"{method.upper()} {path}"


def _anchor(method: str, path: str) -> str:
    return escape(f"{method}{path}".replace("{", "").replace("}", ""))


def _entry(method: str, path: str, operation: Json) -> str:
    return (
        f'<li><a href="#{_anchor(method, path)}"><code>{escape(_title(method, path))}</code></a> '
        f"{escape(operation['summary'])}"
    )


def _operation(
    method: str, path: str, operation: Json, shared: list[Json], address: str
) -> Iterator[str]:
    title = escape(_title(method, path))
    yield f'<h2 id="{_anchor(method, path)}"><code>{title}</code></h2>'
    yield f"<p>{escape(operation['summary'])}</p>"
    yield f"<pre>{escape(_command(method, path, operation, shared, address))}</pre>"
    if "description" in operation:
        text = _CODE.sub(r"<code>\1</code>", escape(operation["description"]))
        yield f"<p>{text}</p>"
    rows = [
        (f"{one['name']} ({one['in']})", _type(one["schema"]), one.get("description", ""))
        for one in [*shared, *operation.get("parameters", [])]
    ]
    rows += _contents("Body", operation.get("requestBody", {}).get("content", {}))
    succeeded = operation["responses"]["200"]
    rows += _contents("Response", succeeded["content"])
    rows += [
        (f"Response header {name}", _type(header["schema"]), header["description"])
        for name, header in succeeded.get("headers", {}).items()
    ]
    yield from _table(rows)
    failures = [
        (status, *row[1:])
        for status, response in operation["responses"].items()
        if status != "200"
        for row in _contents("", response["content"], response["description"])
    ]
    yield "<details><summary>Errors</summary>"
    yield from _table(failures)
    yield "</details>"


def _contents(name: str, content: Json, text: str = "") -> list[tuple[str, str, str]]:
    """A row for each schema, with the content types that have it if there is no other text."""
    kinds: dict[str, list[str]] = {}
    for kind, media in content.items():
        kinds.setdefault(_type(media["schema"]), []).append(kind)
    return [(name, cell, text or ", ".join(given)) for cell, given in kinds.items()]


def _table(rows: list[tuple[str, str, str]]) -> Iterator[str]:
    """A table of names, types as HTML, and descriptions."""
    yield "<table>"
    for name, cell, text in rows:
        yield f"<tr><th>{escape(name)}</th><td>{cell}</td><td>{escape(text)}</td></tr>"
    yield "</table>"


def _command(method: str, path: str, operation: Json, shared: list[Json], address: str) -> str:
    """A curl command that calls an operation."""
    for parameter in shared:
        value = parameter["schema"].get("const", parameter["name"].upper())
        path = path.replace(f"{{{parameter['name']}}}", value)
    words = ["curl"]
    if "security" in operation:
        words.append('-H "Authorization: Bearer $TOKEN"')
    if method == "post":
        kinds = operation["requestBody"]["content"]
        if "image/png" in kinds:
            words.append("--data-binary @picture.png")
        elif "application/octet-stream" in kinds:
            words.append('-H "Inference-Header-Content-Length: 0" --data-binary @images.bytes')
        else:
            words.append("-d '{}'")
    return " ".join([*words, f"{address}{path}"])


def _type(schema: Json) -> str:
    """What values a schema allows, in a few words of HTML; a reference becomes a link."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if schema.get("format") == "binary":
        return "bytes"
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in values)
    if "properties" in schema:
        return "; ".join(
            f"<code>{escape(n)}</code>: {_type(s)}" for n, s in schema["properties"].items()
        )
    if schema["type"] == "array":
        return f"array of {_type(schema['items'])}"
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return escape(" or ".join(kinds))


def _schema(name: str, schema: Json) -> str:
    text = orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode()
    title = escape(name)  # a link to what is inside opens it
    return f'<details><summary>{title}</summary><pre id="{title}">{escape(text)}</pre></details>'
