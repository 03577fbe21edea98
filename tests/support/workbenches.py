"""A real workbench, as a process of its own, that tests may kill."""

import io
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageDraw

from mnist_sgd.workbench import Client

__all__ = ["Service", "drawing", "service"]


class Service:
    """A running workbench.

    Attributes:
        home: its folder.
        client: talks to it.
        address: where it is.
    """

    def __init__(self, home: Path, *options: str, token: str | None = None) -> None:
        self.home = home
        given = [] if token is None else ["--token", token]
        line = [sys.executable, "-m", "mnist_sgd", "workbench", "--home", str(home), "--port", "0"]
        self.process = subprocess.Popen(
            [*line, *given, *options], stderr=subprocess.PIPE, text=True, cwd=home.parent
        )
        assert self.process.stderr is not None
        said = self.process.stderr.readline()
        assert "the workbench is at " in said, said
        self.address = said.rpartition(" ")[2].strip().partition("?")[0].rstrip("/")
        self.client = Client(self.address, token)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the process by a signal, and return its exit code."""
        self.process.send_signal(number)
        code = self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None


@contextmanager
def service(home: Path, *options: str, token: str | None = None) -> Iterator[Service]:
    """Run a workbench while the block runs; its trainings are cancelled at the end."""
    started = Service(home, *options, token=token)
    try:
        yield started
    finally:
        if started.is_running:
            for each in started.client.trainings():
                if each["state"] in ("queued", "running"):
                    started.client.cancel(each["id"])
            started.end()


def drawing(kind: str, number: int) -> bytes:
    """A circle or a cross, each number another one."""
    image = Image.new("RGB", (80, 80), (235, 230, 220))
    draw, at = ImageDraw.Draw(image), 8 + number % 9
    if kind == "circle":
        draw.ellipse([at, at, 72 - number % 7, 72 - number % 5], outline=(20, 20, 60), width=5)
    else:
        draw.line([at, at, 72 - number % 7, 72 - number % 5], fill=(20, 20, 60), width=5)
        draw.line([72 - number % 5, at, at, 70 - number % 3], fill=(20, 20, 60), width=5)
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=None)
    return file.getvalue()
