"""Tells gRPC clients to send no more calls while all that they have sent is still answered.

gRPC itself stops a server by refusing calls first and telling its clients afterwards: what arrives
in between is cancelled, and so is what waits inside gRPC for a handler. HTTP/2 has a better way.
The server says GOAWAY with the highest number that a call can have, which means: I am about to
end, and I still answer everything. Clients then leave when they have their answers. gRPC has no
function for it, so the frame is written to its connections from here.

Sources: RFC 9113, section 6.8; socket(7) for what makes a socket writable.
"""

import select
import socket
from contextlib import suppress

from mnist_sgd_serve.process.listening import own_connections

__all__ = ["say_goodbye"]

_GOAWAY = bytes.fromhex("000008 07 00 00000000 7fffffff 00000000")
"""Length, type, flags, stream; the last call that is answered; no error."""


def say_goodbye(port: int) -> int:
    """Tell all clients on a port of this process; gives how many were told.

    gRPC writes whole frames, unless a client has stopped reading and the socket is full. Such a
    client is not told: the frame might land inside another.
    """
    told = 0
    for connection in own_connections(port):
        if _is_writable(connection):
            with suppress(OSError):  # the client has left
                told += connection.send(_GOAWAY, socket.MSG_DONTWAIT) == len(_GOAWAY)
    return told


def _is_writable(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    return any(events == select.POLLOUT for _, events in poll.poll(0))
