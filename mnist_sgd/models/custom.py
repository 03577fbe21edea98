"""User-defined models: `package.module:factory`.

The factory, a function or a class, takes no arguments and returns an `nn.Module` that maps float32
`[B, 784]` to logits `[B, 1]`. Its module is imported from the current folder or Python's path.
Importing runs the module's code, so only the user names a factory, never a file.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

BATCH = (2, 28 * 28)


def make_model(name: str, example: Tensor | None = None) -> nn.Module:
    """Import a factory, call it, and check the input and output of its model.

    Args:
        name: `package.module:factory`.
        example: a batch of two images as the model takes them; None means float32 `[2, 784]`.

    Raises:
        ValueError: there is no such module or attribute, importing or calling it fails, or it
            returns something else; the message says which, and what is expected.
    """
    with _current_folder_first():
        factory = _factory(name)
        try:
            model = factory()
        except Exception as error:  # the factory's code may raise anything
            raise ValueError(
                f"{name} failed: {_first_line(error)}; a factory takes no arguments and returns a "
                "model"
            ) from error
        _check(name, model, torch.zeros(BATCH) if example is None else example)
        return model


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """Let imports find modules of the current folder, which a console script's path lacks."""
    before = list(sys.path)
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path[:] = before


def _factory(name: str) -> Callable[[], nn.Module]:
    path, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in [*path.split("."), attribute]):
        raise ValueError(
            f"a custom model is named package.module:factory, such as nets:small; got {name!r}"
        )
    module = _module(name, path)
    if not hasattr(module, attribute):
        raise ValueError(f"{name}: {_file(module)} has no {attribute!r}{_near(attribute, module)}")
    factory = getattr(module, attribute)
    if not callable(factory):
        raise ValueError(
            f"{name}: {attribute} is of type {type(factory).__name__}; a factory is a function "
            "without arguments, or a class, that returns a model"
        )
    made: Callable[[], nn.Module] = factory
    return made


def _module(name: str, path: str) -> ModuleType:
    try:
        return import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise ValueError(f"{name}: importing {path} failed: {_first_line(error)}") from error
        raise ValueError(
            f"{name}: there is no module {error.name} in the current folder, {Path.cwd()}, nor "
            "where Python finds its packages"
        ) from error
    except Exception as error:  # the module's code may raise anything
        raise ValueError(f"{name}: importing {path} failed: {_first_line(error)}") from error


def _check(name: str, model: object, example: Tensor) -> None:
    """Call the model on two blank images in evaluation mode; lazy layers get their shapes."""
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"{name} returned an object of type {type(model).__name__}; a factory returns a "
            "torch.nn.Module"
        )
    expected = f"a model maps {_kind(example)} to logits, float32 {[BATCH[0], 1]}"
    try:
        with torch.no_grad():
            logits = model.eval()(example)
    except Exception as error:  # the model's code may raise anything
        raise ValueError(f"{name}: its model failed: {_first_line(error)}; {expected}") from error
    finally:
        model.train()
    if _kind(logits) != f"float32 {[BATCH[0], 1]}":
        raise ValueError(f"{name}: its model returned {_kind(logits)}; {expected}")
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(f"{name}: its model has no trainable parameters")


def _kind(value: object) -> str:
    """Describe a tensor by its dtype and shape, anything else by its type."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def _near(attribute: str, module: ModuleType) -> str:
    names = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
    near = get_close_matches(attribute, names)
    return f"; did you mean {near[0]}?" if near else ""


def _file(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or module.__name__


def _first_line(error: BaseException) -> str:
    """Return an error's class and the first line of its message."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}".rstrip(": ")
