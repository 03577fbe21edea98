"""The port of the gRPC side, chosen and checked before any worker starts.

gRPC binds its port itself, in each worker, with SO_REUSEPORT: the kernel spreads the connections.
But a second server on the same port would share it unnoticed; and with port 0 each worker would
take another. So the port is first bound exclusively, then reserved for the workers.
"""

import dataclasses
import socket
from importlib.util import find_spec

from mnist_sgd_serve.process.listening import bind
from mnist_sgd_serve.settings import Settings


def reserve_port(settings: Settings) -> socket.socket:
    """Bind a socket that reserves the gRPC port for the workers; it never listens itself.

    Raises:
        OSError: the port is in use or cannot be bound; the message names it.
        ValueError: the packages that gRPC needs are not installed.
    """
    if not (_installed("grpc") and _installed("google.protobuf")):
        raise ValueError(
            "the gRPC port needs the packages grpcio and protobuf: pip install 'mnist-sgd[grpc]'"
        )
    assert settings.grpc_port is not None
    own = dataclasses.replace(settings, port=settings.grpc_port, unix_socket=None)
    with bind(own, "--grpc-port") as alone:
        address = alone.getsockname()
    holder = socket.socket(alone.family, socket.SOCK_STREAM)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(address)
    except OSError as error:  # such as that of the own HTTP side
        holder.close()
        raise OSError(f"cannot listen on port {address[1]} for gRPC: {error.strerror}") from error
    return holder


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package around it
        return False
