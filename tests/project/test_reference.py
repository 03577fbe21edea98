"""The API reference is made from the docstrings, by the command that docs/README.md gives."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import mnist_sgd.data
import mnist_sgd.loader.device
import mnist_sgd_serve
from guides import ROOT, blocks
from waiting import PATIENCE


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the command writes."""
    folder = tmp_path_factory.mktemp("reference")
    (line,) = [
        line
        for block in blocks(ROOT / "docs" / "README.md", "sh")
        for line in block.code.splitlines()
        if line.startswith("python -m pdoc")
    ]
    words = shlex.split(line.replace("build/reference", str(folder)))
    command = [sys.executable, *words[1:]]
    done = subprocess.run(  # elsewhere: beside the sources pdoc warns that they may be meant
        command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.mark.parametrize(
    "module",
    [mnist_sgd, mnist_sgd.data, mnist_sgd.loader.device, mnist_sgd_serve],
    ids=lambda module: module.__name__,
)
def test_every_public_name_has_its_entry(reference: Path, module: ModuleType) -> None:
    page = (reference / f"{module.__name__.replace('.', '/')}.html").read_text()
    assert [name for name in module.__all__ if f'<section id="{name}">' not in page] == []


def test_arguments_and_errors_are_lists_not_paragraphs(reference: Path) -> None:
    page = (reference / "mnist_sgd.html").read_text()
    section = re.search(r'<section id="DataLoader">.*?</section>', page, re.DOTALL)
    assert section
    assert re.search(
        r'<h6 id="arguments">Arguments:</h6>.*<strong>batch_size:', section[0], re.DOTALL
    )
