"""The documentation site builds without a warning, documents everything, has no broken link.

It is built by the command that docs/README.md gives.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest
import yaml

import mnist_sgd.data
import mnist_sgd.loader.device
import mnist_sgd_serve
from guides import ROOT, blocks
from mnist_sgd.cli.parser import parser
from waiting import PATIENCE

MODULES = (mnist_sgd, mnist_sgd_serve, mnist_sgd.data, mnist_sgd.loader.device)


def names(module: ModuleType) -> list[str]:
    """The public names that are defined in a package; `__all__` may have others for `import *`."""
    return list(getattr(module, "_HOME", module.__all__))


def build_command() -> str:
    (line,) = (
        line
        for block in blocks(ROOT / "docs" / "README.md", "sh")
        for line in block.code.splitlines()
        if line.startswith("python -m sphinx")
    )
    return line


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the command writes."""
    folder = tmp_path_factory.mktemp("documentation") / "site"
    words = shlex.split(build_command().replace("build/site", str(folder)))
    done = subprocess.run(
        [sys.executable, *words[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder


class Page(HTMLParser):
    """What a page refers to, and what can be referred to on it.

    Attributes:
        anchors: the values of `id`.
        links: what is linked to or loaded.
        loaded: the part of `links` that a browser loads with the page.
        unnamed: images without a text that stands for them.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.unnamed: list[str] = []
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors.add(given.get("id", ""))
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        source = given.get("href" if tag == "link" else "src")
        if tag in ("img", "link", "script") and source:
            self.loaded.add(source)
        if tag == "img" and not given.get("alt"):
            self.unnamed.append(given["src"])


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {file: Page(file) for file in site.rglob("*.html")}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_name_has_its_entry(pages: dict[Path, Page], module: ModuleType) -> None:
    """Once; a name of several modules under the first of them."""
    entries = [
        anchor
        for file, page in pages.items()
        if file.parent.name == "api"
        for anchor in page.anchors
    ]
    assert set(names(module)) <= set(module.__all__)
    for name in names(module):
        home = next(each for each in MODULES if name in names(each))
        assert entries.count(f"{home.__name__}.{name}") == 1, name


def test_only_public_names_have_entries(pages: dict[Path, Page]) -> None:
    allowed = {f"{module.__name__}.{name}" for module in MODULES for name in names(module)}
    entries = {
        anchor
        for file, page in pages.items()
        if file.parent.name == "api"
        for anchor in page.anchors
        if anchor.startswith("mnist_sgd")
    }
    entries -= {anchor for anchor in entries if anchor.rpartition(".")[0] in allowed}  # members
    assert entries - allowed == set()
    assert not [anchor for anchor in entries if anchor.rpartition(".")[2].startswith("_")]


def test_arguments_and_errors_are_lists_not_paragraphs(site: Path) -> None:
    page = (site / "api" / "loader.html").read_text()
    entry = re.search(r'id="mnist_sgd\.DataLoader">.*?<dt class="sig', page, re.DOTALL)
    assert entry
    assert re.search(r"Parameters.*<strong>batch_size</strong>", entry[0], re.DOTALL)
    assert re.search(r"Raises.*<strong>ValueError</strong>", entry[0], re.DOTALL)


def test_every_option_of_every_command_has_its_entry(pages: dict[Path, Page], site: Path) -> None:
    choices = (action.choices for action in parser()._actions)
    (commands,) = (each for each in choices if isinstance(each, dict))
    for name, command in commands.items():
        found = pages[site / "commands" / f"{name}.html"].anchors
        shown = [each for each in command._actions if each.help != "==SUPPRESS=="]
        for option in (each for action in shown for each in action.option_strings):
            assert f"cmdoption-mnist-sgd-{name}-{option.lstrip('-')}" in found, option


def test_every_link_leads_to_a_page_and_a_place_on_it(pages: dict[Path, Page]) -> None:
    assert list(broken(pages)) == []


def broken(pages: dict[Path, Page]) -> Iterator[str]:
    for file, page in pages.items():
        for link in page.links | page.loaded:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            anchors = pages[target].anchors if target in pages else set()
            is_there = target.is_file() and (
                not parts.fragment or unquote(parts.fragment) in anchors
            )
            if not is_there:
                yield f"{file.name}: {link}"


def test_no_page_loads_anything_from_the_network(pages: dict[Path, Page]) -> None:
    loaded = {source for page in pages.values() for source in page.loaded}
    assert {source for source in loaded if urlsplit(source).netloc} == set()


def test_every_image_has_a_text_that_stands_for_it(pages: dict[Path, Page]) -> None:
    assert {file.name: page.unnamed for file, page in pages.items() if page.unnamed} == {}


def test_files_outside_of_docs_are_pages_too(pages: dict[Path, Page], site: Path) -> None:
    """Known by one of their headings."""
    headings = {"changelog": "unreleased", "contributing": "how-to-add", "benchmarks": "accuracy"}
    for name, anchor in headings.items():
        assert anchor in pages[site / "project" / f"{name}.html"].anchors


def test_the_workflow_publishes_what_the_command_builds() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/site.yml").read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert build_command() in [step.get("run") for step in steps]
    (upload,) = (step for step in steps if "upload-pages" in step.get("uses", ""))
    assert build_command().endswith(f" {upload['with']['path']}")
    actions = [step["uses"] for step in steps if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in actions)
