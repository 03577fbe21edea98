"""The page's files, read once at the start and sent with strict security headers.

The Content-Security-Policy allows what comes from this server and nothing else. An entity tag, a
digest of the content, lets browsers revalidate their copy.
"""

import hashlib
from pathlib import Path

from mnist_sgd_serve.http.messages import Handler, Request, Response

POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

FOLDER = Path(__file__).parents[1] / "page"

FILES = {
    b"/": ("index.html", b"text/html; charset=utf-8"),
    b"/page/theme.css": ("theme.css", b"text/css; charset=utf-8"),
    b"/page/page.css": ("page.css", b"text/css; charset=utf-8"),
    b"/page/page.js": ("page.js", b"text/javascript; charset=utf-8"),
    b"/page/pad.js": ("pad.js", b"text/javascript; charset=utf-8"),
    b"/page/answer.js": ("answer.js", b"text/javascript; charset=utf-8"),
    b"/page/camera.js": ("camera.js", b"text/javascript; charset=utf-8"),
    b"/page/server.js": ("server.js", b"text/javascript; charset=utf-8"),
    b"/page/icon.svg": ("icon.svg", b"image/svg+xml"),
}


def _file_handler(name: str, content_type: bytes) -> Handler:
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
    whole, not_modified = Response(content, headers), Response(b"", headers, 304)

    async def handler(request: Request) -> Response:
        return not_modified if request.headers.get(b"if-none-match") == tag else whole

    return handler


STATIC_FILES: dict[bytes, Handler] = {path: _file_handler(*file) for path, file in FILES.items()}
"""The handler of each file, by path."""
