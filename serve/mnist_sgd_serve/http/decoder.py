"""A process that reads pictures for the server, and that can be ended at any moment.

It imports NumPy and Pillow, neither onnxruntime nor the server, and starts in 0.1 s. The server
sends it one picture at a time over a socket pair and gets back 28x28 bytes, or why there are none:
nothing that comes back is ever unpickled. The kernel ends the process when a picture takes more
processor time than it may, and gives it no more memory than it may have. Its end is the end of the
socket: it goes when the server goes, however that ends, and no signal of a terminal reaches it.
"""

import base64
import dataclasses
import json
import os
import resource
import signal
import socket
import struct
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from mnist_sgd_serve.http.picture_request import PictureLimits, read_picture
from mnist_sgd_serve.images.preprocessing import PREPROCESSING_KINDS, Preprocessed
from mnist_sgd_serve.protocol.errors import RequestError

__all__ = ["HEAD", "DecoderFailed", "main", "message", "preprocessed"]

HEAD = struct.Struct("<II")
"""Before each message: the lengths of its JSON and of the bytes that follow."""

MARGIN = 64 * 2**20
"""Bytes of address space above what a picture may take: for the preprocessing and the allocator."""

STATUSES = frozenset({400, 413, 415, 422})
"""Of the refusals of a picture."""

WARM_UP = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAABwAAAAcAQAAAABaduI5AAAAO0lEQVR42n3NoRVAAAAA0e+eYATRKEY3ihFEwUPQ"
    "Xfj1+O+5xAWzOMUiDrGKHTZ9DDCQyENGcpPp5/UC+3oJ3wl6CCAAAAAASUVORK5CYII="
)
"""A PNG of a stroke."""


class DecoderFailed(RuntimeError):  # noqa: N818  (it says all without "Error")
    """A decoder did not survive a picture, or failed at it; the message says how."""


def message(document: Mapping[str, Any], content: bytes = b"") -> bytes:
    """What precedes some bytes on their way: their length, and what is said of them."""
    head = json.dumps(document).encode()
    return HEAD.pack(len(head), len(content)) + head


def preprocessed(document: Mapping[str, Any], content: bytes) -> Preprocessed:
    """The image that a decoder has made.

    Args:
        document: of its answer.
        content: the pixels, 784 bytes.

    Raises:
        RequestError: there is none, and the picture is why.
        DecoderFailed: there is none, and we are why.
        KeyError, TypeError, ValueError: this is no answer of a decoder.
    """
    if "failure" in document:
        raise DecoderFailed(document["failure"])
    if "error" in document:
        status, reason, text = document["error"]
        if status not in STATUSES:
            raise ValueError(f"a status {status!r:.20}")
        raise RequestError(status, str(reason), str(text))
    image = np.frombuffer(content, np.uint8).reshape(28, 28)
    return Preprocessed(image, **document)


def main(descriptor: int, limits: str) -> None:
    """Answer until the other end of the socket is closed.

    Args:
        descriptor: of a connected socket.
        limits: the members of `PictureLimits` as JSON.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    warnings.simplefilter("ignore")
    allowed = PictureLimits(**json.loads(limits))
    for preprocessing in PREPROCESSING_KINDS:
        read_picture(WARM_UP, None, "", preprocessing, allowed)
    _limit_memory(allowed.memory + MARGIN)
    with (
        suppress(ConnectionError),  # the server is gone
        socket.socket(fileno=descriptor) as channel,
        channel.makefile("rb") as requests,
    ):
        channel.sendall(message({}))
        while head := requests.read(HEAD.size):
            channel.sendall(_answer(head, requests, allowed))


def _answer(head: bytes, requests: Any, limits: PictureLimits) -> bytes:
    """Read a picture and tell of it."""
    length, size = HEAD.unpack(head)
    document = json.loads(requests.read(length))
    signal.setitimer(signal.ITIMER_PROF, limits.seconds)
    try:
        found = read_picture(requests.read(size), limits=limits, **document)
    except RequestError as error:
        return message({"error": [error.status, error.reason, str(error)]})
    except MemoryError:
        text = "the image needs more memory than is allowed: make it smaller"
        return message({"error": [413, "too_large", text]})
    except Exception:  # a fault of ours: the server logs it and answers 500
        return message({"failure": traceback.format_exc()})
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    content = found.image.tobytes()
    fields = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    del fields["image"]
    return message(fields, content) + content


def _limit_memory(more: int) -> None:
    """Let this process have so many bytes more than it has; where that cannot be told, as it is."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/statm") as statm:
            used = int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or used + more < hard:
        resource.setrlimit(resource.RLIMIT_AS, (used + more, hard))
