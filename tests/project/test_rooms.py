"""The folders show the architecture: few files at the top, no import cycle, a true map."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from guides import ROOT

PACKAGES = {
    "mnist_sgd": ROOT / "mnist_sgd",
    "mnist_sgd_serve": ROOT / "serve" / "mnist_sgd_serve",
}
Graph = dict[str, set[str]]


def modules() -> dict[str, Path]:
    """Every module by its name."""
    found = {}
    for name, root in PACKAGES.items():
        for file in root.rglob("*.py"):
            parts = [name, *file.relative_to(root).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imported(file: Path) -> Iterator[str]:
    """What a module imports anywhere in it, in functions and for type checkers too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert not node.level, f"{file} has a relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"
                yield node.module


@cache
def graph() -> Graph:
    """The modules of this project that each module imports."""
    known = modules()
    return {
        name: {other for other in imported(file) if other in known and other != name}
        for name, file in known.items()
    }


def cycles(graph: Graph) -> list[list[str]]:
    """What remains after taking away modules that import, or are imported by, none that remain."""
    left = {name: set(others) for name, others in graph.items()}
    while True:
        wanted = set().union(*left.values()) if left else set()
        gone = {name for name, others in left.items() if not others or name not in wanted}
        if not gone:
            return [sorted(left)] if left else []
        left = {name: others - gone for name, others in left.items() if name not in gone}


def test_a_cycle_would_be_found() -> None:
    assert cycles({"a": {"b"}, "b": {"a"}, "c": {"a"}, "d": set()}) == [["a", "b"]]
    assert cycles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_no_module_imports_itself_over_others_not_even_for_type_checkers() -> None:
    """A package that gathers names from its modules counts only where it is imported itself."""
    files = {
        name: {other for other in others if not name.startswith(f"{other}.")}
        for name, others in graph().items()
    }
    assert cycles(files) == []


def test_the_serving_side_imports_neither_torch_nor_the_training_side() -> None:
    for file in PACKAGES["mnist_sgd_serve"].rglob("*.py"):
        tops = {name.partition(".")[0] for name in imported(file)}
        assert not tops & {"torch", "torchvision", "mnist_sgd"}, file


@pytest.mark.parametrize(("package", "most"), [("mnist_sgd", 8), ("mnist_sgd_serve", 10)])
def test_few_files_lie_at_the_top_of_a_package(package: str, most: int) -> None:
    assert len(list(PACKAGES[package].glob("*.py"))) <= most


def test_the_map_of_the_code_has_every_folder_and_no_other() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    text = text.partition("## Map of the code")[2].partition("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) <= 15
    mapped = {path for row in rows for path in re.findall(r"`([\w/]+/)`", row.split("|")[1])}
    for path in mapped:
        assert (ROOT / path).is_dir(), path
    parts = {
        f"mnist_sgd/{file.name}/"
        for file in (ROOT / "mnist_sgd").iterdir()
        if file.is_dir() and file.name != "__pycache__"
    }
    tops = {"csrc/", "serve/mnist_sgd_serve/", "tests/", "benchmarks/", "docs/", "examples/"}
    assert parts | tops <= mapped
    (serving,) = (row for row in rows if "`serve/mnist_sgd_serve/`" in row)
    rooms = {
        file.name
        for file in PACKAGES["mnist_sgd_serve"].iterdir()
        if file.is_dir() and file.name != "__pycache__"
    }
    assert set(re.findall(r"`(\w+)`", serving.split("|")[2])) == rooms


def test_tests_lie_in_the_folders_of_what_they_test() -> None:
    rooms = {"cpp", "fuzz", "project", "serve", "support", "chapter"}
    rooms |= {path.parent.name for path in (ROOT / "mnist_sgd").glob("*/__init__.py")}
    there = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    assert there - {"__pycache__"} <= rooms
    assert list((ROOT / "tests").glob("test_*.py")) == []
