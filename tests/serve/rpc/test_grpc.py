"""The gRPC side of the server: the same rules, sentences and bits as over HTTP."""

import asyncio
import contextlib
import json
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from endings import CALL, end_under_load
from http2 import Http2
from mnist_sgd_serve.inference import InferenceService
from mnist_sgd_serve.logs import Log, RequestLog
from mnist_sgd_serve.metrics import Metrics, shared_memory
from mnist_sgd_serve.model.manager import Model, ModelManager
from mnist_sgd_serve.protocol.errors import DeadlineExceeded, QueueFull
from mnist_sgd_serve.rpc.farewell import say_goodbye
from mnist_sgd_serve.rpc.messages import message_class
from mnist_sgd_serve.rpc.server import RpcServer
from mnist_sgd_serve.settings import Settings
from server import INFER, Server, launch, reserved_port, running
from waiting import PATIENCE, again_if_late, wait_until

HEALTH = "grpc.health.v1.HealthCheck"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3

MAX_ROWS, MAX_BODY = 64, 100_000


class Rpc:
    """A client that sends and receives messages of the server's own classes."""

    def __init__(self, address: str) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(address, options=options)

    def bytes(self, method: str, content: bytes, **more: Any) -> bytes:
        call = self.channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
        answer: bytes = call(content, timeout=PATIENCE, **more)
        return answer

    def call(self, method: str, *, metadata: Any = None, **fields: Any) -> Any:
        request = message_class(f"inference.{method}Request")(**fields)
        answer = self.bytes(method, request.SerializeToString(), metadata=metadata)
        return message_class(f"inference.{method}Response").FromString(answer)

    def infer(self, images: NDArray[np.uint8], **fields: Any) -> Any:
        return self.call("ModelInfer", **raw(images) | fields)

    def health(self, service: str = "") -> int:
        call = self.channel.unary_unary("/grpc.health.v1.Health/Check")
        answer = call(message_class(f"{HEALTH}Request")(service=service).SerializeToString())
        status: int = message_class(f"{HEALTH}Response").FromString(answer).status
        return status


@contextlib.contextmanager
def client(server: Server) -> Iterator[Rpc]:
    rpc = Rpc(server.wait_for("ready")["grpc"])
    with rpc.channel:
        yield rpc


@contextlib.contextmanager
def refusal() -> Iterator[list[str]]:
    """What a call is refused with: the name of the code, and the sentence."""
    said: list[str] = []
    with pytest.raises(grpc.RpcError) as caught:
        yield said
    error: Any = caught.value
    said += [error.code().name, error.details()]


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Server]:
    limits = ("--max-request-images", str(MAX_ROWS), "--max-body", str(MAX_BODY))
    with running(model, "--grpc-port", "0", *limits) as server:
        yield server


@pytest.fixture(scope="module")
def impatient(model: Path) -> Iterator[Server]:
    """A server that waits for a client's message, and for its greeting, for a second."""
    with running(
        model, "--grpc-port", "0", "--header-timeout", "1", "--body-timeout", "1"
    ) as server:
        yield server


@pytest.fixture(scope="module")
def rpc(server: Server) -> Iterator[Rpc]:
    with client(server) as rpc:
        yield rpc


def image(seed: int = 0, rows: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (rows, 28, 28), np.uint8)


def tensor(rows: int = 1, **more: Any) -> dict[str, Any]:
    return {"name": "image", "datatype": "UINT8", "shape": [rows, 28, 28]} | more


def raw(images: NDArray[np.uint8]) -> dict[str, Any]:
    """The fields of a request with raw bytes."""
    inputs = [tensor(len(images))]
    return {"model_name": "mnist_sgd", "inputs": inputs, "raw_input_contents": [images.tobytes()]}


def over_http(server: Server, header: dict[str, Any], content: bytes = b"") -> Any:
    text = json.dumps(header).encode()
    reply = server.post(INFER, text + content, {"Inference-Header-Content-Length": str(len(text))})
    if reply.status != 200:
        return reply
    end = int(reply.headers.get("inference-header-content-length", len(reply.body)))
    return reply.body[end:]


# The protocol.


def test_the_fields_have_the_numbers_of_the_specification() -> None:
    numbers = {
        "inference.ModelInferRequest": "model_name=1 model_version=2 id=3 parameters=4 inputs=5 "
        "outputs=6 raw_input_contents=7",
        "inference.ModelInferRequest.InferInputTensor": "name=1 datatype=2 shape=3 parameters=4 "
        "contents=5",
        "inference.ModelInferRequest.InferRequestedOutputTensor": "name=1 parameters=2",
        "inference.ModelInferResponse": "model_name=1 model_version=2 id=3 parameters=4 "
        "outputs=5 raw_output_contents=6",
        "inference.ModelInferResponse.InferOutputTensor": "name=1 datatype=2 shape=3 "
        "parameters=4 contents=5",
        "inference.ModelMetadataResponse": "name=1 versions=2 platform=3 inputs=4 outputs=5",
        "inference.ServerMetadataResponse": "name=1 version=2 extensions=3",
        "inference.InferParameter": "bool_param=1 int64_param=2 string_param=3 double_param=4 "
        "uint64_param=5",
        "inference.InferTensorContents": "bool_contents=1 int_contents=2 int64_contents=3 "
        "uint_contents=4 uint64_contents=5 fp32_contents=6 fp64_contents=7 bytes_contents=8",
    }
    for name, expected in numbers.items():
        fields = message_class(name).DESCRIPTOR.fields
        assert " ".join(f"{field.name}={field.number}" for field in fields) == expected


def test_the_compiled_messages_are_those_of_the_proto_files() -> None:
    tool = Path(__file__).parents[3] / "tools" / "make_proto.py"
    done = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "messages.protoset is up to date\n"), done


def test_the_server_and_the_model_are_ready_and_say_what_they_are(server: Server, rpc: Rpc) -> None:
    version = server.get("/v2/models/mnist_sgd").json["versions"][0]
    assert rpc.call("ServerLive").live
    assert rpc.call("ServerReady").ready
    assert rpc.call("ModelReady", name="mnist_sgd").ready
    assert rpc.call("ModelReady", name="mnist_sgd", version=version).ready
    said = rpc.call("ServerMetadata")
    assert {
        "name": said.name,
        "version": said.version,
        "extensions": list(said.extensions),
    } == server.get("/v2").json
    model = rpc.call("ModelMetadata", name="mnist_sgd", version=version)
    (given,), (taken,) = model.inputs, model.outputs
    assert (model.name, list(model.versions)) == ("mnist_sgd", [version])
    assert model.platform == "onnxruntime_onnx"
    assert (given.name, given.datatype, list(given.shape)) == ("image", "UINT8", [-1, 28, 28])
    assert (taken.name, taken.datatype, list(taken.shape)) == ("probability", "FP32", [-1, 1])


def test_health_checks_know_the_server_and_its_service(rpc: Rpc) -> None:
    assert rpc.health() == rpc.health("inference.GRPCInferenceService") == SERVING
    with refusal() as said:
        rpc.health("somebody.Else")
    assert said == ["NOT_FOUND", "there is no such service here"]
    watch = rpc.channel.unary_stream("/grpc.health.v1.Health/Watch")
    request = message_class(f"{HEALTH}Request")(service="somebody.Else").SerializeToString()
    stream = watch(request, timeout=PATIENCE)
    assert message_class(f"{HEALTH}Response").FromString(next(stream)).status == SERVICE_UNKNOWN
    stream.cancel()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, MAX_ROWS))
def test_the_answers_are_those_of_http_bit_for_bit(
    server: Server, rpc: Rpc, seed: int, rows: int
) -> None:
    images = image(seed, rows)
    size = {"binary_data_size": images.size}
    header = {"inputs": [tensor(rows, parameters=size)], "parameters": {"binary_data_output": True}}
    expected = over_http(server, header, images.tobytes())
    answer = rpc.infer(images, id="7")
    (output,) = answer.outputs
    assert (answer.model_name, answer.id) == ("mnist_sgd", "7")
    assert (output.name, output.datatype) == ("probability", "FP32")
    assert list(output.shape) == [rows, 1]
    assert list(answer.raw_output_contents) == [expected]
    assert not output.HasField("contents")

    inputs = [tensor(rows, contents={"uint_contents": images.ravel().tolist()})]
    typed = rpc.call("ModelInfer", model_name="mnist_sgd", inputs=inputs)
    assert struct.pack(f"<{rows}f", *typed.outputs[0].contents.fp32_contents) == expected
    assert not typed.raw_output_contents


def test_the_output_may_be_asked_for_and_the_version_given(server: Server, rpc: Rpc) -> None:
    version = server.get("/v2/models/mnist_sgd").json["versions"][0]
    answer = rpc.infer(image(), model_version=version, outputs=[{"name": "probability"}])
    assert answer.model_version == version
    assert answer.id == ""
    assert answer.raw_output_contents == rpc.infer(image()).raw_output_contents


# What is refused.

REFUSED_BY_BOTH: dict[str, dict[str, Any]] = {
    "no rows": {"inputs": [tensor(0)]},
    "negative rows": {"inputs": [tensor(-1)]},
    "too many rows": {"inputs": [tensor(MAX_ROWS + 1)]},
    "overflow": {"inputs": [tensor(2**62)]},
    "rank": {"inputs": [tensor(shape=[784])]},
    "no shape": {"inputs": [tensor(shape=[])]},
    "long shape": {"inputs": [tensor(shape=[1] * 40)]},
    "sides": {"inputs": [tensor(shape=[1, 28, 27])]},
    "datatype": {"inputs": [tensor(datatype="FP32")]},
    "unknown datatype": {"inputs": [tensor(datatype="uint8")]},
    "misnamed": {"inputs": [tensor(name="x\n" * 50)]},
    "twice": {"inputs": [tensor(), tensor()]},
    "no input": {"inputs": []},
    "unknown output": {"inputs": [tensor()], "outputs": [{"name": "logit"}]},
    "output twice": {"inputs": [tensor()], "outputs": [{"name": "probability"}] * 2},
}


@pytest.mark.parametrize("fields", REFUSED_BY_BOTH.values(), ids=REFUSED_BY_BOTH)
def test_what_http_refuses_is_refused_with_the_same_sentence(
    server: Server, rpc: Rpc, fields: dict[str, Any]
) -> None:
    inputs: list[dict[str, Any]] = fields["inputs"]
    sizes = {"parameters": {"binary_data_size": 784}}
    header = fields | {"inputs": [one | sizes for one in inputs]}
    reply = over_http(server, header, bytes(784 * len(inputs)))
    with refusal() as said:
        rpc.infer(image(), **fields | {"raw_input_contents": [bytes(784)] * len(inputs)})
    assert said == ["INVALID_ARGUMENT", reply.error]
    assert rpc.infer(image()).raw_output_contents


@pytest.mark.parametrize("name", ["classification", "shared_memory_region"])
def test_unsupported_parameters_are_refused_as_by_http(server: Server, rpc: Rpc, name: str) -> None:
    reply = over_http(server, {"inputs": [tensor(parameters={name: 1, "binary_data_size": 784})]})
    with refusal() as said:
        rpc.infer(image(), inputs=[tensor(parameters={name: {"int64_param": 1}})])
    assert said == ["INVALID_ARGUMENT", reply.error]


MANY = {str(number): {"bool_param": True} for number in range(65)}
SHORT = (
    "an input of the shape [1, 28, 28] needs as many bytes in raw_input_contents or numbers in "
    "uint_contents, got "
)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "short": ({"raw_input_contents": [bytes(783)]}, SHORT + "783"),
    "long": ({"raw_input_contents": [bytes(785)]}, SHORT + "785"),
    "nothing": ({"raw_input_contents": []}, SHORT + "0"),
    "one tensor too many": (
        {"raw_input_contents": [bytes(784)] * 2},
        "raw_input_contents must have one entry an input, got 2 for 1",
    ),
    "raw and contents": (
        {"inputs": [tensor(contents={"uint_contents": [0] * 784})]},
        "contents must be empty where raw_input_contents is given",
    ),
    "above 255": (
        {
            "raw_input_contents": [],
            "inputs": [tensor(contents={"uint_contents": [0] * 783 + [256]})],
        },
        "data of 'image' must be whole numbers from 0 to 255, got 256",
    ),
    "too few numbers": (
        {"raw_input_contents": [], "inputs": [tensor(contents={"uint_contents": [0]})]},
        SHORT + "1",
    ),
    "numbers of another type": (
        {"raw_input_contents": [], "inputs": [tensor(contents={"fp32_contents": [0.0] * 784})]},
        SHORT + "0",
    ),
    "numbers of two types": (
        {
            "raw_input_contents": [],
            "inputs": [tensor(contents={"int_contents": [1], "uint_contents": [0] * 784})],
        },
        "contents of UINT8 are uint_contents alone, got int_contents, uint_contents",
    ),
    "many inputs": (
        {"inputs": [tensor()] * 65},
        "at most 64 inputs are allowed in one place, got 65",
    ),
    "many parameters": (
        {"parameters": MANY},
        "at most 64 parameters are allowed in one place, got 65",
    ),
    "many outputs": (
        {"outputs": [{"name": "probability"}] * 65},
        "at most 64 outputs are allowed in one place, got 65",
    ),
}


@pytest.mark.parametrize(("fields", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_grpc_alone_can_get_wrong_is_refused(
    rpc: Rpc, fields: dict[str, Any], sentence: str
) -> None:
    with refusal() as said:
        rpc.infer(image(), **fields)
    assert said == ["INVALID_ARGUMENT", sentence]
    assert rpc.infer(image()).raw_output_contents


@pytest.mark.parametrize(
    "method", ["ModelInfer", "ModelMetadata", "ModelConfig", "ModelStatistics"]
)
def test_another_model_or_version_is_not_found(rpc: Rpc, method: str) -> None:
    name = "model_name" if method == "ModelInfer" else "name"
    version = "model_version" if method == "ModelInfer" else "version"
    known = r" is unknown, the model is 'mnist_sgd', of version '[0-9a-f]{12}'"
    with refusal() as said:
        rpc.call(method, **{name: "../mnist_sgd"})
    assert said[0] == "NOT_FOUND"
    assert re.fullmatch(r"'\.\./mnist_sgd'" + known, said[1])
    with refusal() as said:
        rpc.call(method, **{name: "mnist_sgd", version: "9"})
    assert said[0] == "NOT_FOUND"
    assert re.fullmatch(r"'mnist_sgd', of version '9'," + known, said[1])


@pytest.mark.parametrize("fields", [{"name": "other"}, {"name": "mnist_sgd", "version": "9"}, {}])
def test_another_model_or_version_is_not_ready(rpc: Rpc, fields: dict[str, str]) -> None:
    assert rpc.call("ModelReady", **fields).ready is False


@pytest.mark.parametrize("identity", ["x" * 10_000, "a\tb\r\nc: d", "\0\x1b[31m\u2028"])
def test_any_id_comes_back(rpc: Rpc, identity: str) -> None:
    assert rpc.infer(image(), id=identity).id == identity


@settings(max_examples=100, deadline=None)
@given(content=st.binary(min_size=1, max_size=300))
def test_bytes_that_are_no_request_are_refused_and_harm_nothing(rpc: Rpc, content: bytes) -> None:
    with refusal() as said:
        rpc.bytes("ModelInfer", content)
    assert said[0] in ("INVALID_ARGUMENT", "NOT_FOUND")
    assert said[1]


def test_damaged_messages_are_refused_by_name(rpc: Rpc) -> None:
    for method in ("ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelInfer"):
        with refusal() as said:
            rpc.bytes(method, b"\xff\xff")
        assert said == ["INVALID_ARGUMENT", f"the bytes are no message inference.{method}Request"]


def test_sockets_that_speak_something_else_or_nothing_are_closed(impatient: Server) -> None:
    host, _, port = impatient.wait_for("ready")["grpc"].rpartition(":")
    for nonsense in (b"", b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\xff" * 9):
        with socket.create_connection((host, int(port)), PATIENCE) as stranger:
            stranger.sendall(nonsense)
            with contextlib.suppress(ConnectionResetError):
                while stranger.recv(1000):
                    pass
    with client(impatient) as rpc:
        assert rpc.health() == SERVING


def test_a_call_whose_message_does_not_come_is_ended(impatient: Server) -> None:
    counter = 'mnist_sgd_requests_total{route="grpc",status="408"}'
    before = again_if_late(1, lambda: impatient.metric(counter))
    never = threading.Event()

    def silent() -> Iterator[bytes]:
        never.wait(PATIENCE)
        yield b""

    with client(impatient) as rpc:
        call = rpc.channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
        try:
            with refusal() as said:
                call(silent(), timeout=PATIENCE)
        finally:
            never.set()
    assert said == ["DEADLINE_EXCEEDED", "the message did not arrive within 1 s"]
    assert again_if_late(1, lambda: impatient.metric(counter)) == before + 1


def test_a_call_without_a_message_is_refused(rpc: Rpc) -> None:
    call = rpc.channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
    with refusal() as said:
        call(iter([]), timeout=PATIENCE)
    assert said == ["INVALID_ARGUMENT", "the call has no message"]


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_message_over_the_limit_is_refused_packed_or_not(
    server: Server, rpc: Rpc, compression: Any
) -> None:
    with server.watched_memory() as more:
        with refusal() as said:
            rpc.bytes("ModelInfer", bytes(100 * 2**20), compression=compression)
        assert said[0] == "RESOURCE_EXHAUSTED"
        assert "larger than max" in said[1]
        assert more() < 32 * 2**20
    assert rpc.infer(image()).raw_output_contents


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_compressed_request_is_answered_the_same(rpc: Rpc, compression: Any) -> None:
    content = message_class("inference.ModelInferRequest")(**raw(image())).SerializeToString()
    packed = rpc.bytes("ModelInfer", content, compression=compression)
    assert packed == rpc.bytes("ModelInfer", content)


# With other requests.


def test_answers_to_many_clients_of_both_kinds_are_never_swapped(server: Server, rpc: Rpc) -> None:
    names = [f"{kind} {number}" for kind in ("grpc", "http") for number in range(8)]
    images = {name: image(seed, 40) for seed, name in enumerate(names)}
    each = {
        name: np.frombuffer(rpc.infer(some).raw_output_contents[0], np.float32)
        for name, some in images.items()
    }
    distinct = np.unique(np.concatenate(list(each.values())))
    assert len(distinct) == len(names) * 40

    def ask(name: str) -> None:
        with client(server) as own, server.connect() as connection:
            for number in range(40):
                one, identity = images[name][number : number + 1], f"{name}-{number}"
                if name.startswith("grpc"):
                    answer = own.infer(one, id=identity)
                    assert answer.id == identity
                    (bits,) = answer.raw_output_contents
                    probability = float(np.frombuffer(bits, np.float32)[0])
                else:
                    inputs = [tensor(data=one.ravel().tolist())]
                    body = json.dumps({"id": identity, "inputs": inputs}).encode()
                    reply = connection.ask("POST", INFER, body).json
                    assert reply["id"] == identity
                    (probability,) = reply["outputs"][0]["data"]
                nearest = distinct[np.abs(distinct - probability).argmin()]
                assert nearest == each[name][number]

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(ask, names))


def test_a_bad_request_among_good_ones_fails_alone(rpc: Rpc) -> None:
    call = rpc.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    request = message_class("inference.ModelInferRequest")
    good = request(**raw(image(1))).SerializeToString()
    bad = request(**raw(image(1)) | {"inputs": [tensor(datatype="FP32")]}).SerializeToString()
    futures = [call.future(bad if n % 5 == 0 else good, timeout=PATIENCE) for n in range(50)]
    failed = [n for n, future in enumerate(futures) if future.exception() is not None]
    assert failed == list(range(0, 50, 5))
    answers = [future.result() for n, future in enumerate(futures) if n not in failed]
    read = message_class("inference.ModelInferResponse").FromString
    values = [np.frombuffer(read(a).raw_output_contents[0], np.float32)[0] for a in answers]
    np.testing.assert_allclose(values, values[0], rtol=1e-5)


def test_a_call_is_told_the_id_under_which_it_is_logged(rpc: Rpc) -> None:
    """The client's own if it has one, as over HTTP; else only where it failed."""
    call = rpc.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    good = message_class("inference.ModelInferRequest")(**raw(image())).SerializeToString()

    def told(content: bytes, *given: str) -> str | None:
        metadata = [("x-request-id", one) for one in given]
        future = call.future(content, timeout=PATIENCE, metadata=metadata)
        assert (future.exception() is None) == (content == good)
        found: str | None = dict(future.trailing_metadata()).get("x-request-id")
        return found

    assert told(good, "mine-1") == told(b"\xff", "mine-1") == "mine-1"
    assert told(good) is None
    for unusable in ((), ("not an id",)):
        assert re.fullmatch("[0-9a-f]+-[0-9a-f]+", told(b"\xff", *unusable) or "")


def test_calls_are_counted_under_one_route(server: Server, rpc: Rpc) -> None:
    series = {
        status: f'mnist_sgd_requests_total{{route="grpc",status="{status}"}}'
        for status in (200, 400, 404)
    }
    before = {status: server.metric(name) for status, name in series.items()}
    rpc.infer(image())
    rpc.call("ServerLive")
    wrong: list[dict[str, Any]] = [{"inputs": []}, {"model_name": "?"}]
    for fields in wrong:
        with refusal():
            rpc.infer(image(), **fields)
    after = {status: server.metric(name) for status, name in series.items()}
    assert {status: after[status] - before[status] for status in series} == {200: 2, 400: 1, 404: 1}


# A server within the test, whose model does as told.


class Told:
    """In the place of a Batcher."""

    model: Any = None

    def __init__(self, answer: Callable[[], Awaitable[NDArray[np.float32]]]) -> None:
        self.answer_of = answer

    def check_capacity(self) -> None:
        """There is always room."""

    async def infer(
        self, images: NDArray[np.uint8], is_disconnected: Callable[[], bool]
    ) -> tuple[Model, NDArray[np.float32]]:
        return self.model, await self.answer_of()


@contextlib.asynccontextmanager
async def told(model: Path, answer: Any, metrics: Metrics) -> Any:
    """A server with that answer, and a channel to it."""
    options = Settings(model=model, grpc_port=0, body_timeout=2 * PATIENCE)
    models = ModelManager(model, lambda result, sentence: None)
    told: Any = Told(answer)
    told.model = models.model
    service = InferenceService(options, "0", models, told, metrics)
    rpc = RpcServer(options, service, RequestLog(metrics, Log(), False))
    async with grpc.aio.insecure_channel(await rpc.start()) as channel:
        yield rpc, channel
        await rpc.stop(PATIENCE)


def inference(channel: Any) -> Any:
    """A call that has begun, to be awaited."""
    call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    content = message_class("inference.ModelInferRequest")(**raw(image())).SerializeToString()
    return call(content, timeout=PATIENCE)


@pytest.mark.parametrize(
    ("error", "code", "status", "sentence"),
    [
        (QueueFull(), "UNAVAILABLE", 503, "too many images are waiting, try again soon"),
        (DeadlineExceeded(), "DEADLINE_EXCEEDED", 504, "the request waited too long for its turn"),
        (OSError("/secret"), "INTERNAL", 500, "the server failed to answer; its log says why"),
    ],
)
def test_failures_of_the_server_have_codes_of_their_own(
    model: Path,
    capfd: pytest.CaptureFixture[str],
    error: Exception,
    code: str,
    status: int,
    sentence: str,
) -> None:
    metrics = Metrics(shared_memory(1))

    async def fail() -> NDArray[np.float32]:
        raise error

    async def check() -> None:
        async with told(model, fail, metrics) as (_, channel):
            with refusal() as said:
                await inference(channel)
            assert said == [code, sentence]

    asyncio.run(check())
    assert f'{{route="grpc",status="{status}"}} 1' in metrics.text("m", "v").decode()
    assert metrics.inferences().fail[0] == 1
    assert ("/secret" in capfd.readouterr().err) == (status == 500)


def test_a_call_that_its_client_gives_up_is_cancelled_and_counted(model: Path) -> None:
    metrics = Metrics(shared_memory(1))

    async def check() -> None:
        begun, cancelled = asyncio.Event(), asyncio.Event()

        async def wait() -> NDArray[np.float32]:
            begun.set()
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                cancelled.set()
                raise
            raise AssertionError("it was not cancelled")

        async with told(model, wait, metrics) as (_, channel):
            running = inference(channel)
            await asyncio.wait_for(begun.wait(), PATIENCE)
            running.cancel()
            await asyncio.wait_for(cancelled.wait(), PATIENCE)

    asyncio.run(check())
    assert '{route="grpc",status="499"} 1' in metrics.text("m", "v").decode()


def test_what_is_in_flight_at_the_end_is_answered(model: Path) -> None:
    async def check() -> None:
        begun, end = asyncio.Event(), asyncio.Event()

        async def wait() -> NDArray[np.float32]:
            begun.set()
            await end.wait()
            return np.array([0.25], np.float32)

        async with told(model, wait, Metrics(shared_memory(1))) as (rpc, channel):
            running = inference(channel)
            await asyncio.wait_for(begun.wait(), PATIENCE)
            stopping = asyncio.create_task(rpc.stop(PATIENCE))
            await asyncio.sleep(0.05)
            assert not stopping.done()
            end.set()
            answer = message_class("inference.ModelInferResponse").FromString(await running)
            assert answer.raw_output_contents[0] == struct.pack("<f", 0.25)
            await asyncio.wait_for(stopping, PATIENCE)

    asyncio.run(check())


def test_calls_without_their_message_do_not_hold_the_end_up(model: Path) -> None:
    async def check() -> None:
        async with told(model, None, Metrics(shared_memory(1))) as (rpc, channel):
            silent = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")()
            await channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"")
            await asyncio.wait_for(rpc.stop(2 * PATIENCE), PATIENCE)
            with refusal() as said:
                await silent
            assert said == ["UNAVAILABLE", "the server is shutting down"]

    asyncio.run(check())


def test_one_client_cannot_take_all_places_for_watching(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more ends the oldest of the connection that has the most, if that is not its own."""
    monkeypatch.setattr("mnist_sgd_serve.rpc.health.MAX_WATCHING", 4)
    own = [("grpc.use_local_subchannel_pool", 1)]
    read = message_class(f"{HEALTH}Response").FromString

    async def check() -> None:
        async with told(model, None, Metrics(shared_memory(1))) as (rpc, greedy):
            address = f"127.0.0.1:{rpc.port}"

            def begin(channel: Any) -> Any:
                return channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=PATIENCE)

            async def watch(channel: Any) -> Any:
                call = begin(channel)
                return call, await call.read()

            taken = [await watch(greedy) for _ in range(4)]
            assert await code(begin(greedy)) == "RESOURCE_EXHAUSTED"
            async with (
                grpc.aio.insecure_channel(address, options=own) as first,
                grpc.aio.insecure_channel(address, options=own) as second,
            ):
                others = [await watch(first), await watch(second)]
                for ended, _ in taken[:2]:
                    assert await code(ended) == "RESOURCE_EXHAUSTED"
                    assert await ended.details() == "1024 calls watch the health already"
                assert await code(begin(greedy)) == "RESOURCE_EXHAUSTED"
                rpc.drain()
                for call, answer in (*taken[2:], *others):
                    assert read(answer).status == SERVING
                    assert read(await call.read()).status == NOT_SERVING
                    assert await code(call) == "OK"

    async def code(call: Any) -> str:
        name: str = (await call.code()).name
        return name

    asyncio.run(check())


# Processes.


def test_after_sigterm_it_says_not_ready_and_answers_what_comes(model: Path) -> None:
    """For an hour here, so that no machine is too slow; a second signal ends it."""
    with launch(model, "--grpc-port", "0", "--shutdown-delay", "3600") as server:
        server.wait_until_ready()
        with client(server) as rpc:
            watch = rpc.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=PATIENCE)
            read = message_class(f"{HEALTH}Response").FromString
            assert read(next(watch)).status == SERVING
            server.process.send_signal(signal.SIGTERM)
            assert [read(content).status for content in watch] == [NOT_SERVING]
            assert rpc.health() == NOT_SERVING
            assert not rpc.call("ServerReady").ready
            assert not rpc.call("ModelReady", name="mnist_sgd").ready
            assert rpc.call("ServerLive").live
            (entry,) = rpc.call("RepositoryIndex").models
            assert (entry.state, entry.reason) == ("UNAVAILABLE", "the server is shutting down")
            assert not rpc.call("RepositoryIndex", ready=True).models
            assert rpc.infer(image()).raw_output_contents
            assert server.stop() == 1


def test_sigterm_ends_it_with_0_and_nobody_listens_any_more(model: Path) -> None:
    with launch(model, "--grpc-port", "0", "--shutdown-delay", "0.5") as server:
        server.wait_until_ready()
        with client(server) as rpc:
            assert rpc.call("ServerLive").live
            assert server.stop() == 0
            with refusal() as said:
                rpc.call("ServerLive")
            assert said[0] == "UNAVAILABLE"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_under_16_clients_loses_no_call(workers: str, model: Path) -> None:
    """Half of them connect anew for each call; the others have one on the way at any time."""
    patient = ("--worker-timeout", "3600", "--workers", workers, "--shutdown-delay", "0.2")
    with launch(model, "--grpc-port", "0", *patient) as server:
        server.wait_until_ready()
        server.wait_for("ready", int(workers))
        outcomes = asyncio.run(end_under_load(server, 16, seconds=0.1, over="grpc"))
        assert set(outcomes) == {"200"}
        assert server.process.wait(PATIENCE) == 0
        assert {event["event"] for event in server.events()} == {"ready", "draining", "stopped"}


PATIENT = """
import sys
from mnist_sgd_serve import command, server
from mnist_sgd_serve.rpc import calls, server as rpc
server.GRACE_SECONDS = server.LAST_SECONDS = 3600
rpc.QUIET_SECONDS = rpc.MAX_QUIET_SECONDS = calls.LAST_SECONDS = 3600
sys.exit(command.main(sys.argv[1:]))
"""
"""A server that waits an hour for calls that are on their way at its end."""


def test_a_call_that_was_on_its_way_when_the_server_said_goodbye_is_answered(model: Path) -> None:
    options = ("--grpc-port", "0", "--shutdown-delay", "0")
    with launch(model, *options, program=("-c", PATIENT)) as server:
        server.wait_until_ready()
        host, _, port = server.wait_for("ready")["grpc"].rpartition(":")
        with Http2(host, int(port)) as client:
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: client.pumped() and client.last is not None)
            assert client.last == 2**31 - 1  # so every call that a client can make
            call = client.call("/inference.GRPCInferenceService/ModelInfer")
            client.send({call: struct.pack(">BI", 0, len(CALL)) + CALL})
            wait_until(lambda: client.pumped() and call in client.ended)
            wait_until(lambda: client.pumped() and call in client.answered)


def test_a_client_that_does_not_read_is_not_told_of_the_end_within_an_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            connection, _ = listener.accept()
            with connection:
                connection.setblocking(False)
                sent = 0
                with contextlib.suppress(BlockingIOError):
                    while True:
                        sent += connection.send(bytes(2**16))
                assert say_goodbye(port) == 0
                while sent:
                    sent -= len(client.recv(2**16))
                wait_until(lambda: select.select([], [connection], [], 0)[1])
                assert say_goodbye(port) == 1
            frame = client.makefile("rb").read()
            assert frame == b"\0\0\x08\7\0\0\0\0\0\x7f\xff\xff\xff\0\0\0\0"


def test_with_a_token_only_health_is_open(model: Path) -> None:
    with running(model, "--grpc-port", "0", "--token", "sesame") as server, client(server) as rpc:
        assert rpc.health() == SERVING
        assert rpc.call("ServerLive").live
        assert rpc.call("ServerReady").ready
        for given in (None, [("authorization", "Bearer wrong")], [("authorization", "sesame")]):
            for method in ("ServerMetadata", "ModelReady", "ModelMetadata", "ModelInfer"):
                with refusal() as said:
                    rpc.call(method, metadata=given)
                sentence = server.get("/v2").error
                assert said == ["UNAUTHENTICATED", sentence]
        right = [("authorization", "Bearer sesame")]
        assert rpc.call("ModelReady", name="mnist_sgd", metadata=right).ready


def test_workers_share_the_port_and_it_is_taken_again_after_them(model: Path) -> None:
    arguments = ("--workers", "2", "--access-log")
    with contextlib.ExitStack() as stack:
        with running(model, "--grpc-port", "0", *arguments) as server:
            addresses = {server.wait_for("ready", number)["grpc"] for number in (1, 2)}
            (address,) = addresses
            port = address.rpartition(":")[2]
            stack.enter_context(reserved_port(int(port)))
            for _ in range(32):  # the kernel chooses by the client's port: all to one in 2**31
                with client(server) as rpc:
                    rpc.infer(image())
            assert {event["worker"] for event in server.events("request")} == {0, 1}
        with running(model, "--grpc-port", port) as server:
            assert server.wait_for("ready")["grpc"] == address
            with launch(model, "--grpc-port", port) as second:
                assert second.process.wait(PATIENCE) == 2
                said = f"mnist_sgd_serve: cannot listen on {address}: Address already in use; "
                assert second.log == f"{said}choose another with --grpc-port\n"
            with client(server) as rpc:
                assert rpc.infer(image()).raw_output_contents


def test_the_port_of_the_http_side_is_refused(model: Path) -> None:
    with (
        reserved_port() as port,
        launch(model, "--port", str(port), "--grpc-port", str(port)) as server,
    ):
        assert server.process.wait(PATIENCE) == 2
        said = f"mnist_sgd_serve: cannot listen on port {port} for gRPC: Address already in use\n"
        assert server.log == said


def test_without_the_port_nothing_of_grpc_is_imported(model: Path) -> None:
    with running(model) as server:
        maps = Path(f"/proc/{server.pid}/maps").read_text()
        assert "grpc" not in server.wait_for("ready")
    assert "onnxruntime" in maps
    assert "cygrpc" not in maps


@pytest.mark.parametrize("missing", ["grpc", "google", "google.protobuf"])
def test_without_its_packages_the_port_is_refused_in_one_line(model: Path, missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; from mnist_sgd_serve.command import main; "
        f"sys.exit(main([{str(model)!r}, '--port=0', '--grpc-port=0']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 2
    assert done.stderr == (
        "mnist_sgd_serve: the gRPC port needs the packages grpcio and protobuf: "
        "pip install 'mnist-sgd[grpc]'\n"
    )
