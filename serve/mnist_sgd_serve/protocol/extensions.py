"""Triton's extensions of the protocol that clients such as perf_analyzer ask for.

They say how the model is configured, what it has done, and which models there are. The others are
refused with a sentence.

Sources: Triton's "model configuration", "statistics" and "model repository" extensions, and its
model_config.proto.
"""

import re
from typing import Any

import orjson

from mnist_sgd_serve.metrics import Inferences
from mnist_sgd_serve.protocol.errors import Kind, RequestError, quoted
from mnist_sgd_serve.protocol.members import bool_parameter, json_object, read_json
from mnist_sgd_serve.protocol.requests import OUTPUT
from mnist_sgd_serve.protocol.tensors import INPUT, SIDE

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")
"""What the server's metadata lists."""

PLATFORM = "onnxruntime_onnx"

_MEMORY = "shared memory is not offered: send the images in the request"
_LOADING = "models are not loaded or unloaded by request: the server follows its model file"
_STREAM = "streaming is not offered: send each request by itself"
_TRACE = "tracing is not offered: see /metrics, and --access-log"
_LOGGING = "the log has no settings but --access-log"

REFUSED_METHODS = {
    "ModelStreamInfer": _STREAM,
    "RepositoryModelLoad": _LOADING,
    "RepositoryModelUnload": _LOADING,
    "SystemSharedMemoryStatus": _MEMORY,
    "SystemSharedMemoryRegister": _MEMORY,
    "SystemSharedMemoryUnregister": _MEMORY,
    "CudaSharedMemoryStatus": _MEMORY,
    "CudaSharedMemoryRegister": _MEMORY,
    "CudaSharedMemoryUnregister": _MEMORY,
    "TraceSetting": _TRACE,
    "LogSettings": _LOGGING,
}
"""Methods of gRPC that are refused, and the sentence for each."""

_REFUSED_PATHS = {
    re.compile(r"/v2/(system|cuda|xla)sharedmemory/.*"): _MEMORY,
    re.compile(r"/v2/repository/models/.*/(un)?load"): _LOADING,
    re.compile(r"/v2/models/.*/generate(_stream)?"): _STREAM,
    re.compile(r"/v2/(models/.*/)?trace/setting"): _TRACE,
    re.compile(r"/v2/logging"): _LOGGING,
}


class NotOffered(RequestError):  # noqa: N818  (it says all without "Error")
    """A part of the protocol that this server does not have."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Kind.NOT_OFFERED)


def check_offered(path: str) -> None:
    """Check that an HTTP path is not one of Triton's that this server does not have.

    Raises:
        NotOffered: it is; the message says what to do instead.
    """
    for pattern, sentence in _REFUSED_PATHS.items():
        if pattern.fullmatch(path):
            raise NotOffered(sentence)


def model_config(name: str, *, max_batch_size: int, workers: int) -> dict[str, Any]:
    """The model's configuration, as Triton writes it: sizes are without that of the batch.

    Args:
        name: of the model.
        max_batch_size: images in a run; a request may have more, and is then run in pieces.
        workers: how many processes run the model.
    """
    return {
        "name": name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": min(max_batch_size, 2**31 - 1),
        "input": [{"name": INPUT, "data_type": "TYPE_UINT8", "dims": [SIDE, SIDE]}],
        "output": [{"name": OUTPUT, "data_type": "TYPE_FP32", "dims": [1]}],
        "instance_group": [{"name": name, "kind": "KIND_CPU", "count": workers}],
        "dynamic_batching": {"max_queue_delay_microseconds": 0},
    }


def model_statistics(name: str, version: str, figures: Inferences) -> dict[str, Any]:
    """The statistics of all requests since the start, whichever version answered them.

    Images are used in place, so preparing them takes no time of its own; nor is there a cache.

    Args:
        name: of the model.
        version: the hexadecimal digits of the current one. In the statistics it is the same number
            in decimal digits: perf_analyzer reads nothing else.
        figures: of all workers.
    """
    success, fail = _duration(*figures.success), _duration(*figures.fail)
    count, nothing = success["count"], _duration(0, 0.0)
    unmeasured = _duration(count, 0.0)
    return {
        "name": name,
        "version": str(int(version, 16)),
        "last_inference": int(figures.last_run * 1e3),
        "inference_count": figures.images,
        "execution_count": sum(runs for runs, _ in figures.batches.values()),
        "inference_stats": {
            "success": success,
            "fail": fail,
            "queue": _duration(count, figures.queue_seconds),
            "compute_input": unmeasured,
            "compute_infer": _duration(count, figures.compute_seconds),
            "compute_output": unmeasured,
            "cache_hit": nothing,
            "cache_miss": nothing,
        },
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": _duration(runs, 0.0),
                "compute_infer": _duration(runs, seconds),
                "compute_output": _duration(runs, 0.0),
            }
            for size, (runs, seconds) in figures.batches.items()
        ],
    }


def parse_index(body: bytes) -> bool:
    """Parse a request for the repository index; it may be empty.

    Returns:
        Whether only models are wanted that are ready.

    Raises:
        RequestError: it is invalid.
    """
    if not body:
        return False
    try:
        document = read_json(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the JSON cannot be read: {error}") from error
    request = json_object(document, "the request", frozenset({"ready"}))
    return bool(bool_parameter(request, "ready"))


def check_repository(name: str) -> None:
    """Check the name of a repository, which only gRPC has.

    Raises:
        RequestError: `NOT_FOUND`, it is not empty.
    """
    if name:
        raise RequestError(
            f"the repository {quoted(name)} is unknown: the only one has no name", Kind.NOT_FOUND
        )


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": int(seconds * 1e9)}
