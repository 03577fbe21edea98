"""What a gRPC client may cost: messages that never come to an end, or that are built to be dear."""

import gzip
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import grpc
import numpy as np
import pytest
from hypothesis import given, strategies as st

import onnx_models
from deflate import END, blocks
from http2 import Http2, grpc_message
from mnist_sgd_serve.http.responses import STATUS
from mnist_sgd_serve.protocol import InferRequest, RequestError
from mnist_sgd_serve.protocol.large import LARGE
from mnist_sgd_serve.rpc.large import split_pixels
from mnist_sgd_serve.rpc.messages import message_class, parse, parse_small
from mnist_sgd_serve.rpc.tensors import read_infer
from request_bombs import part, tensor, varint
from server import Server, launch, running
from waiting import PATIENCE, wait_until

INFER = "/inference.GRPCInferenceService/ModelInfer"
REQUEST = message_class("inference.ModelInferRequest")
MIB = 2**20
IMAGES = np.random.default_rng(8).integers(0, 256, (600, 28, 28), np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("grpc") / "model.onnx"
    path.write_bytes(onnx_models.content(onnx_models.linear()))
    return path


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Server]:
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072"}
    with running(model, "--grpc-port", "0", environment=environment) as started:
        yield started


def connect(server: Server) -> Http2:
    host, _, port = server.wait_for("ready")["grpc"].rpartition(":")
    return Http2(host, int(port))


# Messages that do not come to an end.


def test_forty_messages_of_which_none_is_whole_take_the_memory_of_eight(server: Server) -> None:
    unfinished = grpc_message(16 * MIB - 100)[:-1]
    with server.watched_memory() as more, connect(server) as client:
        calls = [client.call(INFER) for _ in range(40)]
        client.send(dict.fromkeys(calls, unfinished), seconds=3)
        wait_until(lambda: client.pumped() and len(client.ended) >= 32)
        assert more() < 192 * MIB
    refused = 'mnist_sgd_requests_total{route="grpc",status="503"}'
    wait_until(lambda: server.metric(refused) >= 32)
    server.check_good()


def test_a_message_is_not_received_without_the_token(model: Path) -> None:
    unfinished = grpc_message(16 * MIB - 100)[:-1]
    with running(model, "--grpc-port", "0", "--token", "sesame") as server:  # noqa: SIM117
        with server.watched_memory() as more, connect(server) as client:
            calls = [client.call(INFER) for _ in range(20)]
            calls += [client.call(INFER, authorization="Bearer wrong") for _ in range(20)]
            sent = client.send(dict.fromkeys(calls, unfinished))
            assert client.ended == set(calls)
            assert sent < 40 * 2**16  # what may be sent before anybody asks for it
            assert more() < 16 * MIB


SLOW = REQUEST(
    model_name="mnist_sgd",
    inputs=[{"name": "image", "datatype": "UINT8", "shape": [1, 28, 28]}],
    raw_input_contents=[bytes(784)],
).SerializeToString()
SLOW = struct.pack(">BI", 0, len(SLOW)) + SLOW


@pytest.mark.parametrize(
    ("options", "method"),
    [
        (("--token", "sesame"), "/inference.GRPCInferenceService/ServerLive"),
        (("--token", "sesame"), "/grpc.health.v1.Health/Check"),
        ((), INFER),
    ],
    ids=["live, by a stranger", "health, by a stranger", "all calls of another connection"],
)
def test_a_client_that_sends_slowly_keeps_its_place_whatever_another_opens(
    model: Path, options: tuple[str, ...], method: str
) -> None:
    with running(model, "--grpc-port", "0", *options) as server:  # noqa: SIM117
        with connect(server) as slow, connect(server) as other:
            upload = slow.call(INFER, authorization="Bearer sesame")
            slow.send({upload: SLOW[:-1]})
            for _ in range(3):
                calls = [other.call(method) for _ in range(30)]
                wait_until(lambda: other.pumped() and len(other.ended & set(calls)) >= 22)  # noqa: B023
            assert slow.pumped()
            assert slow.ended == set()
            slow.send({upload: SLOW[-1:]})
            wait_until(lambda: slow.pumped() and upload in slow.answered)


def test_calls_without_the_token_that_send_nothing_have_two_places(model: Path) -> None:
    with running(model, "--grpc-port", "0", "--token", "sesame") as server:  # noqa: SIM117
        with connect(server) as client:
            calls = [client.call("/inference.GRPCInferenceService/ServerLive") for _ in range(9)]
            wait_until(lambda: client.pumped() and len(client.ended) == 7)
            assert client.ended == set(calls[:7])


def test_a_message_is_not_unpacked_before_it_is_asked_for(server: Server) -> None:
    """Nor then, if it is small by its kind and this one is not."""
    packed = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + blocks(0, MIB) + END + bytes(8)
    message = struct.pack(">BI", 1, len(packed)) + packed
    wrong = 'mnist_sgd_requests_total{route="grpc",status="%d"}'
    before = [server.metric(wrong % status) for status in (400, 413)]
    with connect(server) as client:
        for path in ("/inference.GRPCInferenceService/ServerLive", INFER):
            call = client.call(path, **{"grpc-encoding": "gzip"})
            client.send({call: message})
            wait_until(lambda: client.pumped() and call in client.ended)  # noqa: B023
        assert client.answered == set()
    assert [server.metric(wrong % status) for status in (400, 413)] == [one + 1 for one in before]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zlib.compress])
def test_a_small_message_may_be_compressed(pack: Callable[[bytes], bytes]) -> None:
    kind = message_class("inference.ModelReadyRequest")
    content = pack(kind(name="mnist_sgd", version="x" * 60_000).SerializeToString())
    assert parse_small(kind, content).name == "mnist_sgd"


def test_a_small_message_is_refused_if_it_is_long_compressed_or_unpacked() -> None:
    kind = message_class("inference.ModelReadyRequest")
    for content, said in (
        (gzip.compress(bytes(65_537)), "Decompressed message larger than max (65536)"),
        (
            b"\x1f\x8b" + bytes(16_383),
            "the compressed message inference.ModelReadyRequest has 16385 bytes, at most 16384 "
            "are allowed",
        ),
    ):
        with pytest.raises(RequestError, match=f"^{re.escape(said)}$") as caught:
            parse_small(kind, content)
        assert STATUS[caught.value.kind] == 413


def test_a_compressed_message_has_the_bound_and_the_code_of_another(server: Server) -> None:
    content = bytes(17 * MIB)
    address = server.wait_for("ready")["grpc"]
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options=options) as channel:
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(INFER)(content, compression=compression, timeout=PATIENCE)
            error: Any = caught.value
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "message larger than max (" in error.details()


def test_a_connection_has_a_bounded_number_of_calls(server: Server) -> None:
    max_concurrent_streams = 3
    with connect(server) as client:
        assert client.settings[max_concurrent_streams] == 128


def test_a_message_that_is_small_by_its_kind_is_refused_if_it_is_not() -> None:
    said = "the message inference.ModelReadyRequest has 65537 bytes, at most 65536 are allowed"
    with pytest.raises(RequestError, match=f"^{said}$"):
        parse_small(message_class("inference.ModelReadyRequest"), bytes(65_537))


def test_a_client_that_has_stalled_does_not_hold_the_end_up(model: Path) -> None:
    """It would answer neither that it has seen the end nor anything else."""
    with launch(model, "--grpc-port", "0", "--shutdown-delay", "0") as server:
        server.wait_until_ready()
        with connect(server) as client:
            call = client.call(INFER)
            client.send({call: grpc_message(1000)[:-1]})
            assert server.stop() == 0
        assert "cut off" not in [event["event"] for event in server.events()]


# Large messages.


def message(images: Any, **fields: Any) -> bytes:
    inputs = [{"name": "image", "datatype": "UINT8", "shape": list(images.shape)}]
    request = REQUEST(model_name="mnist_sgd", id="7", inputs=inputs, **fields)
    return bytes(request.SerializeToString())


def with_numbers(images: Any) -> bytes:
    contents = {"uint_contents": images.ravel().tolist()}
    inputs = [{"name": "image", "datatype": "UINT8", "shape": images.shape, "contents": contents}]
    return bytes(REQUEST(model_name="mnist_sgd", id="7", inputs=inputs).SerializeToString())


def read(content: bytes) -> InferRequest:
    parts = split_pixels(content)
    return read_infer(parse(REQUEST, parts.rest), max_images=16_384, parts=parts)


@pytest.mark.parametrize("numbers", [False, True], ids=["bytes", "numbers"])
def test_a_large_message_is_read_without_its_pixels_being_parsed(numbers: bool) -> None:
    content = message(IMAGES, raw_input_contents=[IMAGES.tobytes()])
    if numbers:
        content = with_numbers(IMAGES)
    parts = split_pixels(content)
    assert len(content) > LARGE
    assert len(parts.rest) < 100
    request = read(content)
    assert np.array_equal(request.images, IMAGES)
    assert (request.id, request.binary) == ("7", not numbers)


OTHER = "outside raw_input_contents or uint_contents, at most"


@pytest.mark.parametrize(
    ("inside", "after", "says"),
    [
        (b"", b"\x2a\0" * 500_000, f"the message has more than 1000 fields {OTHER} 1000 are all"),
        (b"", b"\x3a\0" * 500_000, f"the message has more than 1000 fields {OTHER} 1000 are all"),
        (b"\x22\0" * 500_000, b"", f"the message has more than 1000 fields {OTHER} 1000 are all"),
        (part(5, b"\x20\0" * 500_000), b"", f"the message has more than 1000 fields {OTHER} 1000"),
        (part(3, bytes(MIB)), b"", "the message has 10486"),
        (part(5, part(3, bytes(MIB))), b"", "the message has 10486"),
        (part(5, part(4, bytes(MIB)) * 2), b"", "raw_input_contents or uint_contents must be in"),
        (part(5, part(4, bytes(MIB)) + part(4, b"\1")), b"", "uint_contents must be in one piece"),
        (part(5, part(4, b"\x80" * MIB)), b"", "uint_contents holds what is no number"),
        (part(5, part(4, bytes(MIB) + b"\x80")), b"", "uint_contents holds what is no number"),
        (part(5, part(4, bytes(MIB) + b"\x80\2")), b"", "data of 'image' must be whole numbers fr"),
        (part(5, part(4, bytes(MIB))), part(7, b"x"), "uint_contents must be in one piece"),
        (b"", part(7, bytes(MIB)) + part(7, b""), "raw_input_contents must have one entry an inp"),
        (b"", part(7, bytes(MIB)), "an input of the shape [1, 28, 28] needs as many bytes in raw"),
        (b"", bytes(MIB), "the bytes are no message inference.ModelInferRequest"),
    ],
)
def test_a_large_message_that_is_built_to_be_dear_is_refused(
    inside: bytes, after: bytes, says: str
) -> None:
    content = part(1, b"mnist_sgd") + part(5, tensor(1, inside)) + after
    with pytest.raises(RequestError) as caught:
        read(content)
    assert str(caught.value).startswith(says)
    assert STATUS[caught.value.kind] in (400, 413)


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """Messages with some images, most of them wrong in one way or other."""
    rows = draw(st.integers(1, 4))
    pixels = IMAGES[:rows].tobytes()[: draw(st.sampled_from([None, None, -1]))]
    numbers = b"".join(map(varint, pixels))
    if draw(st.booleans()):
        strange = st.sampled_from([b"\x80\2", b"\x85\0", b"\x80", b"\xff\xff\xff\xff\x0f"])
        numbers = numbers[: len(numbers) // 2] + draw(strange) + numbers[len(numbers) // 2 + 1 :]
    kind = draw(st.sampled_from(["raw", "numbers", "both", "neither", "twice"]))
    inside, after = b"", b""
    if kind in ("numbers", "both", "twice"):
        inside = part(5, part(4, numbers) * (2 if kind == "twice" else 1))
    if kind in ("raw", "both"):
        after = part(7, pixels)
    more = st.sampled_from([b"", part(7, b""), part(5, tensor(1)), b"\xa2\1\0", part(3, b"7")])
    content = part(1, b"mnist_sgd") + part(5, tensor(rows, inside)) + after + draw(more)
    cut = draw(st.sampled_from([0, 0, 0, 1, 5]))
    return content[: len(content) - cut]


def outcome(content: bytes) -> InferRequest | str:
    """The request, or what is said of it."""
    try:
        return read(content)
    except RequestError as error:
        assert STATUS[error.kind] in (400, 413)
        return str(error)


@given(contents())
def test_what_is_taken_apart_is_what_is_read_at_once(content: bytes) -> None:
    """But for pixels in several pieces, which a large message may not have."""
    whole = outcome(content)
    with mock.patch("mnist_sgd_serve.rpc.large.LARGE", 500):
        apart = outcome(content)
    if isinstance(apart, str):
        assert isinstance(whole, str) or apart.endswith("must be in one piece")
    else:
        assert not isinstance(whole, str), whole
        assert np.array_equal(whole.images, apart.images)
        assert (whole.id, whole.binary) == (apart.id, apart.binary)
