"""`import mnist_sgd` gives every public name, each only when it is used."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import mnist_sgd


def test_every_name_is_that_of_its_module() -> None:
    for name in mnist_sgd._HOME:
        module = import_module(mnist_sgd._HOME[name])
        assert getattr(mnist_sgd, name) is getattr(module, name)
    others = {*mnist_sgd._EARLIER, *mnist_sgd._STAND_INS}
    assert set(mnist_sgd.__all__) == {*mnist_sgd._HOME, *others}
    assert set(mnist_sgd.__all__) <= set(dir(mnist_sgd))


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(mnist_sgd.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == mnist_sgd._HOME


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = "import mnist_sgd, sys; print({'torch', 'numpy', 'onnx'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'mnist_sgd' has no attribute 'resnet'"):
        mnist_sgd.resnet  # noqa: B018  # the look-up is the test
