"""Graceful shutdown of gRPC connections by an HTTP/2 GOAWAY frame.

To stop a server, gRPC itself first rejects calls and then tells its clients: calls that arrive in
between, or wait inside gRPC for a handler, are cancelled. A GOAWAY frame with the highest possible
stream number avoids that: it announces the end while all calls are still answered, and clients
leave when they have their responses. gRPC has no function for it, so the frame is written to its
sockets here.

Sources: RFC 9113, section 6.8; socket(7) for what makes a socket writable.
"""

import select
import socket
from contextlib import suppress

from mnist_sgd_serve.process.listening import own_connections

_GOAWAY = bytes.fromhex("000008 07 00 00000000 7fffffff 00000000")
"""Length, type, flags, stream; the last stream that is answered; no error."""


def say_goodbye(port: int) -> int:
    """Send the frame to all clients on a port of this process; returns to how many.

    gRPC writes whole frames, unless a client has stopped reading and its socket is full. Such a
    client is left out: the frame might land inside another.
    """
    count = 0
    for connection in own_connections(port):
        if _is_writable(connection):
            with suppress(OSError):  # the client has left
                count += connection.send(_GOAWAY, socket.MSG_DONTWAIT) == len(_GOAWAY)
    return count


def _is_writable(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    return any(events == select.POLLOUT for _, events in poll.poll(0))
