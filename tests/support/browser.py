"""A server process of the package, and a browser on its page that lets nothing go unnoticed."""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hands import Drawing, Line
from waiting import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, FilePayload, Page, Request

__all__ = [
    "CHROMIUM",
    "DESK",
    "MILLISECONDS",
    "PHONE",
    "Fingers",
    "OpenPage",
    "browse",
    "serving",
    "wait_on",
]

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
"""The browser's program, empty where there is none."""

MILLISECONDS = 1000.0 * PATIENCE
"""Before something that should be on the page counts as missing."""

DESK: dict[str, Any] = {"viewport": {"width": 1200, "height": 800}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "device_scale_factor": 3,
    "is_mobile": True,
    "has_touch": True,
}
"""Kinds of windows."""

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


@contextmanager
def serving(model: Path, folder: Path, *options: str) -> Iterator[str]:
    """Run a server of `model` and give its address; at the end it must leave with code 0.

    Args:
        model: the artifact.
        folder: for the server's log.
        options: of its command line.
    """
    log = folder / "server.log"
    with open(log, "wb") as file:
        command = [
            sys.executable,
            "-m",
            "mnist_sgd_serve",
            os.fspath(model),
            "--port",
            "0",
            *options,
        ]
        server = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        yield _ready(server, log)
    finally:
        server.terminate()
        try:
            code = server.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
            raise
    assert code == 0, log.read_text()


def _ready(server: "subprocess.Popen[bytes]", log: Path) -> str:
    """Wait until the server says that it is ready, and give its address."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        lines = log.read_text().splitlines(keepends=True)
        events = [json.loads(line) for line in lines if line.endswith("}\n")]
        address = next((one["address"] for one in events if one["event"] == "ready"), None)
        if address is not None:
            with urllib.request.urlopen(f"{address}/v2/health/ready", timeout=PATIENCE) as answer:
                assert answer.status == 200
            return str(address)
        time.sleep(0.02)
    raise AssertionError(f"the server did not start:\n{log.read_text()}")


@contextmanager
def browse() -> Iterator["Browser"]:
    """Start a browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=_ARGUMENTS, timeout=MILLISECONDS
        )
        try:
            yield browser
        finally:
            browser.close()


def wait_on(page: "Page", happened: Callable[[], bool]) -> None:
    """Wait until something has happened here of which the page must tell."""
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, f"it did not happen in {PATIENCE} s"
        page.wait_for_timeout(10)


class OpenPage:
    """The page of a server in a window of its own, with hands to use it.

    Attributes:
        page: Playwright's page.
        address: of the server.
        messages: what the console was told, and errors that nobody caught. A refusal of the
            Content-Security-Policy is among them.
        requests: the addresses that were asked for, in order.
    """

    def __init__(self, page: "Page", address: str) -> None:
        self.page = page
        self.address = address
        self.messages: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.messages.append(str(error)))
        page.on("request", self._request)
        page.goto(address)
        page.get_by_role("heading", name=" or ").wait_for()

    def _console(self, message: "ConsoleMessage") -> None:
        self.messages.append(f"{message.type}: {message.text}")

    def _request(self, request: "Request") -> None:
        self.requests.append(request.url)

    def draw(self, drawing: Drawing) -> None:
        """Draw with the mouse, and wait for the answer."""
        self.page.locator("#width").fill(str(drawing.pen))
        for line in drawing.lines:
            self.stroke(line)

    def stroke(self, line: Line) -> None:
        """Draw a line with the mouse, and wait for the answer."""
        mouse, points = self.page.mouse, self.place(line)
        mouse.move(*points[0])
        mouse.down()
        for point in points[1:]:
            mouse.move(*point)
        mouse.up()
        self.settle()

    def place(self, line: Line) -> Line:
        """Where points of the paper are in the window."""
        box = self.page.locator("#pad").bounding_box()
        assert box is not None
        return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in line]

    def choose(self, content: bytes, name: str = "picture.png") -> None:
        """Choose a picture, and do not wait."""
        with self.page.expect_file_chooser() as chooser:
            self.page.locator("#choose").click()
        file: FilePayload = {"name": name, "mimeType": "image/png", "buffer": content}
        chooser.value.set_files(file)

    def expect_label(self, label: str) -> None:
        """Wait until the page shows it: a picture is decoded before it is asked about."""
        from playwright.sync_api import expect

        expect(self.page.locator("#label")).to_have_text(label)
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is asked any more."""
        self.page.locator("#verdict[aria-busy=false]").wait_for()

    def complaints(self) -> list[str]:
        """All messages until now, which are forgotten then.

        They arrive in order, but later than what they are about. So a last one is waited for.
        """
        self.page.evaluate("console.info('until now')")
        wait_on(self.page, lambda: "info: until now" in self.messages)
        *found, _ = self.messages
        self.messages.clear()
        return found

    @property
    def label(self) -> str:
        """The verdict's first line."""
        return self.page.locator("#label").inner_text()

    @property
    def detail(self) -> str:
        """The verdict's second line."""
        return self.page.locator("#detail").inner_text()

    def pixels(self, canvas: str) -> NDArray[np.uint8]:
        """The pixels of a canvas, uint8 `[height, width, 4]` in RGBA."""
        address: str = self.page.locator(canvas).evaluate("it => it.toDataURL()")
        with Image.open(BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
            return np.asarray(image)


class Fingers:
    """Fingers on the screen of a phone."""

    def __init__(self, opened: OpenPage) -> None:
        self.devtools = opened.page.context.new_cdp_session(opened.page)

    def send(self, kind: str, *points: tuple[float, float]) -> None:
        """Send touchStart, touchMove or touchEnd, with the places of all fingers in the window."""
        places = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        event: dict[str, Any] = {"type": kind, "touchPoints": places}
        self.devtools.send("Input.dispatchTouchEvent", event)
