"""Pictures sent to /predict of a real process: what is read, what is refused, and what is said."""

import base64
import io
import select
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

import onnx_models
from mnist_sgd_serve import Metadata, Predictor
from server import INFER, RAW, Reply, Server, message, running, stopped

MODEL = onnx_models.content(onnx_models.linear())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    model = tmp_path_factory.mktemp("model") / "model.onnx"
    model.write_bytes(MODEL)
    with running(model, "--max-body", "4000000") as started:
        yield started


def seven(mode: str = "L", ink: int = 255, paper: int = 0) -> Image.Image:
    image = Image.new("L", (60, 80), paper)
    ImageDraw.Draw(image).line([(12, 15), (45, 15), (25, 65)], fill=ink, width=8)
    return image.convert(mode)


def file(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def predict(server: Server, content: bytes, kind: str = "image/png") -> Reply:
    return server.post("/predict", content, {"Content-Type": kind})


def form(*parts: tuple[str, bytes], boundary: str = "limit") -> bytes:
    """The body of a form, of parts given as what follows `form-data` and their contents."""
    lines = [
        b"--%b\r\nContent-Disposition: form-data%b\r\n\r\n%b\r\n"
        % (boundary.encode(), disposition.encode(), content)
        for disposition, content in parts
    ]
    return b"".join(lines) + b"--%b--\r\n" % boundary.encode()


def png_header(width: int, height: int) -> bytes:
    """A PNG of this size that has nothing but its header and 64 bytes of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(64))
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "status", "text"),
    [
        (b"", 400, "the image is empty: it has 0 bytes"),
        (b"nonsense", 400, "these 8 bytes are not an image"),
        (file(seven())[:60], 400, "the PNG image is damaged or cut short"),
        (file(seven(), "JPEG")[:200], 400, "the JPEG image is damaged or cut short"),
        (file(seven(), "GIF")[:40], 400, "the GIF image is damaged or cut short"),
        (file(seven("RGB"), "WEBP")[:40], 400, "the WebP image is damaged or cut short"),
        (file(seven(), "BMP")[:60], 400, "the BMP image is damaged or cut short"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", 415, "an EPS image cannot be read"),
        (file(seven(), "TIFF")[:60], 400, "the TIFF image is damaged or cut short"),
        (b"8BPS\0\1" + bytes(100), 415, "a PSD image cannot be read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "an SVG image cannot be read"),
        (file(seven(), "PPM"), 415, "a PGM image cannot be read"),
        (png_header(50_000, 50_000), 413, "the image is 50000 x 50000 pixels, at most 25000000"),
        (png_header(0, 7), 400, "the"),
        (file(Image.new("L", (40, 40), 255)), 422, "drawn"),
        (file(Image.new("L", (40, 40), 0)), 422, "drawn"),
        (file(Image.new("RGBA", (40, 40), (0, 0, 0, 0))), 422, "nothing is drawn on the image"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_picture_without_an_answer_is_refused(
    server: Server, content: bytes, status: int, text: str
) -> None:
    server.check_refusal(predict(server, content), status, text)
    body = form(('; name="image"; filename="a.png"', content))
    reply = predict(server, body, "multipart/form-data; boundary=limit")
    server.check_refusal(reply, status, text)


def test_a_pixel_bomb_costs_no_memory(server: Server) -> None:
    assert predict(server, file(seven())).status == 200
    with server.watched_memory() as more:
        for size in ((50_000, 50_000), (2**31 - 1, 2**31 - 1), (25_000_001, 1)):
            assert predict(server, png_header(*size)).status == 413
        assert more() < 4 * 2**20


@pytest.mark.parametrize("mode", ["1", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_has_the_answer_of_the_grey_version(server: Server, mode: str) -> None:
    grey = predict(server, file(seven())).json["probability"]
    wide = Image.fromarray(np.asarray(seven(), np.uint16) * 257)
    image = wide if mode == "I;16" else seven(mode)
    assert image.mode == mode
    assert predict(server, file(image)).json["probability"] == pytest.approx(grey, abs=1e-4)


def test_cmyk_and_turned_photographs_have_the_answer_of_the_grey_version(server: Server) -> None:
    grey = predict(server, file(seven(), "JPEG", quality=95)).json["probability"]
    cmyk = predict(server, file(seven("CMYK"), "JPEG", quality=95)).json["probability"]
    assert cmyk == pytest.approx(grey, abs=0.02)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    turned = seven().transpose(Image.Transpose.ROTATE_90)
    reply = predict(server, file(turned, "JPEG", quality=95, exif=exif))
    assert reply.json["probability"] == pytest.approx(grey, abs=0.02)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_answered(server: Server, kind: str) -> None:
    blank = Image.new("L", (60, 80), 0)
    options = {"lossless": True} if kind == "WEBP" else {}
    still = predict(server, file(seven(), kind, **options)).json
    moving = file(seven(), kind, save_all=True, append_images=[blank, blank], **options)
    assert predict(server, moving).json["probability"] == still["probability"]


def test_dark_ink_on_light_paper_is_recognised_and_said(server: Server) -> None:
    light, dark = (
        predict(server, file(image)).json for image in (seven(), seven(ink=0, paper=255))
    )
    assert (light["inverted"], dark["inverted"]) == (False, True)
    assert dark["probability"] == pytest.approx(light["probability"], abs=1e-4)


def test_the_answer_is_the_predictors(server: Server) -> None:
    answer = predict(server, file(seven())).json
    expected = Predictor(MODEL).predict(file(seven()))
    assert answer.pop("milliseconds") > 0
    assert answer == expected.as_dict() | {"classes": ["7", "3"], "threshold": 0.5}
    assert list(answer["probabilities"]) == ["7", "3"]
    assert answer["confidence"] == answer["probabilities"][answer["label"]]


def test_an_explanation_is_given_where_it_is_asked_for(server: Server) -> None:
    reply = server.post("/predict?explain=1", file(seven())).json
    image = np.frombuffer(base64.b64decode(reply["image"]), np.uint8).reshape(28, 28)
    assert np.array_equal(image, Predictor(MODEL).predict(file(seven())).image)
    added = np.frombuffer(base64.b64decode(reply["contributions"]), "<f4")
    assert added == pytest.approx(np.linspace(-0.02, 0.02, 784) * image.ravel() / 255, abs=1e-3)
    assert reply["occlusion"] is None
    for query in ("?explain=0", "?explain", "?" + "&" * 9000, "?explain=%ff", ""):
        assert "image" not in server.post("/predict" + query, file(seven())).json


@pytest.mark.parametrize(
    ("preprocessing", "known", "ground"),
    [("mnist", None, 0), ("fit", 200, 200), ("fit", None, 190), ("stretch", None, 190)],
)
def test_an_explanation_is_relative_to_the_paper_that_the_model_knows(
    preprocessing: str, known: int | None, ground: int, tmp_path: Path
) -> None:
    metadata = Metadata(
        classes=("7", "3"), model="linear", preprocessing=preprocessing, paper=known
    ).to_properties()
    (tmp_path / "model.onnx").write_bytes(
        onnx_models.content(onnx_models.linear(properties=metadata))
    )
    with running(tmp_path / "model.onnx") as server:
        reply = server.post("/predict?explain=1", file(seven(ink=20, paper=190))).json
    assert (reply["preparation"], reply["paper"]) == (preprocessing, known)
    image = np.frombuffer(base64.b64decode(reply["image"]), np.uint8).astype(int)
    added = np.frombuffer(base64.b64decode(reply["contributions"]), "<f4")
    assert added == pytest.approx(np.linspace(-0.02, 0.02, 784) * (image - ground) / 255, abs=1e-3)


@pytest.mark.parametrize(
    ("body", "kind", "status", "text"),
    [
        (form(('; name="image"', b"x")), "multipart/form-data", 400, "must have a boundary"),
        (b"", "multipart/form-data; boundary=", 400, "must have a boundary"),
        (b"", "multipart/form-data; boundary=" + "x" * 5000, 400, "must have a boundary"),
        (b"", "multipart/form-data; boundary=limit", 400, "the form"),
        (form(), "multipart/form-data; boundary=limit", 400, "the form"),
        (form(('; name="other"', b"x")), "multipart/form-data; boundary=limit", 400, "no file"),
        (
            form(*[('; name="a"', b"x")] * 10_000),
            "multipart/form-data; boundary=limit",
            413,
            "the form has 10000 parts, at most 16 are allowed",
        ),
        (
            form(('; name="image"; filename="x"', file(seven())))[:-30],
            "multipart/form-data; boundary=limit",
            400,
            "the form is cut short",
        ),
        (b"nonsense" * 9, "multipart/form-data; boundary=limit", 400, "the form"),
    ],
    ids=["none", "empty", "long", "nothing", "no part", "no file", "many", "cut short", "nonsense"],
)
def test_a_form_without_a_picture_is_refused(
    server: Server, body: bytes, kind: str, status: int, text: str
) -> None:
    server.check_refusal(predict(server, body, kind), status, text)


def test_a_picture_in_a_form_has_the_answer_of_the_bare_one(server: Server) -> None:
    bare = predict(server, file(seven())).json
    body = form(('; name="text"', b"hello"), ('; name="image"; filename="7.png"', file(seven())))
    sent = predict(server, body, "multipart/form-data; boundary=limit").json
    assert sent["probability"] == bare["probability"]


def test_pictures_are_decoded_beside_other_requests(server: Server) -> None:
    """Six large ones, a second of work, that came before three small requests."""
    large = message("POST", "/predict", file(seven().resize((4000, 5000))))
    with ExitStack() as stack:
        slow = [stack.enter_context(server.connect()) for _ in range(6)]
        fast = stack.enter_context(server.connect())
        for client in slow:
            client.send(large)
        for _ in range(3):
            assert fast.ask("POST", INFER, bytes(784), RAW).status == 200
        answered, _, _ = select.select([client.socket for client in slow], [], [], 0)
        assert len(answered) < len(slow)
        assert [client.reply().status for client in slow] == [200] * len(slow)


def test_more_pictures_than_can_wait_are_refused_at_once(server: Server) -> None:
    large = message("POST", "/predict", file(seven().resize((1000, 1000))))
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(100)]
        for client in clients:  # so that each is accepted
            assert client.ask("GET", "/v2/health/live").status == 200
        with stopped(server):
            for client in clients:
                client.send(large)
        replies = [client.reply() for client in clients]
    refused = [reply for reply in replies if reply.status == 503]
    assert 0 < len(refused) <= 100 - 64
    assert {reply.status for reply in replies} == {200, 503}
    for reply in refused:
        assert reply.error == "too many images are waiting, try again soon"
        assert reply.headers["retry-after"] == "1"
    server.check_good()
