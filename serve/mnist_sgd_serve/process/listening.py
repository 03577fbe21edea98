"""Listens, and stops listening without losing a connection.

The kernel completes connections to a listening socket and queues them until they are accepted.
Those still queued when the socket is closed are reset, with the requests sent on them. So new ones
are rejected first, while the socket stays open; then all queued ones are accepted; then the socket
is closed.

Sources: listen(2); Linux' networking/filter.rst for the socket filter; RFC 9293, section 3.1.
"""

import asyncio
import ctypes
import errno
import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from mnist_sgd_serve.settings import Settings

_BOUND: dict[str, int] = {}
"""The inodes of the paths of the Unix sockets that this process has bound or inherited."""

SETTLE_SECONDS = 0.1
"""For started handshakes to complete, after new ones are rejected."""

MAX_SECONDS = 2.0
"""After which listening ends even if connections are still queued."""

_SO_ATTACH_FILTER = 26
_DROP_SYN = (
    (0x30, 0, 0, 13),  # load the byte of the TCP header with the flags
    (0x45, 0, 1, 0x02),  # is SYN among them?
    (0x06, 0, 0, 0),  # then drop the segment
    (0x06, 0, 0, 0x40000),  # else keep it
)


def bind(settings: Settings, option: str = "--port") -> socket.socket:
    """Bind a socket to the address, or the path, of the settings.

    Args:
        settings: of the server.
        option: the one that chooses the port, for the message.

    Raises:
        OSError: it is in use or cannot be bound; the message names it.
    """
    if settings.unix_socket is not None:
        return _bind_unix(Path(settings.unix_socket), settings.unix_socket_mode)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise _cannot(_address(settings.host, settings.port), error, option) from error
    listener.setblocking(False)
    return listener


def _bind_unix(path: Path, mode: str | None) -> socket.socket:
    """Bind a Unix socket, in the place of one that a dead server has left.

    Nobody connects to it before it listens, so it may have its permissions a little later.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and not path.is_socket():
            raise FileExistsError(errno.EEXIST, "there is a file that is no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(os.fspath(path))
            except (FileNotFoundError, ConnectionRefusedError):
                path.unlink(missing_ok=True)
            else:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        listener.bind(os.fspath(path))
        if mode is not None:
            path.chmod(int(mode, 8))
    except OSError as error:
        listener.close()
        raise _cannot(os.fspath(path), error) from error
    _BOUND[os.fspath(path)] = path.stat().st_ino
    listener.setblocking(False)
    return listener


def listen(listener: socket.socket) -> None:
    """Listen, as uvicorn would, but with an error that names the address.

    Raises:
        OSError: another server that started at the same time was faster, or has taken the path of
            this Unix socket for one that a dead server has left.
    """
    try:
        listener.listen()
        if listener.family == socket.AF_UNIX and not _has_path(listener):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    except OSError as error:
        unix = listener.family == socket.AF_UNIX
        name = listener.getsockname()
        raise _cannot(
            name if unix else _address(*name[:2]), error, "" if unix else "--port"
        ) from error


def inode(listener: socket.socket) -> int:
    """The inode of the path of a Unix socket; 0 for other sockets."""
    return _BOUND.get(listener.getsockname(), 0) if listener.family == socket.AF_UNIX else 0


def inherit(listener: socket.socket, number: int) -> None:
    """Take over a socket that another process has bound, with the `inode` of its path."""
    if number:
        _BOUND[listener.getsockname()] = number


def _has_path(listener: socket.socket) -> bool:
    """Whether the path of a Unix socket still leads to it."""
    path = listener.getsockname()
    with suppress(OSError):
        return os.stat(path).st_ino == _BOUND.get(path)
    return False


def url(listener: socket.socket, settings: Settings) -> str:
    """The address that clients use."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    scheme = "http" if settings.tls_cert is None else "https"
    return f"{scheme}://{_address(*listener.getsockname()[:2])}"


def open_page(listener: socket.socket, settings: Settings) -> None:
    """Open the page in the user's browser, without waiting for it."""
    address = url(listener, settings)
    for everywhere, here in (("//0.0.0.0:", "//127.0.0.1:"), ("//[::]:", "//[::1]:")):
        address = address.replace(everywhere, here)
    address += f"{settings.root_path.rstrip('/')}/"

    def open_it() -> None:
        import webbrowser

        webbrowser.open(address)

    threading.Thread(target=open_it, daemon=True).start()


def _cannot(address: str, error: OSError, option: str = "") -> OSError:
    other = f"; choose another with {option}" if option and error.errno == errno.EADDRINUSE else ""
    return OSError(f"cannot listen on {address}: {error.strerror or error}{other}")


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reject_new(listener: socket.socket) -> None:
    """Let the kernel begin no more connections; those begun may still be accepted.

    A client that connects meanwhile retries, and is refused once the socket is closed. Without
    socket filters, the queue is shortened as far as possible, and one connection may slip in.
    A Unix socket loses its path, unless that belongs to a newer server by now.
    """
    if listener.family == socket.AF_UNIX:
        if _has_path(listener):
            with suppress(OSError):
                os.unlink(listener.getsockname())
        return
    if not sys.platform.startswith("linux"):
        listener.listen(0)
        return
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN)
    memory = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HL", len(_DROP_SYN), ctypes.addressof(memory))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError:
        listener.listen(0)


def own_listeners(port: int) -> Iterator[socket.socket]:
    """Find the sockets of this process that listen on a port, as `own_connections`."""
    return (found for found in _own_sockets(port) if _listens(found))


def own_connections(port: int) -> Iterator[socket.socket]:
    """Find the connections that this process has accepted on a port, also those of a library.

    Each is a duplicate that is open until the next is requested; closing it leaves the library's
    socket open.
    """
    return (found for found in _own_sockets(port) if not _listens(found))


def _own_sockets(port: int) -> Iterator[socket.socket]:
    numbers = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    for number in map(int, numbers):
        try:
            found = _copy(number)
        except OSError:  # not a socket, or closed by now
            continue
        with found:
            inet = found.family in (socket.AF_INET, socket.AF_INET6)
            if inet and found.getsockname()[1] == port:
                yield found


def _listens(found: socket.socket) -> bool:
    return bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _copy(number: int) -> socket.socket:
    """Duplicate the socket of a descriptor.

    Raises:
        OSError: it is not a socket.
    """
    copy = os.dup(number)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise


async def accept_remaining(listeners: Sequence[socket.socket]) -> None:
    """Let the event loop accept until no connection is queued."""
    end = time.monotonic() + MAX_SECONDS
    await asyncio.sleep(SETTLE_SECONDS)
    while any(map(_has_waiting, listeners)) and time.monotonic() < end:
        await asyncio.sleep(0.01)


def _has_waiting(listener: socket.socket) -> bool:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))
