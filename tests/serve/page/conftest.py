"""One server and one browser for each module, and one window for each test."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from browser import CHROMIUM, DESK, MILLISECONDS, OpenPage, browse, serving
from trained import TrainedFiles

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def address(trained: TrainedFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with serving(trained.artifact, folder, "--max-body", "100000") as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    if find_spec("playwright") is None:
        pytest.skip("playwright is not installed")
    if not CHROMIUM:
        pytest.skip("there is no chromium on the path")
    from playwright.sync_api import expect

    expect.set_options(timeout=MILLISECONDS)
    with browse() as started:
        yield started


@pytest.fixture
def opened(browser: "Browser", address: str, request: pytest.FixtureRequest) -> Iterator[OpenPage]:
    """The page, in the kind of window that the test asks for; nothing may go wrong unnoticed."""
    context = browser.new_context(**getattr(request, "param", DESK))
    context.set_default_timeout(MILLISECONDS)
    opened = OpenPage(context.new_page(), address)
    yield opened
    complaints = opened.complaints()
    context.close()
    assert complaints == []
    own = (f"{address}/", f"blob:{address}/")
    assert [one for one in opened.requests if not one.startswith(own)] == []
