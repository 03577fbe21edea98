"""Options of a command as the fields of a frozen dataclass.

@dataclass(frozen=True)
class Speed:
    threads: int = option("threads that fill batches", default=1, type=positive_int)

add_options(parser, Speed)
section(Speed, parser.parse_args(["--threads", "2"]))    # Speed(threads=2)
"""

import argparse
from collections.abc import Mapping
from dataclasses import MISSING, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Section = TypeVar("Section", bound=DataclassInstance)
else:
    Section = TypeVar("Section")


def option(text: str, *, default: Any = None, shown: str | None = None, **settings: Any) -> Any:
    """A dataclass field that is an option named after it, with hyphens for underscores.

    Args:
        text: the help, without the default.
        default: the value of an option that is not given; MISSING makes the field required.
        shown: the default in words; "" shows none, None the value, if it says something.
        settings: for `ArgumentParser.add_argument`; also `flag`, another name for the option, and
            `alias`, an earlier one, which the help does not list.
    """
    return field(default=default, metadata={"help": text, "shown": shown, **settings})


def flag(text: str, shown: str = "") -> Any:
    """An option without a value, off by default; `shown` says what happens then."""
    return option(text, default=False, shown=shown, action="store_true")


def add_options(
    container: argparse._ActionsContainer,
    kind: "type[DataclassInstance]",
    shown: Mapping[str, str] | None = None,
    *,
    unset: bool = False,
) -> None:
    """Add the options of a dataclass.

    Args:
        container: a parser, or one of its groups.
        kind: the dataclass, each field made by `option`.
        shown: defaults in words, by field, instead of those of the fields.
        unset: give None for an option that is not given, instead of its default.
    """
    for each in fields(kind):
        settings = dict(each.metadata)
        name = settings.pop("flag", f"--{each.name.replace('_', '-')}")
        alias = settings.pop("alias", None)
        text, words = settings.pop("help"), settings.pop("shown")
        default = None if unset or each.default is MISSING else each.default
        words = (shown or {}).get(each.name, words)
        if words is None:
            words = "" if default is None or isinstance(default, bool) else str(default)
        settings |= {"dest": each.name, "default": default}
        text = f"{text} (default: {words})" if words else text
        container.add_argument(name, help=text.replace("%", "%%"), **settings)
        if alias is not None:
            container.add_argument(alias, help=argparse.SUPPRESS, **settings)


def section(kind: type[Section], args: argparse.Namespace) -> Section:
    """The dataclass with the values of its options; lists become tuples."""
    given = {each.name: getattr(args, each.name) for each in fields(kind)}
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in given.items()})
