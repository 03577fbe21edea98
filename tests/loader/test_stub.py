"""The core's types are in _core.pyi and nowhere else, so the two are compared."""

import ast
import os
import subprocess
import sys
from operator import attrgetter
from pathlib import Path
from shutil import copy

import pytest

from mnist_sgd import _core
from waiting import PATIENCE

STUB = Path(_core.__file__).with_name("_core.pyi")


def test_the_stub_has_the_cores_names(tmp_path: Path) -> None:
    """Only the stub is where mypy looks: with the package it would read torch's types as well."""
    package = tmp_path / "stubs" / "mnist_sgd"
    package.mkdir(parents=True)
    (package / "__init__.pyi").touch()
    copy(STUB, package)
    config = tmp_path / "mypy.ini"
    config.write_text("[mypy]\nfollow_imports = skip\n")
    result = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "mnist_sgd._core", "--mypy-config-file", config],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(package.parent), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "Success: no issues found in 1 module\n"


def parameters(function: ast.FunctionDef) -> str:
    """A function's parameters with their kinds and defaults, without their types."""
    for argument in ast.walk(function.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return ast.unparse(function.args)


def stub_functions() -> dict[str, ast.FunctionDef]:
    tree = ast.parse(STUB.read_text())
    owners = {"": tree} | {f"{n.name}.": n for n in tree.body if isinstance(n, ast.ClassDef)}
    return {
        owner + node.name: node
        for owner, body in owners.items()
        for node in body.body
        if isinstance(node, ast.FunctionDef)
    }


def test_the_stub_has_the_cores_parameters() -> None:
    """They are in pybind11's docstrings, not where mypy's stubtest looks."""
    functions = {
        name: function
        for name, function in stub_functions().items()
        if (attrgetter(name)(_core).__doc__ or "").startswith(f"{function.name}(")
    }
    assert {"normalize", "order", "Loader.__init__", "Loader.epoch", "Epoch.close"} < set(functions)
    for name, function in functions.items():
        documented = attrgetter(name)(_core).__doc__.split(" -> ")[0]
        (runtime,) = ast.parse(f"def {documented}: ...").body
        assert isinstance(runtime, ast.FunctionDef)
        assert parameters(function) == parameters(runtime), name


def test_only_a_loader_makes_an_epoch_and_only_an_epoch_its_progress() -> None:
    with pytest.raises(TypeError, match=r"Epoch: No constructor defined"):
        _core.Epoch()
    with pytest.raises(TypeError, match=r"Progress: No constructor defined"):
        _core.Progress()
