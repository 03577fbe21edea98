"""The Open Inference Protocol v2 as pure functions: bytes in, bytes out.

`parse_infer` reads requests, `encode_infer` writes responses, and `RequestError` says what is wrong
with a request. No sockets here, and no model.
"""

from mnist_sgd_serve.protocol.errors import Kind, RequestError, describe, error_body, quoted
from mnist_sgd_serve.protocol.extensions import (
    check_offered,
    check_repository,
    model_config,
    model_statistics,
    parse_index,
)
from mnist_sgd_serve.protocol.requests import InferRequest, parse_infer
from mnist_sgd_serve.protocol.responses import (
    InferResponse,
    encode_infer,
    model_metadata,
    server_metadata,
)

__all__ = [
    "InferRequest",
    "InferResponse",
    "Kind",
    "RequestError",
    "check_offered",
    "check_repository",
    "describe",
    "encode_infer",
    "error_body",
    "model_config",
    "model_metadata",
    "model_statistics",
    "parse_index",
    "parse_infer",
    "quoted",
    "server_metadata",
]
