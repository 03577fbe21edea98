"""Loads and checks an .onnx file.

The file is not trusted: it must be small enough, contain all its weights, use only ONNX's standard
operators, have the signature and metadata of an artifact, and return probabilities. Any problem is
an `ArtifactError` of one line, and nothing is printed. onnxruntime is imported at the first load,
with its telemetry off.
"""

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_sgd_serve.model.file_kinds import foreign_kind, model_beside
from mnist_sgd_serve.model.metadata import Metadata, MetadataError
from mnist_sgd_serve.model.onnx_check import WireError, check_self_contained
from mnist_sgd_serve.model.reason import one_line, runtime_reason

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MAX_BYTES = 64 * 2**20
"""The largest file that is loaded; typical artifacts have a few hundred KB."""

_FATAL = 4  # the quietest of onnxruntime's five log levels


class ArtifactError(ValueError):
    """A file is not a usable artifact; the message is one line that names it."""


@dataclass(frozen=True, eq=False)
class Artifact:
    """A loaded artifact.

    Attributes:
        session: runs the model; its `run` is thread-safe. Do not use it after a fork.
        metadata: of the file.
        content: the whole file.
    """

    session: "InferenceSession" = field(repr=False)
    metadata: Metadata
    content: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """The file's length in bytes."""
        return len(self.content)

    @cached_property
    def sha256(self) -> str:
        """The content's digest in hexadecimal."""
        import hashlib  # slow to import

        return hashlib.sha256(self.content).hexdigest()


def load_artifact(source: "str | os.PathLike[str] | bytes") -> Artifact:
    """Load an artifact from a file, or from the bytes of one.

    Raises:
        ArtifactError: it is missing, too large, damaged, or not an artifact; the message says
            which, and names the file.
    """
    name = "the model" if isinstance(source, bytes) else os.fspath(source)
    try:
        content = source if isinstance(source, bytes) else _read(source)
        if not content:
            raise ArtifactError("it is empty")
        kind = foreign_kind(content)
        if kind is not None:
            raise ArtifactError(f"it is not an ONNX model but {kind}{_hint(source)}")
        if len(content) > MAX_BYTES:
            raise ArtifactError(f"it is larger than {MAX_BYTES} bytes, the most allowed")
        check_self_contained(content)
        session = _start(content)
        _check_signature(session)
        metadata = Metadata.from_properties(session.get_modelmeta().custom_metadata_map)
        _check_answers(session)
    except UnicodeDecodeError as error:  # onnxruntime passes names and metadata on unchecked
        raise ArtifactError(f"{name} is not a usable artifact: its text is not UTF-8") from error
    except (ArtifactError, MetadataError, WireError) as error:
        raise ArtifactError(f"{name} is not a usable artifact: {one_line(error)}") from error
    except OSError as error:
        raise ArtifactError(
            f"{name} cannot be read: {error.strerror or error}{_hint(source)}"
        ) from error
    return Artifact(session, metadata, content)


def _hint(source: "str | os.PathLike[str] | bytes") -> str:
    """The end of a message about a file that is not a model: where the model is."""
    model = None if isinstance(source, bytes) else model_beside(source)
    return "" if model is None else f"; the model is {model}"


def _read(path: "str | os.PathLike[str]") -> bytes:
    """Read at most one byte more than is allowed, which reveals a larger file."""
    with open(path, "rb") as file:
        return file.read(MAX_BYTES + 1)


def _start(content: bytes) -> "InferenceSession":
    """Start a session for low latency: one thread, no busy waiting, bounded memory, no output."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read by the import
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False
    # It would keep a memory plan, with its memory, for every batch size seen: over 1 GB for some
    # hundred sizes, without being faster.
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # Else the first bytes could select onnxruntime's own format, which check_self_contained
    # cannot read.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(
            content,
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # it would print an error and retry
        )
    except Exception as error:  # onnxruntime's errors share no other base class
        raise ArtifactError(f"onnxruntime cannot load it: {runtime_reason(error)}") from error


def _check_signature(session: "InferenceSession") -> None:
    """Check names, types and shapes: `image` in, `probability` out, any number of rows."""
    _check_value("input", session.get_inputs(), "image", "tensor(uint8)", [28, 28])
    _check_value("output", session.get_outputs(), "probability", "tensor(float)", [1])


def _check_value(kind: str, values: list[Any], name: str, dtype: str, row: list[int]) -> None:
    given = [(value.name, value.type, value.shape) for value in values]
    wanted = f"{name}: {dtype} [batch, {', '.join(map(str, row))}]"
    shown = "; ".join(f"{n}: {t} {s}" for n, t, s in given)
    if len(given) != 1 or given[0][:2] != (name, dtype) or list(given[0][2][1:]) != row:
        raise ArtifactError(f"its {kind} must be {wanted}, not {shown}")
    if isinstance(given[0][2][0], int):
        raise ArtifactError(f"its {kind} must take any number of rows, not {given[0][2][0]}")


def _check_answers(session: "InferenceSession") -> None:
    """Run it once, on a black and a white image, which reveals NaN weights."""
    images = np.stack([np.zeros((28, 28), np.uint8), np.full((28, 28), 255, np.uint8)])
    try:
        (answers,) = session.run(None, {"image": images})
    except Exception as error:  # as at the load
        raise ArtifactError(f"it does not run: {runtime_reason(error)}") from error
    if answers.shape != (2, 1):
        raise ArtifactError(f"two images gave answers of shape {list(answers.shape)}, not [2, 1]")
    if not np.all((answers >= 0) & (answers <= 1)):
        raise ArtifactError(f"its answers are no probabilities: {answers.ravel().tolist()}")
