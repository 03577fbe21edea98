"""The OpenAPI document as plain HTML without a script."""

from html import escape
from typing import Any

import orjson

Json = dict[str, Any]

_METHODS = ("get", "post")


def render_html(document: Json, address: str) -> bytes:
    """Render a document of `openapi` as HTML, with commands for a server at `address`.

    Each operation is a section with its parameters, request body and responses. The schemas
    follow as JSON; references link to them.
    """
    info = document["info"]
    operations = [
        _operation(method, path, item[method], item.get("parameters", []), address)
        for path, item in document["paths"].items()
        for method in _METHODS
        if method in item
    ]
    schemas = [_schema(*named) for named in document["components"]["schemas"].items()]
    title = escape(info["title"])
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}: API</title>",
            '<link rel="stylesheet" href="page/theme.css">',
            '<link rel="stylesheet" href="page/docs.css">',
            f"<h1>{title} {escape(info['version'])}: API</h1>",
            f"<p>{escape(info['description'])} "
            '<a href="openapi.json">OpenAPI document</a>, <a href=".">page</a>.</p>',
            *operations,
            "<h2>Schemas</h2>",
            *schemas,
            "</html>\n",
        ]
    ).encode()


def _operation(method: str, path: str, operation: Json, shared: list[Json], address: str) -> str:
    lines = [
        f"<h2><code>{method.upper()} {escape(path)}</code></h2>",
        f"<p>{escape(operation['summary'])}</p>",
        f"<pre>{escape(_command(method, path, operation, shared, address))}</pre>",
    ]
    if "description" in operation:
        lines.append(f"<p>{escape(operation['description'])}</p>")
    rows = [
        _row(f"{one['in']}: {one['name']}", one.get("description", ""), one["schema"])
        for one in [*shared, *operation.get("parameters", [])]
    ]
    rows += _contents("body", "", operation.get("requestBody", {}).get("content", {}))
    for status, response in operation["responses"].items():
        rows += _contents(status, response["description"], response["content"])
    return "\n".join([*lines, "<table>", *rows, "</table>"])


def _contents(name: str, text: str, content: Json) -> list[str]:
    """Render a row for each schema, with the content types that have it."""
    kinds: dict[str, list[str]] = {}
    for kind, media in content.items():
        kinds.setdefault(_schema_cell(media["schema"]), []).append(kind)
    return [
        f"<tr><th>{escape(name)}</th><td>{escape(text)} {escape(', '.join(given))}</td>"
        f"<td>{cell}</td></tr>"
        for cell, given in kinds.items()
    ]


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
            words.append("--data-binary @three.png")
        elif "application/octet-stream" in kinds:
            words.append('-H "Inference-Header-Content-Length: 0" --data-binary @images.bytes')
        else:
            words.append("-d '{}'")
    return " ".join([*words, f"{address}{path}"])


def _row(name: str, text: str, schema: Json) -> str:
    return f"<tr><th>{escape(name)}</th><td>{escape(text)}</td><td>{_schema_cell(schema)}</td></tr>"


def _schema_cell(schema: Json) -> str:
    """Render a schema on one line, or a link to it."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    return f"<code>{escape(orjson.dumps(schema).decode())}</code>"


def _schema(name: str, schema: Json) -> str:
    text = orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode()
    return f'<h3 id="{escape(name)}">{escape(name)}</h3>\n<pre>{escape(text)}</pre>'
