"""Writes the answers of the Open Inference Protocol v2 that are 200; one of one image takes 1 us.

Source: the REST specification of kserve/open-inference-protocol.
"""

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from mnist_sgd_serve.protocol.requests import OUTPUT, InferRequest
from mnist_sgd_serve.protocol.tensors import INPUT, SIDE

__all__ = [
    "LIVE",
    "READY",
    "encode_infer",
    "model_list",
    "model_metadata",
    "model_ready",
    "server_metadata",
]

LIVE = b'{"live":true}'
READY = b'{"ready":true}'


def encode_infer(
    request: InferRequest,
    probabilities: NDArray[np.float32],
    *,
    model_name: str,
    model_version: str,
) -> tuple[bytes, int | None]:
    """Write the answer to an inference request.

    Args:
        request: says whether the answer is JSON or binary, and holds the id to send back.
        probabilities: float32 `[N]`, one for each of its images.
        model_name: of the model that answered.
        model_version: of the same.

    Returns:
        The body, and the length of its JSON if a binary tensor follows, else None. A number in
        the JSON is the float32 exactly, so both forms give the same bits; NaN would be null.
    """
    answer: dict[str, Any] = {"model_name": model_name, "model_version": model_version}
    if request.id is not None:
        answer["id"] = request.id
    output: dict[str, Any] = {"name": OUTPUT, "shape": (len(probabilities), 1), "datatype": "FP32"}
    answer["outputs"] = (output,)
    if not request.binary:
        output["data"] = probabilities.tolist()
        return orjson.dumps(answer), None
    content = probabilities.astype("<f4", copy=False).tobytes()
    output["parameters"] = {"binary_data_size": len(content)}
    header = orjson.dumps(answer)
    return header + content, len(header)


def server_metadata(version: str) -> bytes:
    """Write the answer to GET /v2; `version` is the server's."""
    return orjson.dumps(
        {"name": "mnist_sgd_serve", "version": version, "extensions": ["binary_tensor_data"]}
    )


def model_list(names: list[str]) -> bytes:
    """Write the answer to GET /v2/models."""
    return orjson.dumps({"models": names})


def model_metadata(name: str, version: str) -> bytes:
    """Write the answer to GET /v2/models/{name}; -1 is any number of images."""
    return orjson.dumps(
        {
            "name": name,
            "versions": [version],
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, SIDE, SIDE]}],
            "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, 1]}],
        }
    )


def model_ready(name: str) -> bytes:
    """Write the answer to GET /v2/models/{name}/ready."""
    return orjson.dumps({"name": name, "ready": True})
