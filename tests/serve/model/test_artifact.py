import gzip
import io
import os
import pickle
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.numpy
from hypothesis import given, settings, strategies as st

import onnx_models
from mnist_sgd_serve.model import artifact as artifact_module
from mnist_sgd_serve.model.artifact import ArtifactError, load_artifact
from mnist_sgd_serve.model.manager import ModelManager
from mnist_sgd_serve.model.onnx_check import WireError, check_self_contained

GOOD = onnx_models.content(onnx_models.linear())


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_file_and_its_bytes_load_alike(tmp_path: Path) -> None:
    path = write(tmp_path / "model.onnx", GOOD)
    for source in (path, str(path), GOOD):
        artifact = load_artifact(source)
        assert artifact.metadata == onnx_models.METADATA
        assert artifact.content == GOOD
        assert artifact.size == len(GOOD)
        assert artifact.sha256 == sha256(GOOD).hexdigest()


def test_an_artifact_cannot_be_changed_and_prints_no_content() -> None:
    artifact = load_artifact(GOOD)
    with pytest.raises(FrozenInstanceError):
        artifact.content = b""  # type: ignore[misc]  # the point of the test
    assert len(repr(artifact)) < 500


def test_the_session_is_set_for_one_thread_and_never_spins() -> None:
    session = load_artifact(GOOD).session
    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert not options.enable_cpu_mem_arena
    assert session.get_providers() == ["CPUExecutionProvider"]


@pytest.mark.parametrize("name", onnx_models.NOT_ARTIFACTS)
def test_a_model_that_is_no_artifact_is_refused_in_one_line(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    build, message = onnx_models.NOT_ARTIFACTS[name]
    path = write(tmp_path / "model.onnx", onnx_models.content(build()))
    with pytest.raises(ArtifactError, match=message) as refusal:
        load_artifact(path)
    assert str(refusal.value).startswith(f"{path} is not a usable artifact: ")
    assert len(str(refusal.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a usable artifact: it is empty"),
        (b"<html>not a model</html>", "is not a usable artifact: it is not an ONNX model"),
        (GOOD[:2000], "is not a usable artifact: it is not an ONNX model, or is damaged or cut"),
        (b"\x08\x08", "is not a usable artifact: onnxruntime cannot load it: .* No graph"),
        (b"\x10\0\0\0ORTM" + bytes(64), "is not a usable artifact: it is not an ONNX model"),
    ],
    ids=["empty", "text", "cut short", "no graph", "onnxruntime's own format"],
)
def test_a_file_that_is_no_model_is_refused_by_name(
    content: bytes, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ArtifactError, match=r"model\.onnx " + message):
        load_artifact(write(tmp_path / "model.onnx", content))
    assert capfd.readouterr() == ("", "")


def spoiled(spoil: Callable[[onnx.ModelProto], object]) -> bytes:
    model = onnx_models.linear()
    spoil(model)
    return bytes(model.SerializeToString())


REASONS: dict[str, tuple[bytes, str]] = {
    "a newer ONNX": (
        spoiled(lambda model: setattr(model, "ir_version", 99)),
        r"FAIL: Unsupported model IR version: 99, max supported IR version: \d+",
    ),
    "newer operators": (
        spoiled(lambda model: setattr(model.opset_import[0], "version", 99)),
        r"FAIL: ONNX Runtime only \*guarantees\* .* \.\.\. .* ai\.onnx is till opset \d+\.",
    ),
    "weights cut short": (
        spoiled(lambda model: setattr(model.graph.initializer[0], "raw_data", b"abc")),
        r"FAIL: Initializer 'weights': raw_data size \(3 bytes\) does not match .*",
    ),
    "an operator with a long name": (
        spoiled(lambda model: setattr(model.graph.node[0], "op_type", "X" * 2000)),
        r"INVALID_GRAPH: This is an invalid model\. .* \.\.\. X* with domain_version of 18",
    ),
    "an operator with control characters": (
        spoiled(lambda model: setattr(model.graph.node[0], "op_type", "A\n\x1b[31mB")),
        r"INVALID_GRAPH: This is an invalid model\. .* for A \\x1b\[31mB with domain_version .*",
    ),
}


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_that_onnxruntime_gives_is_kept_and_nothing_of_its_source_code(
    name: str, tmp_path: Path
) -> None:
    content, reason = REASONS[name]
    path = write(tmp_path / "model.onnx", content)
    said = f"{re.escape(str(path))} is not a usable artifact: onnxruntime cannot load it: {reason}"
    with pytest.raises(ArtifactError, match=f"^{said}$") as refusal:
        load_artifact(path)
    text = str(refusal.value)
    assert text.isprintable()
    assert len(text) < len(str(path)) + 400
    assert "onnxruntime_src" not in text
    assert "ONNXRuntimeError" not in text
    with pytest.raises(ArtifactError, match=f"^{said}$"):
        ModelManager(path, lambda result, text: None)


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("model/data.pkl", b"")
    return content.getvalue()


OTHER_FILES: dict[str, tuple[bytes, str]] = {
    "weights": (safetensors.numpy.save({"w": np.zeros(3)}), "a weights file (safetensors)"),
    "PyTorch's": (zipped(), "a zip archive, as PyTorch's .pt and .pt2 files are"),
    "pickle": (pickle.dumps({}, 2), "a Python pickle, as old .pth and .pkl files are"),
    "gzip": (gzip.compress(GOOD), "a gzip file; unpack it first"),
    "error page": (
        b"\n<!DOCTYPE html><title>404</title>",
        "an HTML page; a download may have ended at an error page",
    ),
    "Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4438\n",
        "a Git LFS pointer; git lfs pull fetches the file",
    ),
    "JSON": (b'{"classes": ["7", "3"]}', "a JSON file"),
    "picture": (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_another_file_is_called_what_it_is_and_the_model_next_to_it_is_named(
    name: str, tmp_path: Path
) -> None:
    content, kind = OTHER_FILES[name]
    path = write(tmp_path / "three.file", content)
    said = f"{path} is not a usable artifact: it is not an ONNX model but {kind}"
    with pytest.raises(ArtifactError) as refusal:
        load_artifact(path)
    assert str(refusal.value) == said
    model = write(tmp_path / "model.onnx", GOOD)
    with pytest.raises(ArtifactError) as refusal:
        load_artifact(path)
    assert str(refusal.value) == f"{said}; the model is {model}"
    of_that_name = write(tmp_path / "three.onnx", GOOD)
    with pytest.raises(ArtifactError) as refusal:
        load_artifact(path)
    assert str(refusal.value) == f"{said}; the model is {of_that_name}"
    with pytest.raises(ArtifactError) as refusal:
        load_artifact(content)
    assert str(refusal.value) == said.replace(str(path), "the model")


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"none\.onnx cannot be read: No such file"):
        load_artifact(tmp_path / "none.onnx")
    with pytest.raises(ArtifactError, match=r"cannot be read: Is a directory$"):
        load_artifact(tmp_path)
    model = write(tmp_path / "model.onnx", GOOD)
    with pytest.raises(ArtifactError) as refusal:
        load_artifact(tmp_path)
    assert str(refusal.value) == f"{tmp_path} cannot be read: Is a directory; the model is {model}"


def test_a_file_over_the_size_cap_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact_module, "MAX_BYTES", len(GOOD))
    assert load_artifact(write(tmp_path / "model.onnx", GOOD)).size == len(GOOD)
    with pytest.raises(ArtifactError, match=f"it is larger than {len(GOOD)} bytes"):
        load_artifact(write(tmp_path / "model.onnx", GOOD + b"\0"))


def test_a_source_of_another_type_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="not int"):
        load_artifact(3)  # type: ignore[arg-type]  # the point of the test


EXTERNAL = [onnx_models.with_external_data, onnx_models.with_external_data_in_a_branch]


@pytest.mark.parametrize("build", EXTERNAL)
def test_external_data_is_refused_even_where_the_file_lies_ready(
    build: Callable[[str], onnx.ModelProto], here: Path
) -> None:
    write(here / "weights.bin", np.zeros(784, np.float32).tobytes())
    model = onnx_models.content(build("weights.bin"))
    for source in (model, write(here / "model.onnx", model)):
        with pytest.raises(ArtifactError, match="it keeps tensors in other files"):
            load_artifact(source)


def test_the_refusal_of_external_data_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the walk over the encoding onnxruntime reads the file: it must never be dropped."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "weights.bin", np.zeros(784, np.float32).tobytes())
    monkeypatch.setattr(artifact_module, "check_self_contained", lambda content: None)
    model = onnx_models.content(onnx_models.with_external_data("weights.bin"))
    answers = load_artifact(model).session.run(None, {"image": np.ones((1, 28, 28), np.uint8)})
    assert answers[0].tolist() == [[0.5]]


def varint(value: int) -> bytes:
    digits = []
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def message(number: int, content: bytes, high_bits: int = 0) -> bytes:
    return varint(number << 3 | 2 | high_bits) + varint(len(content)) + content


TENSOR = message(13, b"")
HIDDEN = [
    message(7, message(5, TENSOR)),
    message(7, message(5, varint(14 << 3) + varint(1))),
    message(7, message(5, varint(14 << 3) + varint(1 << 32 | 1))),
    message(7, message(15, message(1, TENSOR))),
    message(7, message(1, message(5, message(10, TENSOR)))),
    message(7, message(1, message(5, message(23, message(2, TENSOR))))),
    message(20, message(2, message(5, TENSOR))),
    message(25, message(11, message(5, TENSOR))),
    message(7, b"") + message(7, message(5, TENSOR)),
]


@pytest.mark.parametrize("model", HIDDEN)
def test_external_data_is_found_wherever_tensors_may_be(model: bytes) -> None:
    with pytest.raises(WireError, match="it keeps tensors in other files"):
        check_self_contained(model)


@pytest.mark.parametrize(
    "model",
    [
        message(7, message(5, TENSOR), high_bits=1 << 32),
        message(7, message(5, TENSOR), high_bits=1 << 34),
        varint(7 << 3 | 3) + message(5, TENSOR) + varint(7 << 3 | 4),
        varint(7 << 3 | 2) + varint(1 << 32 | 2) + b"\0\0",
        message(0, b""),
        b"\x80" * 11 + b"\0",
        varint(1 << 3 | 6),
    ],
)
def test_an_encoding_that_could_be_read_in_two_ways_is_refused(model: bytes) -> None:
    with pytest.raises(WireError, match="it is not an ONNX model"):
        check_self_contained(model)


def test_graphs_nested_three_thousand_deep_are_walked_without_recursion() -> None:
    """The innermost is refused for its tensor, so the walk got there."""
    model = message(5, TENSOR)
    for _ in range(3000):
        model = message(1, message(5, message(6, model)))
    with pytest.raises(WireError, match="it keeps tensors in other files"):
        check_self_contained(message(7, model))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_bytes_load_or_are_refused_and_nothing_else(data: st.DataObject) -> None:
    content = bytearray(GOOD)
    for _ in range(data.draw(st.integers(0, 3))):
        # The weights are most of the file; half of the damage goes before and after them.
        at = data.draw(st.integers(0, 400) | st.integers(0, len(GOOD) - 1))
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.just(len(GOOD)) | st.integers(0, len(GOOD)))
    try:
        artifact = load_artifact(bytes(content[:cut]))
    except ArtifactError as error:
        assert str(error).startswith("the model is not a usable artifact: ")
        assert len(str(error).splitlines()) == 1
    else:
        assert artifact.metadata.image_size == (28, 28)


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200))
def test_random_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError):
        load_artifact(content)


def test_telemetry_is_off_before_onnxruntime_is_imported_and_a_choice_is_kept(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "model.onnx", GOOD)
    code = (
        "import os, sys\n"
        "from mnist_sgd_serve.model.artifact import load_artifact\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "class Spy:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'onnxruntime': print(os.environ['ORT_DISABLE_TELEMETRY'])\n"
        "sys.meta_path.insert(0, Spy())\n"
        f"load_artifact({str(path)!r})\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment["PYTHONPATH"] = str(Path(artifact_module.__file__).parents[1])
    for given_value, expected in (({}, "1\n"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0\n")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment | given_value,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert (done.stdout, done.stderr) == (expected, "")
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
