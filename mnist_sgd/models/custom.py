"""Models of one's own: `package.module:factory` names a function that makes one.

The function takes no arguments and gives an `nn.Module` that takes float32 `[B, 784]` and gives
logits `[B, 1]`; a class will do. The module is looked for in the current folder too, before
Python's own path. Naming a factory runs its module's code: no file that this package reads names
one by itself.
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

__all__ = ["make_model"]

BATCH = (2, 28 * 28)


def make_model(name: str, example: Tensor | None = None) -> nn.Module:
    """Import a factory, call it, and see that its model takes and gives what it should.

    Args:
        name: `package.module:factory`.
        example: two images as the model takes them; None stands for float32 `[2, 784]`.

    Raises:
        ValueError: there is no such module or name in it, importing or calling it fails, or what
            it gives is no such model; the message says which, and what is wanted.
    """
    with _current_folder_first():
        factory = _factory(name)
        try:
            model = factory()
        except Exception as error:  # the factory's code may raise anything
            raise ValueError(
                f"{name} failed: {_said(error)}; a factory takes no arguments and gives a model"
            ) from error
        _check(name, model, torch.zeros(BATCH) if example is None else example)
        return model


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """Let imports find what is in the current folder, which a console script's path lacks."""
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
            f"a model of your own is named package.module:factory, as in nets:small; got {name!r}"
        )
    module = _module(name, path)
    if not hasattr(module, attribute):
        raise ValueError(f"{name}: {_file(module)} has no {attribute!r}{_near(attribute, module)}")
    factory = getattr(module, attribute)
    if not callable(factory):
        raise ValueError(
            f"{name}: {attribute} is of type {type(factory).__name__}; a factory is a function "
            "without arguments, or a class, that gives a model"
        )
    made: Callable[[], nn.Module] = factory
    return made


def _module(name: str, path: str) -> ModuleType:
    try:
        return import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise ValueError(f"{name}: importing {path} failed: {_said(error)}") from error
        raise ValueError(
            f"{name}: there is no module {error.name}; it is looked for in the current folder, "
            f"{Path.cwd()}, and where Python finds its packages"
        ) from error
    except Exception as error:  # the module's code may raise anything
        raise ValueError(f"{name}: importing {path} failed: {_said(error)}") from error


def _check(name: str, model: object, example: Tensor) -> None:
    """Ask the model for two blank images, in evaluation mode; lazy layers take their shapes."""
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"{name} gave an object of type {type(model).__name__}; a factory gives a "
            "torch.nn.Module"
        )
    wanted = f"a model takes {_kind(example)} and gives logits, float32 {[BATCH[0], 1]}"
    try:
        with torch.no_grad():
            logits = model.eval()(example)
    except Exception as error:  # the model's code may raise anything
        raise ValueError(f"{name}: its model failed: {_said(error)}; {wanted}") from error
    finally:
        model.train()
    if _kind(logits) != f"float32 {[BATCH[0], 1]}":
        raise ValueError(f"{name}: its model gave {_kind(logits)}; {wanted}")
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(f"{name}: its model has no parameters that can be trained")


def _kind(value: object) -> str:
    """A tensor's dtype and shape; of anything else its type."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def _near(attribute: str, module: ModuleType) -> str:
    names = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
    near = get_close_matches(attribute, names)
    return f"; is {near[0]} meant?" if near else ""


def _file(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or module.__name__


def _said(error: BaseException) -> str:
    """An error as its first line."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}".rstrip(": ")
