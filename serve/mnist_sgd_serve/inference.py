"""What the server does for its clients, whatever protocol they speak.

HTTP and gRPC are adapters of one `InferenceService`: they decode a request, call the service, and
encode its response. It raises `RequestError`, which each adapter maps to a status of its own.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_sgd_serve.images.preprocessing import Preprocessed
from mnist_sgd_serve.metrics import Metrics
from mnist_sgd_serve.model.batcher import Batcher
from mnist_sgd_serve.model.manager import Model, ModelManager
from mnist_sgd_serve.process.offload import Offload
from mnist_sgd_serve.protocol import (
    InferRequest,
    InferResponse,
    Kind,
    RequestError,
    check_offered,
    model_config,
    model_metadata,
    model_statistics,
    quoted,
    server_metadata,
)
from mnist_sgd_serve.protocol.errors import QueueFull
from mnist_sgd_serve.protocol.large import LARGE
from mnist_sgd_serve.settings import Settings

MAX_HELD_BODIES = 16
"""How many of the largest bodies may be in memory at once: 256 MiB by default."""


@dataclass(slots=True)
class BodyBudget:
    """The bytes of large bodies in memory, of all protocols.

    Attributes:
        max_body: of one body.
        max_held: of all that are arriving or wait for their responses.
        held: how many there are now.
    """

    max_body: int
    max_held: int
    held: int = 0

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes fit."""
        return self.held + size <= self.max_held


class TooManyBodies(RequestError):  # noqa: N818  (it says all without "Error")
    """There is no room in the `BodyBudget`."""

    def __init__(self) -> None:
        super().__init__("too many large bodies are arriving, try again soon", Kind.OVERLOADED)


class InferenceService:
    """Answers for one model; `version` is the server's.

    Attributes:
        bodies: what may be in memory.
        draining: the server is about to end, and not ready for new requests.
    """

    def __init__(
        self,
        settings: Settings,
        version: str,
        models: ModelManager,
        batcher: Batcher[Model],
        metrics: Metrics,
    ) -> None:
        self.settings = settings
        self.name = settings.name
        self.version = version
        self.max_images = settings.max_request_images
        self.models = models
        self.batcher = batcher
        self.metrics = metrics
        self.bodies = BodyBudget(settings.max_body, MAX_HELD_BODIES * settings.max_body)
        self.draining = False
        self._offload = Offload(settings.queue_timeout)

    @property
    def model(self) -> Model:
        """The current model."""
        return self.models.model

    def check_ready(self) -> None:
        """Raise an error if the server is shutting down."""
        if self.draining:
            raise RequestError("the server is shutting down", Kind.SHUTTING_DOWN)

    def check_capacity(self) -> None:
        """Raise `QueueFull`, before a request is parsed, if its images would not be accepted."""
        try:
            self.batcher.check_capacity()
        except QueueFull:
            self.metrics.inferred("fail", 0.0)
            raise

    def has_model(self, name: str, version: str) -> bool:
        """Whether this is the current model; an empty version is any."""
        return name == self.name and version in ("", self.model.version)

    def check_model(self, name: str, version: str) -> None:
        """Raise an error if a request is not for the current model; an empty version is any."""
        if not self.has_model(name, version):
            given = f"{quoted(name)}, of version {quoted(version)}," if version else quoted(name)
            raise self.unknown_model(given)

    def unknown_model(self, given: str) -> RequestError:
        """The error for another model than the current one."""
        known = f"{self.name!r}, of version {self.model.version!r}"
        return RequestError(f"{given} is unknown, the model is {known}", Kind.NOT_FOUND)

    def unknown_path(self, path: str) -> RequestError:
        """The error for an HTTP path at which there is nothing."""
        try:
            check_offered(path)
        except RequestError as error:
            return error
        if path.startswith("/v2/models/"):
            return self.unknown_model(quoted(path))
        return RequestError("there is nothing at this path, see /openapi.json", Kind.NOT_FOUND)

    def server_metadata(self) -> dict[str, Any]:
        """The protocol's server metadata."""
        return server_metadata(self.version)

    def model_metadata(self) -> dict[str, Any]:
        """The protocol's metadata of the current model."""
        return model_metadata(self.name, self.model.version)

    def model_config(self) -> dict[str, Any]:
        """Triton's configuration of the model."""
        largest = min(self.settings.max_batch_size, self.max_images)
        return model_config(self.name, max_batch_size=largest, workers=self.settings.workers)

    def statistics(self) -> dict[str, Any]:
        """Triton's statistics of the model's requests, of all workers."""
        figures = self.metrics.inferences()
        return {"model_stats": [model_statistics(self.name, self.model.version, figures)]}

    def repository_index(self, *, ready: bool) -> list[dict[str, str]]:
        """Triton's list of the models, or of those only that are `ready`."""
        entry = {"name": self.name, "version": self.model.version}
        if not self.draining:
            return [entry | {"state": "READY", "reason": ""}]
        if ready:
            return []
        return [entry | {"state": "UNAVAILABLE", "reason": "the server is shutting down"}]

    async def parse(
        self,
        parse: Callable[[int], InferRequest],
        is_disconnected: Callable[[], bool],
        *,
        is_small: bool,
    ) -> InferRequest:
        """Parse a request: at once if that is little work, else in a thread.

        Args:
            parse: takes the largest allowed size after decompression, in bytes.
            is_disconnected: whether the client has left.
            is_small: it is little work, unless the request decompresses to more than `LARGE`.

        Raises:
            RequestError: it is invalid, or too many wait for the thread.
        """
        if is_small:
            try:
                return parse(min(LARGE, self.bodies.max_body))
            except RequestError as error:
                if error.kind is not Kind.DECOMPRESSED_TOO_LARGE:
                    raise
        return await self._offload.run(partial(parse, self.bodies.max_body), is_disconnected)

    async def infer(
        self, images: NDArray[np.uint8], request_id: str | None, is_disconnected: Callable[[], bool]
    ) -> InferResponse:
        """Compute the probabilities of a request's images, uint8 `[N, 28, 28]`.

        Raises:
            RequestError: too many images are waiting, the request waited too long, or the client
                has left.
        """
        model, probabilities = await self._run(images, is_disconnected)
        return InferResponse(self.name, model.version, request_id, probabilities)

    async def classify(
        self,
        preprocess: Callable[[str], Awaitable[Preprocessed]],
        is_disconnected: Callable[[], bool],
    ) -> tuple[Model, Preprocessed, float]:
        """Compute the probability of the positive class for a picture.

        Returns:
            The model that ran, its input, and the probability.

        Raises:
            RequestError: as `infer`.
        """
        while True:
            kind = self.model.metadata.preprocessing
            preprocessed = await preprocess(kind)
            model, probabilities = await self._run(preprocessed.image[None], is_disconnected)
            if model.metadata.preprocessing == kind:  # else the model was replaced meanwhile
                return model, preprocessed, float(probabilities[0])

    async def _run(
        self, images: NDArray[np.uint8], is_disconnected: Callable[[], bool]
    ) -> tuple[Model, NDArray[np.float32]]:
        """Run the model for a request, and count it for the statistics."""
        started, outcome = time.monotonic(), "fail"
        try:
            result = await self.batcher.infer(images, is_disconnected)
            outcome = "success"
            return result
        finally:
            self.metrics.inferred(outcome, time.monotonic() - started)
