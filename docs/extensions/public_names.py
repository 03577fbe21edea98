"""The directive `public-names`: the reference of every public name that lives in given modules.

    .. public-names:: mnist_sgd.training
       :except: mnist_sgd.training.callbacks
       :first: Learner SGD

Names are those of `__all__` that are defined in the package (a package's `_HOME`), so a new one has
its entry at once. And the role `name`, for what
stands in backticks in a docstring.
"""

import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.domains.python import PyXRefRole
from sphinx.util.docutils import SphinxDirective

MODULES = ("mnist_sgd", "mnist_sgd_serve", "mnist_sgd.data", "mnist_sgd.loader.device")
"""Where public names are; one that is in several belongs to the first."""

INTERNAL = frozenset(
    (
        "add_batch",
        "add_epoch",
        "check_metrics",
        "core",
        "fingerprint",
        "fit_settings",
        "in_order",
        "is_empty_part",
        "loss_modules",
        "own_loader",
        "place",
        "put_back",
        "rank_settings",
        "read_losses",
        "set_metrics",
        "undisturbed",
        "upcoming",
        "was_moved",
        *("register_step_post_hook", "register_step_pre_hook"),
    )
)
"""Methods that the package calls itself."""

EARLIER = frozenset(("artefact", "is_first", "preparation"))
"""Names of earlier versions, which still work."""

_ARRAY = re.compile(
    r"~?numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[([^\]]+)\]\]"
)
"""How an `NDArray` is recorded."""


class PublicNames(SphinxDirective):
    """Document the public names of modules and their submodules: classes, functions, errors."""

    required_arguments = 1
    optional_arguments = 9
    option_spec: ClassVar = {"except": directives.unchanged, "first": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Let autodoc write the entries."""
        left_out = tuple(self.options.get("except", "").split())
        found = [
            (path, thing)
            for path, thing in public()
            if lives_in(thing, tuple(self.arguments)) and not lives_in(thing, left_out)
        ]
        leading = self.options.get("first", "").split()
        found.sort(key=lambda each: rank(each[0], each[1], leading))
        lines = [line for path, thing in found for line in entry(path, thing)]
        return self.parse_text_to_nodes("\n".join(lines))


def public() -> Iterator[tuple[str, Any]]:
    """Each public name as `module.name`, with its object."""
    seen = set()
    for module in map(import_module, MODULES):
        for name in getattr(module, "_HOME", module.__all__):
            if name not in seen:
                seen.add(name)
                yield f"{module.__name__}.{name}", getattr(module, name)


def lives_in(thing: Any, modules: tuple[str, ...]) -> bool:
    """Whether an object is defined in one of the modules or in their submodules."""
    home = f"{home_of(thing)}."
    return any(home.startswith(f"{module}.") for module in modules)


def home_of(thing: Any) -> str:
    """The module in which an object is defined; that of the preprocessing for its constant."""
    return str(getattr(thing, "__module__", "mnist_sgd_serve.images.preprocessing"))


def rank(path: str, thing: Any, leading: list[str]) -> tuple[int, int, str]:
    """Order the leading names, then classes, then functions, then errors, each by name."""
    name = path.rpartition(".")[2]
    if name in leading:
        return 0, leading.index(name), name
    is_error = inspect.isclass(thing) and issubclass(thing, Exception)
    return 1, 2 if is_error else 0 if inspect.isclass(thing) else 1, name.lower()


def entry(path: str, thing: Any) -> Iterator[str]:
    """Yield the lines of autodoc's directives for an object and the members that a user calls."""
    if not inspect.isclass(thing):
        kind = "function" if callable(thing) else "data"
    else:
        kind = "exception" if issubclass(thing, Exception) else "class"
    yield from (f".. auto{kind}:: {path}", "")
    has_members = kind == "class" and path.endswith(f".{thing.__name__}")  # an alias has none
    for name, member in members(thing).items() if has_members else ():
        is_property = isinstance(member, property | cached_property)
        yield from (f"   .. auto{'property' if is_property else 'method'}:: {path}.{name}", "")


def members(kind: type) -> dict[str, Any]:
    """The public methods and properties of a class that have a docstring, inherited ones first.

    The events of a callback are those of `Callback`, and only that class lists them.
    """
    base = import_module("mnist_sgd").Callback
    events = set(vars(base)) if issubclass(kind, base) and kind is not base else set()
    ours = [each for each in kind.__mro__ if each.__module__.startswith("mnist_sgd")]
    return {
        name: value
        for each in reversed(ours)
        for name, value in vars(each).items()
        if not name.startswith("_") and is_documented(value)
        if name not in INTERNAL | EARLIER | events
    }


def is_documented(value: Any) -> bool:
    """Whether something in a class is a method or a property with a docstring."""
    is_method = isinstance(value, property | classmethod | staticmethod | cached_property)
    return (is_method or inspect.isfunction(value)) and bool(value.__doc__)


def mark_code(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Make indented paragraphs outside of sections, code in Markdown, code for Sphinx too."""
    result: list[str] = []
    for number, line in enumerate(lines):
        before = lines[number - 1] if number else "Args:"
        if line.startswith("    ") and not before.strip() and not is_indented(lines[:number]):
            result += ["::", ""]
        result.append(line)
    lines[:] = result


def is_indented(lines: list[str]) -> bool:
    """Whether the last line that is not empty is indented, or is an item that goes on."""
    last = next((line for line in reversed(lines) if line.strip()), "")
    return last.startswith((" ", "- "))


def shorten_types(app: Sphinx, domain: str, kind: str, content: nodes.Element) -> None:
    """Write the recorded types as the source has them, before autodoc adds them to an entry."""
    for types in app.env.current_document.autodoc_annotations.values():
        for name, text in types.items():
            text = _ARRAY.sub(r"~numpy.typing.NDArray[\1]", text)
            types[name] = text.replace("[[...], ", "[..., ")  # the arguments of a Callable


def name_role(
    role: str, raw: str, text: str, line: int, inliner: Any, *others: Any
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """Link a name to its entry, if it has one; anything else in backticks is code."""
    if re.fullmatch(r"[A-Za-z_][\w.]*", text):
        return PyXRefRole()("py:obj", raw, text, line, inliner)
    return [nodes.literal(raw, text)], []


def setup(app: Sphinx) -> dict[str, bool]:
    """Add this to Sphinx."""
    app.add_directive("public-names", PublicNames)
    app.add_role("name", name_role)
    app.connect("object-description-transform", shorten_types, priority=400)  # before autodoc
    app.connect("autodoc-process-docstring", mark_code, priority=400)  # before napoleon
    return {"parallel_read_safe": True}
