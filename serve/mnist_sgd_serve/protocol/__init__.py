"""The Open Inference Protocol v2 over HTTP, as pure functions: bytes in, bytes out.

Requests are read by `parse_infer`, answers written by `encode_infer` and its neighbours, and what
a client did wrong is a `RequestError`. No sockets here, and no model.
"""

from mnist_sgd_serve.protocol.errors import RequestError, error_body, shown
from mnist_sgd_serve.protocol.requests import InferRequest, parse_infer
from mnist_sgd_serve.protocol.responses import (
    LIVE,
    READY,
    encode_infer,
    model_list,
    model_metadata,
    model_ready,
    server_metadata,
)

__all__ = [
    "LIVE",
    "READY",
    "InferRequest",
    "RequestError",
    "encode_infer",
    "error_body",
    "model_list",
    "model_metadata",
    "model_ready",
    "parse_infer",
    "server_metadata",
    "shown",
]
