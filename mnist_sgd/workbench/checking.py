"""Checks that what was sent is a picture, in processes that can be killed.

The decoders are those of the inference server, with limits on bytes, pixels, memory and time.
"""

import asyncio
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_sgd.workbench.errors import Refusal
from mnist_sgd_serve.http.decoder import DecoderFailed
from mnist_sgd_serve.http.decoders import MAX_WAITING, Decoders
from mnist_sgd_serve.http.responses import STATUS
from mnist_sgd_serve.images.errors import ImageError
from mnist_sgd_serve.images.formats import choose_reader
from mnist_sgd_serve.logs import Log
from mnist_sgd_serve.protocol.errors import Kind, RequestError
from mnist_sgd_serve.settings import Settings

MAX_PICTURE = 32 * 2**20
"""Bytes of a picture's file."""

MAX_PIXELS, MAX_MEMORY = 100_000_000, 2**29
"""Of a picture, more than the inference server allows: these are a person's own photographs."""

_SUFFIXES = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "BMP": ".bmp",
    "GIF": ".gif",
    "WebP": ".webp",
    "TIFF": ".tif",
}


class Checker:
    """Decodes pictures in processes; for the event loop's thread.

    Args:
        processes: how many pictures at the same time.
    """

    def __init__(self, processes: int) -> None:
        settings = Settings(
            model=Path("none"),
            decoders=processes,
            max_body=MAX_PICTURE,
            max_pixels=MAX_PIXELS,
            decode_memory=MAX_MEMORY,
            decode_seconds=10.0,
            queue_timeout=60.0,
        )
        self._decoders = Decoders(settings, Log())
        self._room = asyncio.Semaphore(MAX_WAITING // 2)
        self._ready: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the processes.

        Raises:
            OSError: they cannot be started.
        """
        self._decoders.launch()
        self._ready = asyncio.create_task(self._decoders.wait_until_ready())

    async def check(self, content: bytes) -> str:
        """Check a picture, and return the suffix of its format.

        A picture on which `mnist` finds no drawing is still a picture.

        Raises:
            Refusal: it is not a picture, is too large, or takes too much time or memory.
        """
        with suppress(RequestError):
            await self._prepared(content, "mnist")
            return suffix_of(content)
        await self.prepared(content, "fit")
        return suffix_of(content)

    async def prepared(self, content: bytes, preprocessing: str) -> NDArray[np.uint8]:
        """What the model sees of a picture, uint8 `[28, 28]`.

        Raises:
            Refusal: as in `check`; or the preprocessing finds nothing on it.
        """
        try:
            return await self._prepared(content, preprocessing)
        except RequestError as error:
            raise Refusal(str(error), STATUS[error.kind]) from error
        except DecoderFailed as error:
            raise Refusal(f"the picture cannot be read: {error}", 422) from error

    async def _prepared(self, content: bytes, preprocessing: str) -> NDArray[np.uint8]:
        if len(content) > MAX_PICTURE:
            raise RequestError(
                f"the picture has more than {MAX_PICTURE:,} bytes, the most allowed", Kind.TOO_LARGE
            )
        if self._ready is not None:
            await asyncio.shield(self._ready)
        async with self._room:
            found = await self._decoders.decode(
                content,
                encoding=None,
                content_type="application/octet-stream",
                preprocessing=preprocessing,
                is_disconnected=lambda: False,
            )
        return found.image

    def close(self) -> None:
        """Kill the processes."""
        self._decoders.close()


def suffix_of(content: bytes) -> str:
    """The suffix of a picture's format, as in `.png`.

    Raises:
        Refusal: it is of no format that is read.
    """
    try:
        return _SUFFIXES[choose_reader(content, tiff=True).name]
    except ImageError as error:
        raise Refusal(str(error), 415) from error
