"""The current model, and how another takes its place.

A new file is loaded and tried while the old model still answers, and takes over between two runs,
so no request fails. A file that cannot be used changes nothing, nor does a missing one. A model's
version is the first 12 digits of its file's SHA-256.
"""

import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.model.artifact import ArtifactError
from mnist_sgd_serve.model.bound_session import BoundSession
from mnist_sgd_serve.model.examples import Example, find_examples
from mnist_sgd_serve.model.metadata import Metadata
from mnist_sgd_serve.model.predictor import Predictor
from mnist_sgd_serve.model.reason import runtime_reason

WARM_UP = (1, 2, 16, 1)
"""Batch sizes of the runs that a model makes before it is used."""


@dataclass(frozen=True)
class Model:
    """An artifact that has been warmed up, and the example pictures next to its file."""

    predictor: Predictor
    bound: BoundSession
    version: str
    examples: tuple[Example, ...] = ()

    @property
    def metadata(self) -> Metadata:
        """What the artifact says about itself."""
        return self.predictor.metadata

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute probabilities, float32 `[N]`, of uint8 `[N, 28, 28]`; one thread at a time."""
        if len(images) == 1:
            return self.bound.run(images)
        return self.predictor.probabilities(images)


class ModelManager:
    """Holds the current model, and reloads it from its file.

    Args:
        path: of the artifact.
        on_reload: called for every new file with "loaded" or "refused", and a sentence.

    Raises:
        ArtifactError: the file cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str], on_reload: Callable[[str, str], None]) -> None:
        self.path = path
        self.on_reload = on_reload
        self._seen = self._stamp()
        self._loading = threading.Lock()
        self.model = _load(path)

    def check(self) -> None:
        """Load the file if it has changed; blocks for milliseconds."""
        if self._stamp() != self._seen:
            self.reload()

    def reload(self) -> None:
        """Load the file and let it take over, or report why it cannot."""
        with self._loading:
            self._seen = self._stamp()
            try:
                _check_regular(self.path)
                model = _load(self.path)
            except Exception as error:  # whatever is wrong with it, the old one stays
                self.on_reload("refused", f"{error}; {self.model.version} still answers")
            else:
                self.model = model
                self.on_reload("loaded", f"{os.fspath(self.path)}: {model.version} answers")

    def _stamp(self) -> tuple[int, int, int, int] | None:
        """What changes when the file is replaced or written; None while there is none.

        A pipe counts as none: reading it again would wait for somebody to write. The ctime is
        included because a copy may keep size and mtime, and a new file may get the inode number
        of the one it replaces.
        """
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _check_regular(path: str | os.PathLike[str]) -> None:
    """Check that a file can be read again; a missing one is reported when it is opened.

    Raises:
        ArtifactError: it is a pipe, a device or the like.
    """
    if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
        raise ArtifactError(f"{os.fspath(path)} is not a regular file and is read only once")


def _load(path: str | os.PathLike[str]) -> Model:
    """Load an artifact and warm it up.

    Raises:
        ArtifactError: it cannot be used, or fails on a batch.
    """
    predictor = Predictor(path)
    version = predictor.artifact.sha256[:12]
    examples = find_examples(path, predictor.metadata)
    model = Model(predictor, BoundSession(predictor.artifact.session), version, examples)
    for count in WARM_UP:
        try:
            answers = len(model.run(np.zeros((count, 28, 28), np.uint8)))
        except Exception as error:  # onnxruntime's errors share no other base class
            raise ArtifactError(
                f"{os.fspath(path)} is not a usable artifact: it does not run with {count} "
                f"images: {runtime_reason(error)}"
            ) from error
        if answers != count:
            raise ArtifactError(
                f"{os.fspath(path)} is not a usable artifact: it gave {answers} answers for "
                f"{count} images"
            )
    return model
