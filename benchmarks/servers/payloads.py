"""How images travel to each server and probabilities back."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["BASE64", "BYTES", "JSON", "RAW", "V2_BINARY", "V2_JSON", "Body", "Payload"]

Images = NDArray[np.uint8]
HEADER_LENGTH = "inference-header-content-length"


@dataclass(frozen=True)
class Body:
    """What is sent."""

    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Payload:
    """A format: how uint8 `[N, 28, 28]` is sent, and how N probabilities are read.

    `read` is given the answer's body and its headers, with names in lower case.
    """

    name: str
    write: Callable[[Images], Body]
    read: Callable[[bytes, Mapping[str, str]], list[float]]


def _raw(images: Images) -> Body:
    return Body(images.tobytes(), {"Content-Type": "application/octet-stream"})


def _read_raw(content: bytes, headers: Mapping[str, str]) -> list[float]:
    return _floats(content)


def _v2(images: Images) -> dict[str, object]:
    return {"name": "image", "shape": list(images.shape), "datatype": "UINT8"}


def _v2_json(images: Images) -> Body:
    return _json({"inputs": [_v2(images) | {"data": images.ravel().tolist()}]})


def _v2_binary(images: Images) -> Body:
    tensor = _v2(images) | {"parameters": {"binary_data_size": images.size}}
    wanted = {"name": "probability", "parameters": {"binary_data": True}}
    header = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(header)),
    }
    return Body(header + images.tobytes(), headers)


def _bytes(images: Images) -> Body:
    """One image as its 784 bytes and no more; many in the binary extension of v2."""
    if len(images) > 1:
        return _v2_binary(images)
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": "0",
    }
    return Body(images.tobytes(), headers)


def _read_v2(content: bytes, headers: Mapping[str, str]) -> list[float]:
    if HEADER_LENGTH in headers:
        return _floats(content[int(headers[HEADER_LENGTH]) :])
    return list(np.ravel(json.loads(content)["outputs"][0]["data"]).tolist())


def _rows(images: Images) -> Body:
    return _json({"images": images.reshape(len(images), -1).tolist()})


def _base64(images: Images) -> Body:
    return _json({"images": base64.b64encode(images.tobytes()).decode()})


def _read_json(content: bytes, headers: Mapping[str, str]) -> list[float]:
    answer = json.loads(content)
    return list(answer["probabilities"] if isinstance(answer, dict) else answer)


def _json(document: object) -> Body:
    content = json.dumps(document, separators=(",", ":")).encode()
    return Body(content, {"Content-Type": "application/json"})


def _floats(content: bytes) -> list[float]:
    return list(np.frombuffer(content, "<f4").tolist())


BYTES = Payload("bytes; v2 binary for 256", _bytes, _read_v2)
V2_BINARY = Payload("v2 binary", _v2_binary, _read_v2)
V2_JSON = Payload("v2 JSON", _v2_json, _read_v2)
JSON = Payload("JSON", _rows, _read_json)
BASE64 = Payload("base64 in JSON", _base64, _read_json)
RAW = Payload("bytes", _raw, _read_raw)
