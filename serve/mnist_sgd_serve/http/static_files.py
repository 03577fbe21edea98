"""The files of the page, read once at the start and sent with what browsers ask of a careful page.

The Content-Security-Policy allows what comes from this server and nothing else. An entity tag, the
digest of the content, lets a browser keep a file and ask whether it is still the same.
"""

import hashlib
from pathlib import Path

from mnist_sgd_serve.http.exchange import Answer, Exchange, Handler

__all__ = ["PAGES"]

POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

FOLDER = Path(__file__).parents[1] / "page"

FILES = {
    b"/": ("index.html", b"text/html; charset=utf-8"),
    b"/page/page.css": ("page.css", b"text/css; charset=utf-8"),
    b"/page/page.js": ("page.js", b"text/javascript; charset=utf-8"),
    b"/page/icon.svg": ("icon.svg", b"image/svg+xml"),
}


def _page(name: str, content_type: bytes) -> Handler:
    content = (FOLDER / name).read_bytes()
    tag = b'"%s"' % hashlib.sha256(content).hexdigest()[:16].encode()
    headers = [
        (b"content-type", content_type),
        (b"content-security-policy", POLICY),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-cache"),
        (b"etag", tag),
    ]
    whole, same = Answer(content, headers), Answer(b"", headers, 304)

    async def handler(exchange: Exchange) -> Answer:
        return same if exchange.head.get(b"if-none-match") == tag else whole

    return handler


PAGES: dict[bytes, Handler] = {path: _page(*file) for path, file in FILES.items()}
"""A handler for the path of each file."""
