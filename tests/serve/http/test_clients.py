"""Triton's clients, as people have them, against the server: HTTP and gRPC, plain and asyncio."""

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from mnist_sgd_serve import Predictor
from mnist_sgd_serve.rpc.messages import message_class
from server import Server, running
from waiting import PATIENCE

KINDS: dict[str, Any] = {"http": tritonclient.http, "grpc": tritonclient.grpc}
AIO: dict[str, Any] = {"http": tritonclient.http.aio, "grpc": tritonclient.grpc.aio}

IMAGES = np.random.default_rng(0).integers(0, 256, (16, 28, 28), np.uint8)


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Server]:
    with running(model, "--grpc-port", "0") as server:
        yield server


@pytest.fixture(scope="module")
def expected(model: Path) -> NDArray[np.float32]:
    """What the model says of `IMAGES`, one by one."""
    predictor = Predictor(model)
    return np.concatenate([predictor.probabilities(one[None]) for one in IMAGES])[:, None]


def address(server: Server, kind: str) -> str:
    return str(server.wait_for("ready")["grpc"]) if kind == "grpc" else server.address[7:]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def client(server: Server, kind: str) -> Iterator[Any]:
    with KINDS[kind].InferenceServerClient(address(server, kind)) as client:
        yield client


def given(kind: str, images: NDArray[np.uint8], **how: bool) -> list[Any]:
    """The input; over HTTP `how` may say `binary_data=False`."""
    tensor = KINDS[kind].InferInput("image", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images, **how)
    return [tensor]


def test_the_server_is_live_and_ready_and_knows_the_model(client: Any) -> None:
    assert client.is_server_live() is True
    assert client.is_server_ready() is True
    assert client.is_model_ready("mnist_sgd") is True


def test_metadata_is_read(client: Any, kind: str) -> None:
    more = {"as_json": True} if kind == "grpc" else {}
    about = client.get_server_metadata(**more)
    assert about["name"] == "mnist_sgd_serve"
    assert about["extensions"] == [
        "binary_tensor_data",
        "model_configuration",
        "model_repository",
        "statistics",
    ]
    model = client.get_model_metadata("mnist_sgd", **more)
    (version,) = model["versions"]
    (tensor,), (output,) = model["inputs"], model["outputs"]
    assert (tensor["name"], tensor["datatype"]) == ("image", "UINT8")
    assert [int(size) for size in tensor["shape"]] == [-1, 28, 28]
    assert (output["name"], output["datatype"]) == ("probability", "FP32")
    assert client.is_model_ready("mnist_sgd", version) is True
    assert client.get_model_metadata("mnist_sgd", version, **more) == model


def test_the_configuration_is_read(client: Any, kind: str) -> None:
    more = {"as_json": True} if kind == "grpc" else {}
    config = client.get_model_config("mnist_sgd", **more)
    (version,) = client.get_model_metadata("mnist_sgd", **more)["versions"]
    assert client.get_model_config("mnist_sgd", version, **more) == config
    config = config["config"] if kind == "grpc" else config
    assert (config["name"], config["max_batch_size"]) == ("mnist_sgd", 256)
    assert (config["platform"], config["backend"]) == ("onnxruntime_onnx", "onnxruntime")
    assert "dynamic_batching" in config  # how perf_analyzer knows that requests share runs
    (tensor,), (output,), (group,) = config["input"], config["output"], config["instance_group"]
    assert (tensor["name"], tensor["data_type"]) == ("image", "TYPE_UINT8")
    assert [int(size) for size in tensor["dims"]] == [28, 28]
    assert (output["name"], output["data_type"]) == ("probability", "TYPE_FP32")
    assert [int(size) for size in output["dims"]] == [1]
    assert (group["kind"], group["count"]) == ("KIND_CPU", 1)


def statistics(client: Any, kind: str, *model: str) -> dict[str, Any]:
    """The only entry; over gRPC all numbers are strings."""
    more = {"as_json": True} if kind == "grpc" else {}
    (entry,) = client.get_inference_statistics(*model, **more)["model_stats"]
    assert entry["name"] == "mnist_sgd"
    found: dict[str, Any] = entry
    return found


def test_statistics_count_requests_images_and_runs(client: Any, kind: str) -> None:
    def counts() -> list[int]:
        entry = statistics(client, kind, "mnist_sgd")
        assert {name: entry[name] for name in ("name", "version")} == {
            name: statistics(client, kind)[name] for name in ("name", "version")
        }
        inner = entry["inference_stats"]
        done = int(inner["success"].get("count", 0))
        for name in ("queue", "compute_input", "compute_infer", "compute_output"):
            assert int(inner[name].get("count", 0)) == done  # else perf_analyzer gives up
        assert str(int(entry["version"])) == entry["version"]  # as it needs
        of_16 = [one for one in entry.get("batch_stats", []) if int(one["batch_size"]) == 16]
        (runs,) = [int(one["compute_infer"]["count"]) for one in of_16] or [0]
        numbers = [int(entry.get(name, 0)) for name in ("inference_count", "execution_count")]
        return [done, *numbers, runs]

    before = counts()
    for images in (IMAGES, IMAGES[:9], IMAGES[:1]):
        client.infer("mnist_sgd", given(kind, images))
    after = counts()
    assert [new - old for new, old in zip(after, before, strict=True)] == [3, 26, 3, 2]
    spent = statistics(client, kind)["inference_stats"]
    assert int(spent["success"]["ns"]) >= int(spent["compute_infer"]["ns"]) > 0


def test_the_repository_has_the_model(client: Any, kind: str) -> None:
    more = {"as_json": True} if kind == "grpc" else {}
    (version,) = client.get_model_metadata("mnist_sgd", **more)["versions"]
    index = client.get_model_repository_index(**more)
    (entry,) = index["models"] if kind == "grpc" else index
    assert entry.get("reason", "") == ""
    assert {name: entry[name] for name in ("name", "version", "state")} == {
        "name": "mnist_sgd",
        "version": version,
        "state": "READY",
    }


NOT_OFFERED = {
    "get_system_shared_memory_status": ((), "shared memory is not offered: send the images in "),
    "get_cuda_shared_memory_status": ((), "shared memory is not offered: send the images in "),
    "register_system_shared_memory": (("a", "/a", 1), "shared memory is not offered: send the "),
    "unregister_system_shared_memory": ((), "shared memory is not offered: send the images in "),
    "load_model": (("mnist_sgd",), "models are not loaded or unloaded by request: the server "),
    "unload_model": (("mnist_sgd",), "models are not loaded or unloaded by request: the server "),
    "get_trace_settings": ((), "tracing is not offered: see /metrics, and --access-log"),
    "update_trace_settings": (("mnist_sgd",), "tracing is not offered: see /metrics, and --acc"),
    "get_log_settings": ((), "the log has no settings but --access-log"),
    "update_log_settings": (({"log_info": True},), "the log has no settings but --access-log"),
}


@pytest.mark.parametrize("method", NOT_OFFERED)
def test_what_is_not_offered_is_refused_with_a_sentence(
    client: Any, kind: str, method: str
) -> None:
    arguments, sentence = NOT_OFFERED[method]
    with pytest.raises(InferenceServerException) as caught:
        getattr(client, method)(*arguments)
    expected = "404" if kind == "http" else "StatusCode.UNIMPLEMENTED"
    assert str(caught.value.status()) == expected
    assert str(caught.value.message()).startswith(sentence)


def test_a_stream_is_refused_with_a_sentence(server: Server) -> None:
    called: SimpleQueue[tuple[int, Any, Any]] = SimpleQueue()
    with tritonclient.grpc.InferenceServerClient(address(server, "grpc")) as client:
        client.start_stream(partial(_put, called, 0))
        client.async_stream_infer("mnist_sgd", given("grpc", IMAGES))
        _, result, error = called.get(timeout=PATIENCE)
    assert result is None
    assert error.message() == "streaming is not offered: send each request by itself"


@pytest.mark.parametrize("rows", [1, 2, 16])
def test_a_batch_is_answered_in_its_order(
    client: Any, kind: str, expected: NDArray[np.float32], rows: int
) -> None:
    result = client.infer("mnist_sgd", given(kind, IMAGES[:rows]), request_id="my id")
    answer = result.as_numpy("probability")
    assert (answer.dtype, answer.shape) == (np.float32, (rows, 1))
    np.testing.assert_allclose(answer, expected[:rows], rtol=1e-5)
    if rows == 1:
        np.testing.assert_array_equal(answer, expected[:1])
    response = result.get_response()
    assert (response["id"] if kind == "http" else response.id) == "my id"


@pytest.mark.parametrize("binary_input", [False, True])
@pytest.mark.parametrize("binary_output", [None, False, True])
def test_http_takes_json_and_binary_in_all_mixtures(
    server: Server,
    expected: NDArray[np.float32],
    binary_input: bool,
    binary_output: bool | None,
) -> None:
    outputs = None
    if binary_output is not None:
        outputs = [tritonclient.http.InferRequestedOutput("probability", binary_output)]
    inputs = given("http", IMAGES[:1], binary_data=binary_input)
    with tritonclient.http.InferenceServerClient(server.address[7:]) as client:
        result = client.infer("mnist_sgd", inputs, outputs=outputs)
    np.testing.assert_array_equal(result.as_numpy("probability"), expected[:1])
    assert ("data" in result.get_output("probability")) == (binary_output is False)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests_are_answered(
    client: Any, kind: str, expected: NDArray[np.float32], algorithm: str
) -> None:
    how = {"compression_algorithm": algorithm}
    if kind == "http":
        how = {f"{side}_compression_algorithm": algorithm for side in ("request", "response")}
    result = client.infer("mnist_sgd", given(kind, IMAGES), **how)
    np.testing.assert_allclose(result.as_numpy("probability"), expected, rtol=1e-5)


def test_many_requests_at_once_get_their_own_answers(
    server: Server, kind: str, expected: NDArray[np.float32]
) -> None:
    """Triton's own ways to have many requests under way: greenlets, and callbacks."""
    inputs = [given(kind, one[None]) for one in IMAGES] * 8
    more = {"concurrency": 8} if kind == "http" else {}
    with KINDS[kind].InferenceServerClient(address(server, kind), **more) as client:
        if kind == "http":
            requests = [client.async_infer("mnist_sgd", tensor) for tensor in inputs]
            results = {number: request.get_result() for number, request in enumerate(requests)}
        else:
            called: SimpleQueue[tuple[int, Any, Any]] = SimpleQueue()
            for number, tensor in enumerate(inputs):
                client.async_infer("mnist_sgd", tensor, partial(_put, called, number))
            outcomes = [called.get(timeout=PATIENCE) for _ in inputs]
            assert [error for _, _, error in outcomes] == [None] * len(inputs)
            results = {number: result for number, result, _ in outcomes}
    assert len(results) == len(inputs)
    for number, result in results.items():
        answer = result.as_numpy("probability")[0]
        np.testing.assert_allclose(answer, expected[number % len(IMAGES)], rtol=1e-5)


def _put(called: "SimpleQueue[tuple[int, Any, Any]]", number: int, result: Any, error: Any) -> None:
    called.put((number, result, error))


def test_the_asyncio_client_is_answered(
    server: Server, kind: str, expected: NDArray[np.float32]
) -> None:
    async def check() -> None:
        async with AIO[kind].InferenceServerClient(address(server, kind)) as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("mnist_sgd")
            for about in (
                await client.get_model_metadata("mnist_sgd"),
                await client.get_model_config("mnist_sgd"),
                await client.get_inference_statistics("mnist_sgd"),
                await client.get_model_repository_index(),
            ):
                assert "mnist_sgd" in str(about)
            results = await asyncio.gather(
                *(client.infer("mnist_sgd", given(kind, one[None])) for one in IMAGES)
            )
            answers = np.concatenate([result.as_numpy("probability") for result in results])
            np.testing.assert_allclose(answers, expected, rtol=1e-5)
            with pytest.raises(InferenceServerException, match="is unknown, the model is"):
                await client.infer("other", given(kind, IMAGES))

    asyncio.run(check())


def refused(client: Any, model: str, inputs: list[Any], **more: Any) -> tuple[str, str]:
    """The status and the sentence that an inference is refused with."""
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, inputs, **more)
    return str(caught.value.status()), str(caught.value.message())


STATUS = {
    ("http", 400): "400",
    ("http", 404): "404",
    ("grpc", 400): "StatusCode.INVALID_ARGUMENT",
    ("grpc", 404): "StatusCode.NOT_FOUND",
}


@pytest.mark.parametrize("name", ["other", "mnist/sgd", "../mnist_sgd", "mnist_sgd/versions/9"])
def test_another_model_is_unknown(client: Any, kind: str, name: str) -> None:
    status, message = refused(client, name, given(kind, IMAGES))
    assert status == STATUS[kind, 404]
    assert "is unknown, the model is 'mnist_sgd', of version" in message
    assert client.is_model_ready(name) is False


def test_wrong_tensors_are_refused_in_plain_words(client: Any, kind: str) -> None:
    tensor = KINDS[kind].InferInput("image", [1, 28, 28], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 28, 28), np.float32))
    wrong = {
        "datatype of 'image' must be 'UINT8', got 'FP32'": [tensor],
        "shape of 'image' must be [N, 28, 28] with N at least 1, got [1, 784]": given(
            kind, IMAGES[:1].reshape(1, 784)
        ),
        "input 'image' is given 2 times, must be once": given(kind, IMAGES) * 2,
    }
    for sentence, inputs in wrong.items():
        assert refused(client, "mnist_sgd", inputs) == (STATUS[kind, 400], sentence)
    unknown = [KINDS[kind].InferRequestedOutput("logit")]
    assert refused(client, "mnist_sgd", given(kind, IMAGES), outputs=unknown) == (
        STATUS[kind, 400],
        "output 'logit' is unknown, the only one is 'probability'",
    )
    classes = [KINDS[kind].InferRequestedOutput("probability", class_count=1)]
    assert refused(client, "mnist_sgd", given(kind, IMAGES), outputs=classes) == (
        STATUS[kind, 400],
        "parameter 'classification' of output 'probability' is not supported",
    )
    assert client.is_server_live()


def test_a_token_is_given_as_a_header(model: Path, kind: str) -> None:
    with (
        running(model, "--grpc-port", "0", "--token", "sesame") as server,
        KINDS[kind].InferenceServerClient(address(server, kind)) as client,
    ):
        assert client.is_server_ready()
        status, message = refused(client, "mnist_sgd", given(kind, IMAGES))
        assert status in ("401", "StatusCode.UNAUTHENTICATED")
        assert "Authorization: Bearer TOKEN is missing or wrong" in message
        right = {"authorization": "Bearer sesame"}
        result = client.infer("mnist_sgd", given(kind, IMAGES), headers=right)
        assert result.as_numpy("probability").shape == (16, 1)


def test_every_field_of_ours_is_tritons_too() -> None:
    """Names, numbers and types, as the client's own copy of the protocol has them."""
    names = [
        f"{method}{side}"
        for method in (
            "ServerLive",
            "ServerReady",
            "ModelReady",
            "ServerMetadata",
            "ModelMetadata",
            "ModelInfer",
            "ModelConfig",
            "ModelStatistics",
            "RepositoryIndex",
        )
        for side in ("Request", "Response")
    ]
    seen = set()

    def compare(ours: Any, theirs: Any) -> None:
        if ours.full_name in seen:
            return
        seen.add(ours.full_name)
        assert ours.full_name == theirs.full_name
        for field in ours.fields:
            other = theirs.fields_by_name[field.name]
            assert (field.number, field.type) == (other.number, other.type), field.full_name
            assert field.is_repeated == other.is_repeated
            if field.message_type is not None:
                compare(field.message_type, other.message_type)
            if field.enum_type is not None:
                theirs_by_name = other.enum_type.values_by_name
                for value in field.enum_type.values:
                    assert value.number == theirs_by_name[value.name].number, value.name

    for name in names:
        compare(
            message_class(f"inference.{name}").DESCRIPTOR, getattr(service_pb2, name).DESCRIPTOR
        )
    assert {"inference.InferTensorContents", "inference.ModelConfig"} < seen
