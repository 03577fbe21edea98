"""Every public name has a docstring, and what docstrings name exists."""

import ast
import builtins
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import mnist_sgd.data
import mnist_sgd.loader.device
import mnist_sgd_serve
from docstrings import Docstring, parse

MODULES = (mnist_sgd, mnist_sgd.data, mnist_sgd.loader.device, mnist_sgd_serve)
ARRAY = re.compile(r"(tuple\[)?(torch\.)?Tensor|(numpy\.typing\.)?NDArray")


def public() -> Iterator[tuple[str, Any]]:
    """Each public name, and each public method and property of the classes, with its object."""
    for module in MODULES:
        for name in module.__all__:
            found = getattr(module, name)
            yield f"{module.__name__}.{name}", found
            for member, value in vars(found).items() if inspect.isclass(found) else ():
                function = getattr(value, "fget", None) or getattr(value, "__func__", value)
                if not member.startswith("_") and inspect.isfunction(function):
                    yield f"{module.__name__}.{name}.{member}", function


PUBLIC = dict(public())
DOCSTRINGS: dict[str, Docstring] = {
    name: parse(inspect.getdoc(thing) or "") for name, thing in PUBLIC.items()
}


def test_every_public_name_has_a_docstring_of_its_own_that_begins_with_a_sentence() -> None:
    assert [name for name, thing in PUBLIC.items() if not thing.__doc__] == []
    firsts = {name: found.text.splitlines()[0] for name, found in DOCSTRINGS.items()}
    assert {name: line for name, line in firsts.items() if not line.endswith((".", ":"))} == {}


def test_arguments_are_the_signatures_and_all_of_them() -> None:
    wrong = {
        name: described
        for name, found in DOCSTRINGS.items()
        if (described := found.names("Args")) and described != parameters(PUBLIC[name])
    }
    assert wrong == {}


def parameters(thing: Any) -> list[str]:
    return [name for name in inspect.signature(thing).parameters if name not in ("self", "cls")]


def test_errors_that_are_named_exist() -> None:
    """In Python, or in a module of the packages."""
    modules = list(all_modules())
    unknown = {
        name: error
        for name, found in DOCSTRINGS.items()
        for error in found.names("Raises")
        if not any(is_exception(getattr(place, error, None)) for place in (builtins, *modules))
    }
    assert unknown == {}


def all_modules() -> Iterator[ModuleType]:
    """Every module of the packages but their programs, whichever other tests have imported."""
    for package in (mnist_sgd, mnist_sgd_serve):
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def is_exception(thing: object) -> bool:
    return inspect.isclass(thing) and issubclass(thing, BaseException)


def test_errors_that_are_raised_are_named() -> None:
    unnamed = {
        name: missing
        for name, thing in PUBLIC.items()
        if (missing := raised(thing) - named(thing) - set(DOCSTRINGS[name].names("Raises")))
    }
    assert unnamed == {}


def named(thing: Any) -> set[str]:
    """The errors that a dataclass names where it checks its fields."""
    check = vars(thing).get("__post_init__") if inspect.isclass(thing) else None
    return set(parse(inspect.getdoc(check) or "").names("Raises")) if check else set()


def raised(thing: Any) -> set[str]:
    """The names of the errors that a function's own statements raise, a class's `__init__`'s."""
    if inspect.isclass(thing):
        thing = vars(thing).get("__post_init__", thing.__init__)
    try:
        (function,) = ast.parse(textwrap.dedent(inspect.getsource(thing))).body
    except (OSError, TypeError):  # what a dataclass or an exception has by itself
        return set()
    return {
        node.exc.func.id
        for node in own_statements(function)
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
    }


def own_statements(node: ast.AST) -> Iterator[ast.AST]:
    """All that is in a function, but not in the functions that it defines."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.Lambda):
            yield child
            yield from own_statements(child)


def test_attributes_that_are_named_exist() -> None:
    missing = {
        name: attribute
        for name, found in DOCSTRINGS.items()
        for attribute in found.names("Attributes")
        if not re.search(
            rf"(self\.|^    |def |, ){attribute}\b", source(PUBLIC[name]), re.MULTILINE
        )
    }
    assert missing == {}


def source(thing: Any) -> str:
    """The source of a class, with that of the classes that it inherits."""
    kinds = thing.__mro__ if inspect.isclass(thing) else [thing]
    return "".join(map(inspect.getsource, (each for each in kinds if is_ours(each))))


def is_ours(thing: Any) -> bool:
    return str(thing.__module__).startswith("mnist_sgd")


def test_the_shapes_of_arrays_are_given() -> None:
    silent = {
        name
        for name, thing in PUBLIC.items()
        if inspect.isfunction(thing)
        and any(ARRAY.match(str(kind)) for kind in annotations(thing))
        and not re.search(r"\[|scalar|of one shape", DOCSTRINGS[name].text)
    }
    assert silent == set()


def annotations(function: Any) -> list[str]:
    return [
        kind if isinstance(kind, str) else inspect.formatannotation(kind)
        for kind in function.__annotations__.values()
    ]
