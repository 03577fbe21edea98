"""docs/walkthrough.ipynb runs from top to bottom, and what is stored in it is what a run gives.

`python tools/run_walkthrough.py` stores it anew.
"""

import json
import os
import re
import subprocess
import sys
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from waiting import PATIENCE

ROOT = Path(__file__).parents[2]
STORED = ROOT / "docs" / "walkthrough.ipynb"
NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d+(?:e[-+]?\d+)?|\d+e-\d+")
TIME = re.compile(r"\b\d\d:\d\d\b")

Notebook = dict[str, Any]


@pytest.fixture(scope="module")
def stored() -> Notebook:
    notebook: Notebook = json.loads(STORED.read_text())
    return notebook


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Notebook:
    """The notebook after a run, in which none of its assertions failed."""
    folder = tmp_path_factory.mktemp("walkthrough")
    out, tool = folder / "run.ipynb", ROOT / "tools" / "run_walkthrough.py"
    own = {"IPYTHONDIR": str(folder), "JUPYTER_RUNTIME_DIR": str(folder)}  # nothing in the home
    done = subprocess.run(
        [sys.executable, "-W", "ignore", tool, "--out", out],
        env=os.environ | own,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    notebook: Notebook = json.loads(out.read_text())
    return notebook


def code_cells(notebook: Notebook) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def texts(notebook: Notebook) -> list[str]:
    """What each code cell printed and gave, a plot as its size and number of panels."""
    return ["".join(map(output_text, cell["outputs"])) for cell in code_cells(notebook)]


def output_text(output: dict[str, Any]) -> str:
    assert output["output_type"] in ("stream", "display_data", "execute_result")
    if output["output_type"] == "stream":
        assert output["name"] == "stdout", output["text"]
        return "".join(output["text"])
    if "image/png" in output["data"]:
        image = Image.open(BytesIO(b64decode(output["data"]["image/png"]))).convert("L")
        extrema: Any = image.getextrema()
        darkest, lightest = extrema
        assert darkest < 32 < 255 == lightest  # there is ink on it
    return "".join(output["data"]["text/plain"])


def test_the_stored_output_is_that_of_a_run(stored: Notebook, run: Notebook) -> None:
    """Times apart; and figures may differ as far as another processor rounds otherwise."""
    for ours, theirs in zip(texts(stored), texts(run), strict=True):
        ours, theirs = TIME.sub("mm:ss", ours), TIME.sub("mm:ss", theirs)
        assert NUMBER.sub("#", ours) == NUMBER.sub("#", theirs)
        numbers = [[float(n) for n in NUMBER.findall(text)] for text in (ours, theirs)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-3, abs=1e-3)


def test_the_stored_notebook_has_nothing_of_the_run_that_made_it(stored: Notebook) -> None:
    assert set(stored["metadata"]) == {"kernelspec", "language_info"}
    assert stored["metadata"]["language_info"] == {"name": "python"}
    assert all(cell["metadata"] in ({}, {"tags": ["hide-cell"]}) for cell in stored["cells"])
    counts = [cell["execution_count"] for cell in code_cells(stored)]
    assert counts == list(range(1, len(counts) + 1))
    said = "".join(texts(stored))
    assert not re.search(r"/(home|root|tmp|work|usr)\b|0x[0-9a-f]{6}", said)
