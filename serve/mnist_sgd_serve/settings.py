"""What can be set of a server, with its limits and their reasons."""

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Settings"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TOKEN = re.compile(r"[!-~]+")
_ORIGIN = re.compile(r"\*|https?://[A-Za-z0-9.:\[\]_-]+")

_HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9][A-Za-z0-9._-]*|\[?[0-9A-Fa-f.]*(:[0-9A-Fa-f.]*){2,}\]?")

_SECONDS = (0.001, 86_400)
_COUNT = (1, 2**31)

_RANGES: dict[str, tuple[float, float]] = {
    "port": (0, 65_535),
    "grpc_port": (0, 65_535),
    "workers": (1, 256),
    "max_body": _COUNT,
    "max_rows": _COUNT,
    "max_images": _COUNT,
    "max_waiting": _COUNT,
    "deadline": _SECONDS,
    "head_seconds": _SECONDS,
    "body_seconds": _SECONDS,
    "idle_seconds": _SECONDS,
    "write_seconds": _SECONDS,
    "drain_seconds": (0, 86_400),
    "decoders": (1, 256),
    "decode_seconds": _SECONDS,
    "decode_memory": (2**20, 2**40),
    "max_pixels": _COUNT,
    "hang_seconds": (1, 86_400),
    "watch_seconds": _SECONDS,
    "poll_seconds": (0, 0.01),
}
"""The least and the largest value of each number."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a server is to run.

    Attributes:
        model: the artifact's file.
        name: of the model in URLs.
        host: the address to bind; loopback unless told.
        port: 0 takes any free one.
        grpc_port: the port of the gRPC side; None leaves it off.
        workers: processes that share the port.
        token: a bearer token that every request must bring, but for health checks and the page's
            files; None asks none.
        allow_host: more names that a request's Host may have: a name or an address, `*.` and a
            domain, or `*` for any. See `site` for those that are allowed always.
        cors: an origin whose pages may call the server; None allows no other origin.
        access_log: whether each request is logged; failures and events always are.
        max_body: bytes of a request's body, unpacked; 16 MiB hold 20,000 images or a large photo.
        max_rows: images in one request.
        max_images: in one run of the model: larger batches gain little and hold up others.
        max_waiting: images that may wait, and as many in requests of more than `max_images`; more
            are refused with 503.
        deadline: seconds that a request may wait for its run, and a picture until it is read; then
            it is answered 504.
        head_seconds: for the head of a request to arrive, then the connection is closed with 408.
        body_seconds: the same for its body.
        idle_seconds: that an unused connection is kept.
        write_seconds: for a client that has stopped reading to go on.
        decoders: pictures that are read at the same time, each by a process of its own.
        decode_seconds: of processor time that a picture may take to read; then it is refused.
        decode_memory: bytes that a picture may take to read.
        max_pixels: width times height of a picture.
        drain_seconds: between "not ready" and the end of listening, for balancers to notice.
        hang_seconds: after which one of several workers is replaced whose event loop stands still.
        watch_seconds: between two looks at the model's file.
        poll_seconds: for which a worker looks for the next request, after one that came alone,
            before it sleeps; it uses the processor meanwhile, and 0 lets it sleep at once.
    """

    model: Path
    name: str = "mnist_sgd"
    host: str = "127.0.0.1"
    port: int = 8000
    grpc_port: int | None = None
    workers: int = 1
    token: str | None = None
    allow_host: tuple[str, ...] = ()
    cors: str | None = None
    access_log: bool = False
    max_body: int = 16 * 2**20
    max_rows: int = 16_384
    max_images: int = 256
    max_waiting: int = 16_384
    deadline: float = 2.0
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 75.0
    write_seconds: float = 30.0
    decoders: int = 2
    decode_seconds: float = 0.7
    decode_memory: int = 112 * 2**20
    max_pixels: int = 25_000_000
    drain_seconds: float = 0.5
    hang_seconds: float = 10.0
    watch_seconds: float = 1.0
    poll_seconds: float = 0.0001

    def __post_init__(self) -> None:
        """Check every range.

        Raises:
            ValueError: a setting is out of its range; the sentence says which, and the range.
        """
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                "name must be up to 100 letters, digits, '.', '_' and '-', beginning with a "
                f"letter or a digit, not {self.name!r}"
            )
        if not self.host:
            raise ValueError("host must be an address or a name, such as 127.0.0.1, not empty")
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise ValueError(
                "token must be visible ASCII characters without spaces, at least one; to ask for "
                "no token, leave out --token and unset MNIST_SGD_TOKEN"
            )
        for host in self.allow_host:
            if not _HOST.fullmatch(host):
                raise ValueError(
                    "allow_host must be a name or an address without a port, such as "
                    f"digits.example.org, *.example.org, or * for any, not {host!r}"
                )
        if self.cors is not None and not _ORIGIN.fullmatch(self.cors):
            raise ValueError(
                f"cors must be * or an origin such as https://example.org, not {self.cors!r}"
            )
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:  # no number is outside too
                raise ValueError(f"{name} must be {least} to {most}, not {value}")
