"""Which sites a request may come from: checks of Host and origin.

A web page anywhere can make its reader's browser send requests to a server that only the reader
can reach. Two checks keep such a page out. A page whose name was rebound to this server's address
(DNS rebinding) still names itself in Host, so a foreign Host is rejected. A page of another site
can send a POST without permission, so one that a browser marks as cross-origin is rejected.
Programs such as curl send neither mark, and are not affected.

An IP address cannot be rebound, and nobody on the internet can own a name without a dot or below
`PRIVATE_SUFFIXES`, so these hosts are allowed. A server bound to a loopback address cannot be
reached by any other address, so there the address must be a loopback one.

Sources: RFC 9110, section 7.2, for Host; RFC 6761 and 6762 for private names; the W3C's Fetch
Metadata for Sec-Fetch-Site.
"""

import ipaddress
import re
import socket
from functools import lru_cache
from typing import Protocol

from starlette.datastructures import Headers
from starlette.types import Scope

from mnist_sgd_serve.protocol import Kind, RequestError, quoted

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".svc")
"""Domains that are not in the public DNS; Kubernetes puts services below the last."""

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}

_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{0,5})?")


class SiteSettings(Protocol):
    """What decides on the names of a server; `Settings` has it."""

    @property
    def host(self) -> str:
        """The address that the server is bound to."""

    @property
    def allow_host(self) -> tuple[str, ...]:
        """Further names of the server, or patterns."""

    @property
    def cors(self) -> tuple[str, ...]:
        """Origins whose pages may use the server."""


class Site:
    """Decides whether a request's Host and origin are those of this server."""

    def __init__(self, settings: SiteSettings) -> None:
        self.cors = settings.cors
        self.local = _is_loopback(settings.host.lower())
        own = (settings.host, socket.gethostname(), *settings.allow_host)
        self.names = tuple(name.lower().strip("[]") for name in own)
        self.allows = lru_cache(maxsize=256)(self._allows)  # clients send few different ones

    def check(self, scope: Scope) -> None:
        """Check a request's Host and origin.

        Raises:
            RequestError: its Host is missing or foreign, or a page of another site sent it.
        """
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 and (hosts or scope["http_version"] == "1.1"):  # RFC 9112, section 3.2
            raise RequestError(f"the request must have one header Host, got {len(hosts)}")
        host = hosts[0] if hosts else ""
        if host and _AUTHORITY.fullmatch(host.lower()) is None:
            raise RequestError(f"the header Host must be a host, got {quoted(host)}")
        if host and not self.allows(host.encode("latin-1")):
            raise RequestError(
                f"the host {quoted(host)} is not a name of this server; start it with --allow-host "
                "NAME to allow another",
                Kind.FORBIDDEN,
            )
        if scope["method"] not in SAFE_METHODS and self._is_foreign(headers, host):
            raise foreign_page()

    def _allows(self, host: bytes) -> bool:
        """Whether a value of Host names this server; its port is ignored."""
        found = _AUTHORITY.fullmatch(host.decode("latin-1").lower())
        if found is None:
            return False
        name = found[1].strip("[]").removesuffix(".")
        if any(_fits(name, pattern) for pattern in self.names):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return "." not in name or name.endswith(PRIVATE_SUFFIXES)
        return not self.local or address.is_loopback

    def _is_foreign(self, headers: Headers, host: str) -> bool:
        """Whether a browser marks the request as sent by a page of another origin."""
        origin = headers.get("origin")
        if "*" in self.cors or origin in self.cors:
            return False
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site not in ("same-origin", "none")
        if origin is None:
            return False
        # Only the scheme's default port counts, as a proxy in front may speak TLS.
        scheme, _, authority = origin.lower().partition("://")
        port = _DEFAULT_PORTS.get(scheme, "")
        return authority.removesuffix(port) != host.lower().removesuffix(port)


def foreign_page() -> RequestError:
    """Make the error for a request that a page of another site has sent."""
    return RequestError(
        "a page of another site may not send this; start the server with --cors ORIGIN to allow "
        "one",
        Kind.FORBIDDEN,
    )


def _fits(name: str, pattern: str) -> bool:
    """Whether a name matches a pattern: a name, `*` for any, or `*.` and a domain."""
    return pattern in ("*", name) or (pattern.startswith("*.") and name.endswith(pattern[1:]))


def _is_loopback(bound: str) -> bool:
    if bound == "localhost":
        return True
    try:
        return ipaddress.ip_address(bound).is_loopback
    except ValueError:
        return False
