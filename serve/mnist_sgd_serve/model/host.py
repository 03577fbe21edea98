"""The model that answers now, and how another takes its place.

A new file is loaded and tried beside the old model; only when it answers does it take over, between
two runs, so no request fails. A file that cannot be used changes nothing, nor does a missing one.
Every artifact has the first 12 digits of its SHA-256 as its version, and an answer is never given
under another version than that of the model that made it.
"""

import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.model.artifact import ArtifactError
from mnist_sgd_serve.model.bound_session import OneImage
from mnist_sgd_serve.model.metadata import Metadata
from mnist_sgd_serve.model.predictor import Predictor
from mnist_sgd_serve.model.reason import runtime_reason

if TYPE_CHECKING:
    from mnist_sgd_serve.model.batcher import Batcher

__all__ = ["Model", "ModelHost"]

WARM_UP = (1, 2, 16, 1)
"""Images in the runs that a model makes before it answers."""


@dataclass(frozen=True)
class Model:
    """An artifact that has been warmed up."""

    predictor: Predictor
    one_image: OneImage
    version: str

    @property
    def metadata(self) -> Metadata:
        """What the artifact says about itself."""
        return self.predictor.metadata

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The probabilities, float32 `[N]`, of uint8 `[N, 28, 28]`; for one thread at a time."""
        if len(images) == 1:
            return self.one_image.run(images)
        return self.predictor.probabilities(images)


class ModelHost:
    """Holds the current model of a file, and watches the file.

    Args:
        path: of the artifact.
        changed: is told of every new file: "loaded" or "refused", and a sentence.
        max_images: in one run; a request of more is run in pieces. None: there is no limit.

    Raises:
        ArtifactError: the file cannot be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        changed: Callable[[str, str], None],
        max_images: int | None = None,
    ) -> None:
        self.path = path
        self.changed = changed
        self.max_images = max_images
        self._seen = self._stamp()
        self._loading = threading.Lock()
        self.model = _load(path)

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the current model's `run` gives."""
        return self.model.run(images)

    async def answer(
        self, batcher: "Batcher", images: NDArray[np.uint8], gone: Callable[[], bool]
    ) -> tuple[Model, NDArray[np.float32]]:
        """The model, and its probabilities of a request's images.

        When another model took over while the request waited, nobody can say which of the two
        ran: the request is run once more, by the new one. A request that is run in pieces stays
        with the model of its first, so that it ends however often the file is replaced.

        Raises:
            QueueFull, DeadlineExceeded, ClientGone: as `Batcher.answer`.
        """
        if self.max_images is not None and len(images) > self.max_images:
            model = self.model
            return model, await batcher.answer(images, gone, model.run)
        while True:
            model = self.model
            probabilities = await batcher.answer(images, gone)
            if self.model is model:
                return model, probabilities

    def check(self) -> None:
        """Load the file if it is another than the one last seen. Takes milliseconds; blocks."""
        if self._stamp() != self._seen:
            self.reload()

    def reload(self) -> None:
        """Load the file and let it take over, or say why it cannot."""
        with self._loading:
            self._seen = self._stamp()
            try:
                _check_regular(self.path)
                model = _load(self.path)
            except Exception as error:  # whatever is wrong with it, the old one goes on
                self.changed("refused", f"{error}; {self.model.version} still answers")
            else:
                self.model = model
                self.changed("loaded", f"{os.fspath(self.path)}: {model.version} answers")

    def _stamp(self) -> tuple[int, int, int, int] | None:
        """What changes when the file is replaced or written; None while there is none.

        A pipe, which can be read only once, counts as none: to read it again would be to wait for
        somebody who writes.

        The time of the last change of state is among it, for a copy may keep the size and the
        time of the content, and a new file may be given the number of the one it replaces.
        """
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _check_regular(path: str | os.PathLike[str]) -> None:
    """Check that a file can be read again; one that is missing is said when it is opened.

    Raises:
        ArtifactError: it is a pipe, a device or the like.
    """
    if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
        raise ArtifactError(f"{os.fspath(path)} is not a regular file and is read only once")


def _load(path: str | os.PathLike[str]) -> Model:
    """Load an artifact and warm it up.

    Raises:
        ArtifactError: it cannot be used, or it does not answer so many images at once.
    """
    predictor = Predictor(path)
    version = predictor.artifact.sha256[:12]
    model = Model(predictor, OneImage(predictor.artifact.session), version)
    for count in WARM_UP:
        try:
            answers = len(model.run(np.zeros((count, 28, 28), np.uint8)))
        except Exception as error:  # onnxruntime has a class an error code, under Exception
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
