"""KServe's clients, REST and gRPC, against the server.

The package kserve pins much of what it needs, so it lives in an environment of its own, and these
tests run a script there. MNIST_SGD_KSERVE_PYTHON names that environment's Python:

    python -m venv kserve-env && kserve-env/bin/pip install kserve
    export MNIST_SGD_KSERVE_PYTHON=kserve-env/bin/python
    python -m pytest tests/serve/http/test_kserve_client.py
"""

import json
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_sgd_serve import Predictor
from server import Server, running
from waiting import PATIENCE

PYTHON = os.environ.get("MNIST_SGD_KSERVE_PYTHON", "")

pytestmark = pytest.mark.skipif(
    not PYTHON, reason="MNIST_SGD_KSERVE_PYTHON names no Python with kserve"
)

COMMON = """
import asyncio, json, sys
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

address = sys.argv[1]
images = np.load(sys.argv[2])

def request(model="mnist_sgd", binary=True, images=images):
    tensor = InferInput("image", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images, binary_data=binary)
    return InferRequest(model, [tensor], request_id="my id")

def seen(response):
    output = response.outputs[0]
    answer = output.as_numpy().astype("<f4")
    return [response.model_name, response.id, list(answer.shape), answer.tobytes().hex()]
"""

REST = """
async def ask():
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        said = {
            "live": await client.is_server_live(address),
            "ready": await client.is_server_ready(address),
            "model": await client.is_model_ready(address, "mnist_sgd"),
            "other": await client.is_model_ready(address, "other"),
        }
        for binary in (False, True):
            answer = await client.infer(address, request(binary=binary), "mnist_sgd")
            said[f"binary {binary}"] = seen(answer)
        for name, data, model in (
            ("unknown", request("other"), "other"),
            ("shape", request(images=images[0]), "mnist_sgd"),
        ):
            try:
                await client.infer(address, data, model)
            except Exception as error:
                said[name] = str(error)
        return said

print(json.dumps(asyncio.run(ask())))
"""

RPC = """
async def ask():
    async with InferenceGRPCClient(address) as client:
        said = {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model": await client.is_model_ready("mnist_sgd"),
        }
        for binary in (False, True):
            said[f"binary {binary}"] = seen(await client.infer(request(binary=binary)))
        for name, data in (("unknown", request("other")), ("shape", request(images=images[0]))):
            try:
                await client.infer(data)
            except Exception as error:
                said[name] = f"{error.code().name}: {error.details()}"
        return said

print(json.dumps(asyncio.run(ask())))
"""

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Server]:
    with running(model, "--grpc-port", "0") as server:
        yield server


def ask(script: str, address: str, folder: Path) -> dict[str, Any]:
    """What a script of KServe's Python prints."""
    np.save(folder / "images.npy", IMAGES)
    command = [PYTHON, "-c", COMMON + script, address, str(folder / "images.npy")]
    free = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env=free, capture_output=True, text=True, timeout=2 * PATIENCE
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def expected(model: Path) -> list[Any]:
    answers = Predictor(model).probabilities(IMAGES)
    return ["mnist_sgd", "my id", [3, 1], struct.pack("<3f", *answers).hex()]


SHAPE = "shape of 'image' must be [N, 28, 28] with N at least 1, got [28, 28]"


def test_the_rest_client_is_answered_in_json_and_binary(
    server: Server, model: Path, tmp_path: Path
) -> None:
    said = ask(REST, server.address, tmp_path)
    assert [said[name] for name in ("live", "ready", "model", "other")] == [True, True, True, False]
    assert said["binary False"] == said["binary True"] == expected(model)
    assert said["unknown"].startswith("'other' is unknown, the model is")
    assert "'404 Not Found' for url" in said["unknown"]
    assert said["shape"].startswith(f"{SHAPE}, '400 Bad Request' for url")


def test_the_grpc_client_is_answered_raw_and_typed(
    server: Server, model: Path, tmp_path: Path
) -> None:
    said = ask(RPC, server.wait_for("ready")["grpc"], tmp_path)
    assert [said[name] for name in ("live", "ready", "model")] == [True, True, True]
    assert said["binary False"] == said["binary True"] == expected(model)
    assert said["unknown"].startswith("NOT_FOUND: 'other' is unknown, the model is 'mnist_sgd'")
    assert said["shape"] == f"INVALID_ARGUMENT: {SHAPE}"
