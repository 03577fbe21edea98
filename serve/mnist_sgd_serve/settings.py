"""The settings of a server: their defaults, ranges, and what `--help` says of them."""

import ipaddress
import re
from dataclasses import Field, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TOKEN = re.compile(r"[!-~]+")
_ORIGIN = re.compile(r"\*|https?://[A-Za-z0-9.:\[\]_-]+")
_HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9][A-Za-z0-9._-]*|\[?[0-9A-Fa-f.]*(:[0-9A-Fa-f.]*){2,}\]?")

_ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+/?")

Bounds = tuple[float, float]

GROUPS = ("model", "address", "security", "processes", "logs", "limits", "timeouts")
"""The groups of options, in the order of the help."""

UNITS = ("SECONDS", "BYTES", "PIXELS")
"""Metavars that are units."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """How a setting is given on the command line.

    Attributes:
        help: one phrase.
        metavar: of its value; None for a flag.
        group: one of `GROUPS`.
        bounds: the least and the largest value of a number.
        choices: the words that are allowed.
        earlier: the setting's name in an earlier version, whose option still works.
    """

    help: str
    metavar: str | None
    group: str
    bounds: Bounds | None
    earlier: str | None
    choices: tuple[str, ...] | None

    @property
    def allowed(self) -> str:
        """The range of a number, in words."""
        assert self.bounds is not None
        least, most = self.bounds
        kind = "a number" if self.metavar == "SECONDS" else "a whole number"
        unit = f" of {self.metavar.lower()}" if self.metavar in UNITS else ""
        return f"{kind}{unit} from {least} to {most}"


class SettingError(ValueError):
    """A setting is out of its range.

    Attributes:
        setting: its name.
        reason: what is allowed, and what was given.
    """

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(f"{setting} {reason}")
        self.setting = setting
        self.reason = reason


def _setting(
    group: str,
    default: Any,
    metavar: str | None,
    text: str,
    bounds: Bounds | None = None,
    earlier: str | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    option = Option(
        help=text, metavar=metavar, group=group, bounds=bounds, earlier=earlier, choices=choices
    )
    return field(default=default, metadata={"option": option})


_model = partial(_setting, "model")
_address = partial(_setting, "address")
_security = partial(_setting, "security")
_process = partial(_setting, "processes")
_log = partial(_setting, "logs")
_limit = partial(_setting, "limits", bounds=(1, 2**31))


def _timeout(
    default: float, text: str, earlier: str | None = None, bounds: Bounds = (0.001, 86_400)
) -> Any:
    return _setting("timeouts", default, "SECONDS", text, bounds, earlier)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to run a server; `model` is the artifact's file, the rest is in `OPTIONS`."""

    model: Path
    name: str = _model("mnist_sgd", "NAME", "the model's name in URLs")
    host: str = _address("127.0.0.1", "ADDRESS", "the address to listen on")
    port: int = _address(8000, "PORT", "the port to listen on; 0 takes any free one", (0, 65_535))
    grpc_port: int | None = _address(
        None, "PORT", "serve gRPC too; needs the extra grpc; 0 takes any free port", (0, 65_535)
    )
    workers: int = _process(1, "N", "start this many processes that share the port", (1, 256))
    token: str | None = _security(
        None, "TOKEN", "require this bearer token, except for health checks and the page's files"
    )
    allow_host: tuple[str, ...] = _security(
        (),
        "HOST",
        "accept this name in Host headers; *.DOMAIN means all of a domain, * any; repeatable",
    )
    cors: tuple[str, ...] = _security(
        (), "ORIGIN", "allow pages of this origin, or of any with *, to call the server; repeatable"
    )
    unix_socket: str | None = _address(
        None, "FILE", "listen on this Unix socket instead of an address and a port"
    )
    unix_socket_mode: str | None = _address(
        None, "MODE", "permissions of the Unix socket, such as 660 (default: by the umask)"
    )
    tls_cert: str | None = _security(
        None, "FILE", "serve HTTPS with this certificate chain, in PEM format"
    )
    tls_key: str | None = _security(
        None, "FILE", "the certificate's private key, if it is in another file"
    )
    root_path: str = _address("", "PATH", "the path under which a proxy serves this server")
    trusted_proxy: tuple[str, ...] = _security(
        (),
        "ADDRESS",
        "trust the X-Forwarded headers of this address or network; * means any, unix the Unix "
        "socket; repeatable",
    )
    open: bool = _address(False, None, "open the page in the browser")
    log: str | None = _log(
        None,
        "FORMAT",
        "json or text (default: text on a terminal, else json)",
        choices=("json", "text"),
    )
    access_log: bool = _log(False, None, "log every request, not only failures")
    max_body: int = _limit(16 * 2**20, "BYTES", "largest request body after decompression")
    max_request_images: int = _limit(16_384, "N", "most images in a request", earlier="max_rows")
    max_batch_size: int = _limit(
        256,
        "N",
        "most images that the model is run on at once; larger requests are split",
        earlier="max_images",
    )
    max_queue_size: int = _limit(
        16_384,
        "N",
        "most images that may wait; as many more may wait in requests that are split",
        earlier="max_waiting",
    )
    decoders: int = _process(2, "N", "decode this many pictures at the same time", (1, 256))
    decode_memory: int = _limit(
        112 * 2**20, "BYTES", "most memory for decoding a picture", bounds=(2**20, 2**40)
    )
    max_pixels: int = _limit(25_000_000, "PIXELS", "largest picture, width times height")
    queue_timeout: float = _timeout(
        2.0,
        "reject requests that have waited this long for the model, and pictures for a decoder",
        "deadline",
    )
    decode_seconds: float = _timeout(
        0.7, "reject a picture that takes more processor time than this to decode"
    )
    header_timeout: float = _timeout(
        10.0, "close connections whose request headers arrive more slowly", "head_seconds"
    )
    body_timeout: float = _timeout(
        30.0, "close connections whose request body arrives more slowly", "body_seconds"
    )
    keep_alive_timeout: float = _timeout(
        75.0, "close unused connections after this time", "idle_seconds"
    )
    write_timeout: float = _timeout(
        30.0, "close connections whose client does not read for this time", "write_seconds"
    )
    shutdown_delay: float = _timeout(
        0.5,
        "keep listening for this time after SIGTERM, so that a load balancer can notice",
        "drain_seconds",
        (0, 86_400),
    )
    worker_timeout: float = _timeout(
        10.0, "replace a worker, of several, that hangs for this time", "hang_seconds", (1, 86_400)
    )
    reload_interval: float = _timeout(
        1.0, "check the model file for changes this often", "watch_seconds"
    )
    busy_poll: float = _timeout(
        0.0001,
        "busy-poll for this time after a single request; 0 turns it off",
        "poll_seconds",
        (0, 0.01),
    )

    def __post_init__(self) -> None:
        """Check every range.

        Raises:
            SettingError: a setting is out of its range; the message says which, and the range.
        """
        if not _NAME.fullmatch(self.name):
            raise SettingError(
                "name",
                "must be up to 100 letters, digits, '.', '_' and '-', beginning with a letter or "
                f"a digit, got {self.name!r}",
            )
        if not self.host:
            raise SettingError("host", "must be an address or a name such as 127.0.0.1, got ''")
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise SettingError(
                "token",
                "must be visible ASCII characters without spaces, at least one; to ask for no "
                "token, leave out --token and unset MNIST_SGD_TOKEN",
            )
        for host in self.allow_host:
            if not _HOST.fullmatch(host):
                raise SettingError(
                    "allow_host",
                    "must be a name or an address without a port, such as digits.example.org, "
                    f"*.example.org, or * for any, got {host!r}",
                )
        for origin in self.cors:
            if not _ORIGIN.fullmatch(origin):
                raise SettingError(
                    "cors", f"must be * or an origin such as https://example.org, got {origin!r}"
                )
        for name in ("unix_socket", "tls_cert", "tls_key"):
            if getattr(self, name) == "":
                raise SettingError(name, "must name a file, got ''")
        if self.open and self.unix_socket is not None:
            raise SettingError("open", "needs an address: leave out --unix-socket")
        if self.unix_socket_mode is not None:
            if not re.fullmatch("0?[0-7]{3}", self.unix_socket_mode):
                raise SettingError(
                    "unix_socket_mode",
                    f"must be three digits from 0 to 7, such as 660, got {self.unix_socket_mode!r}",
                )
            if self.unix_socket is None:
                raise SettingError("unix_socket_mode", "needs --unix-socket FILE")
        if self.tls_key is not None and self.tls_cert is None:
            raise SettingError("tls_key", "needs a certificate too: give it with --tls-cert FILE")
        if self.root_path and not _ROOT_PATH.fullmatch(self.root_path):
            raise SettingError(
                "root_path", f"must be a path such as /digits, got {self.root_path!r}"
            )
        for proxy in self.trusted_proxy:
            _check_proxy(proxy)
        for name, option in OPTIONS.items():
            _check_option(name, option, getattr(self, name))


def _check_option(name: str, option: Option, value: Any) -> None:
    """Check a number's range, or a word's choices."""
    if value is None:
        return
    if option.choices is not None and value not in option.choices:
        raise SettingError(name, f"must be one of {', '.join(option.choices)}, got {value!r}")
    if option.bounds is not None:
        least, most = option.bounds
        if not least <= value <= most:  # NaN is outside too
            raise SettingError(name, f"must be {option.allowed}, got {value}")


def _check_proxy(text: str) -> None:
    if text in ("*", "unix"):
        return
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise SettingError(
            "trusted_proxy",
            f"must be an IP address, a network such as 10.0.0.0/8, *, or unix, got {text!r}",
        ) from error


def _option(setting: "Field[Any]") -> Option:
    option: Option = setting.metadata["option"]
    return option


OPTIONS = {one.name: _option(one) for one in fields(Settings) if one.metadata}
"""The option of every setting but the model."""
