"""Responses of the Open Inference Protocol v2.

Source: the REST specification of kserve/open-inference-protocol.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from mnist_sgd_serve.protocol.extensions import EXTENSIONS, PLATFORM
from mnist_sgd_serve.protocol.requests import OUTPUT
from mnist_sgd_serve.protocol.tensors import INPUT, SIDE


@dataclass(slots=True, eq=False)
class InferResponse:
    """The result of an inference request.

    Attributes:
        model_name: of the model that ran.
        model_version: of the model that ran.
        id: the client's id of the request, if it had one.
        probabilities: float32 `[N]`, one for each image.
    """

    model_name: str
    model_version: str
    id: str | None
    probabilities: NDArray[np.float32]


def encode_infer(response: InferResponse, *, binary: bool) -> tuple[bytes, int | None]:
    """Encode an inference response for HTTP.

    Args:
        response: the response.
        binary: whether the probabilities follow the JSON as bytes.

    Returns:
        The body, and the length of its JSON if bytes follow, else None. A number in the JSON is
        the float32 exactly, so both forms give the same bits; NaN would be null.
    """
    document: dict[str, Any] = {
        "model_name": response.model_name,
        "model_version": response.model_version,
    }
    if response.id is not None:
        document["id"] = response.id
    probabilities = response.probabilities
    output: dict[str, Any] = {"name": OUTPUT, "shape": (len(probabilities), 1), "datatype": "FP32"}
    document["outputs"] = (output,)
    if not binary:
        output["data"] = probabilities.tolist()
        return orjson.dumps(document), None
    content = probabilities.astype("<f4", copy=False).tobytes()
    output["parameters"] = {"binary_data_size": len(content)}
    header = orjson.dumps(document)
    return header + content, len(header)


def server_metadata(version: str) -> dict[str, Any]:
    """The server's name, version and extensions."""
    return {"name": "mnist_sgd_serve", "version": version, "extensions": list(EXTENSIONS)}


def model_metadata(name: str, version: str) -> dict[str, Any]:
    """The model's inputs and outputs; a size of -1 is any number of images."""
    return {
        "name": name,
        "versions": [version],
        "platform": PLATFORM,
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, SIDE, SIDE]}],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, 1]}],
    }
