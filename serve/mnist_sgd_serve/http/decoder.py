"""The main program of a process that decodes pictures for the server, and can be killed any time.

It imports NumPy and Pillow, but neither onnxruntime nor the server, so it starts quickly. The
server sends one picture at a time over a socket pair and receives 28x28 bytes or an error, never
unpickling anything. The kernel enforces the limits on processor time and memory. The process ends
when the socket closes, so it never outlives the server.
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
from mnist_sgd_serve.protocol.errors import Kind, RequestError

HEADER = struct.Struct("<II")
"""Of each message: the lengths of its JSON and of the bytes that follow."""

MARGIN = 64 * 2**20
"""Bytes of address space beyond a picture's limit, for the preprocessing and the allocator."""

KINDS = frozenset(
    {Kind.BAD_REQUEST, Kind.TOO_LARGE, Kind.DECOMPRESSED_TOO_LARGE, Kind.UNSUPPORTED, Kind.NO_INK}
)
"""Errors of a picture."""

WARM_UP = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAABwAAAAcAQAAAABaduI5AAAAO0lEQVR42n3NoRVAAAAA0e+eYATRKEY3ihFEwUPQ"
    "Xfj1+O+5xAWzOMUiDrGKHTZ9DDCQyENGcpPp5/UC+3oJ3wl6CCAAAAAASUVORK5CYII="
)
"""A PNG of a stroke."""


class DecoderFailed(RuntimeError):  # noqa: N818  (it says all without "Error")
    """A decoder process failed or died; the message says how."""


def message(document: Mapping[str, Any], content: bytes = b"") -> bytes:
    """Encode the header and JSON of a message, which `content` must follow."""
    head = json.dumps(document).encode()
    return HEADER.pack(len(head), len(content)) + head


def preprocessed(
    document: Mapping[str, Any], content: bytes
) -> Preprocessed | RequestError | DecoderFailed:
    """Decode the message of a decoder: the picture, or why there is none.

    Args:
        document: its JSON.
        content: the pixels, 784 bytes.

    Raises:
        KeyError, TypeError, ValueError: the message is invalid.
    """
    if "failure" in document:
        return DecoderFailed(document["failure"])
    if "error" in document:
        kind, text = document["error"]
        if kind not in KINDS:
            raise ValueError(f"a kind {kind!r:.20}")
        return RequestError(str(text), Kind(kind))
    image = np.frombuffer(content, np.uint8).reshape(28, 28)
    return Preprocessed(image, **document)


def main(descriptor: int, limits: str) -> None:
    """Decode pictures until the other end of the socket closes; `limits` are `PictureLimits`."""
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
        while head := requests.read(HEADER.size):
            channel.sendall(_answer(head, requests, allowed))


def _answer(head: bytes, requests: Any, limits: PictureLimits) -> bytes:
    """Read a message, decode its picture, and encode the result."""
    length, size = HEADER.unpack(head)
    document = json.loads(requests.read(length))
    signal.setitimer(signal.ITIMER_PROF, limits.seconds)
    try:
        found = read_picture(requests.read(size), limits=limits, **document)
    except RequestError as error:
        return message({"error": [error.kind, str(error)]})
    except MemoryError:
        text = "the image needs more memory than is allowed: make it smaller"
        return message({"error": [Kind.TOO_LARGE, text]})
    except Exception:  # a bug: the server logs it
        return message({"failure": traceback.format_exc()})
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    fields = dataclasses.asdict(found)
    content: bytes = fields.pop("image").tobytes()
    return message(fields, content) + content


def _limit_memory(more: int) -> None:
    """Limit this process to `more` bytes beyond its current memory, where /proc shows that."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/statm") as statm:
            used = int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or used + more < hard:
        resource.setrlimit(resource.RLIMIT_AS, (used + more, hard))
