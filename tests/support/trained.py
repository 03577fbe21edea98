"""What the fixtures of conftest.py give, for annotations."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

Run = Callable[..., CompletedProcess[str]]


@dataclass(frozen=True)
class TrainedFiles:
    """The files that `mnist-sgd train` leaves, and what it printed."""

    folder: Path
    stdout: str

    @property
    def artifact(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def weights(self) -> Path:
        return self.folder / "model.safetensors"
