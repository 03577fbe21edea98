"""Make the documentation's pictures of results, with the Chromium of the system.

    python tools/screenshots.py

They are written to docs/images. Nothing is downloaded: models are trained on the sample.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from browser import OpenPage, browse, serving
from hands import Drawing

IMAGES = Path(__file__).parents[1] / "docs" / "images"


def page_screenshot(path: Path) -> None:
    """Take a picture of the server's page with a three drawn on it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train = [sys.executable, "-m", "mnist_sgd", "train", "--model", "cnn", "--out", name]
        subprocess.run([*train, "--epochs", "3"], check=True)
        with serving(folder / "model.onnx", folder) as address, browse() as browser:
            context = browser.new_context(viewport={"width": 1000, "height": 760})
            opened = OpenPage(context.new_page(), address)
            opened.page.locator("#examples img").last.wait_for()
            opened.draw(Drawing("3 round", "usual"))
            opened.page.wait_for_timeout(500)  # for the bars to grow
            opened.page.screenshot(path=path)


def chapter_pictures(report: Path, curves: Path) -> None:
    """Take a picture of the beginning of the chapter's report, and draw its model's curves."""
    program = [sys.executable, "-m", "mnist_sgd"]
    with tempfile.TemporaryDirectory() as name:
        subprocess.run([*program, "train", "--run", "chapter"], cwd=name, check=True)
        evaluate = [*program, "evaluate", "runs/chapter", "--plot", str(curves)]
        subprocess.run(evaluate, cwd=name, check=True)
        with browse() as browser:
            page = browser.new_page(viewport={"width": 1000, "height": 720})
            page.goto((Path(name) / "runs" / "chapter" / "report.html").as_uri())
            page.screenshot(path=report)


def main() -> None:
    """Make all of them."""
    IMAGES.mkdir(exist_ok=True)
    chapter_pictures(IMAGES / "report.png", IMAGES / "curves.png")
    page_screenshot(IMAGES / "page.png")


if __name__ == "__main__":
    main()
