"""The directives `commands` and `command`: the command line's reference, from its parser.

.. commands::
.. command:: train
"""

import argparse
import re
import textwrap
from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from mnist_sgd.cli.parser import parser

_HERE = re.compile(r", \d+ here")
"""What a help says of the machine that builds the site."""


class Commands(SphinxDirective):
    """Document the program: its commands, and what they have in common."""

    def run(self) -> list[nodes.Node]:
        """Let Sphinx read the page, written in reStructuredText."""
        return self.parse_text_to_nodes("\n".join(self.lines()), allow_section_headings=True)

    def lines(self) -> Iterator[str]:
        """The lines of the page."""
        whole = parser()
        yield from (escaped(whole.description or ""), "")
        for name in commands():
            yield from (f":doc:`mnist-sgd {name} <{name}>`", f"   {escaped(summaries()[name])}", "")
        yield from code("text", whole.epilog or "")


class Command(Commands):
    """Document a subcommand: what it does, its usage, examples, and every option."""

    required_arguments = 1

    def lines(self) -> Iterator[str]:
        """The lines of the page."""
        name = self.arguments[0]
        if name not in commands():
            raise self.error(f"mnist-sgd has no command {name!r}")
        return reference(name, commands()[name])


def subparsers() -> "argparse._SubParsersAction[argparse.ArgumentParser]":
    """What holds the commands."""
    (found,) = (
        action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    return found


def commands() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command."""
    return dict(subparsers().choices)


def summaries() -> dict[str, str]:
    """What each command does, in a line."""
    return {each.dest: each.help or "" for each in subparsers()._choices_actions}


def reference(name: str, command: argparse.ArgumentParser) -> Iterator[str]:
    """The lines of a command's page."""
    yield from (f".. program:: mnist-sgd {name}", "", escaped(command.description or ""), "")
    yield from code(
        "text", command.format_usage().removeprefix("usage: ").replace("\n       ", "\n")
    )
    examples, _, rest = (command.epilog or "").removeprefix("examples:\n").partition("\n\n")
    yield from code("sh", re.sub(r"(\S  +)(?=\S)", r"\1# ", examples, flags=re.MULTILINE))
    yield from (escaped(" ".join(rest.split())), "")
    for group in command._action_groups:
        actions = [each for each in group._group_actions if each.help != argparse.SUPPRESS]
        if actions:
            title = (group.title or "options").capitalize()
            yield from (title, "-" * len(title), "", escaped(group.description or ""), "")
        for action in actions:
            yield from option(command, action)


def code(language: str, text: str) -> Iterator[str]:
    """A block of code."""
    lines = (f"   {line}" for line in textwrap.dedent(text).strip().splitlines())
    yield from (f".. code-block:: {language}", "", *lines, "")


def option(command: argparse.ArgumentParser, action: argparse.Action) -> Iterator[str]:
    """An option, or an argument without one, with its help."""
    formatter = command._get_formatter()
    default = formatter._get_default_metavar_for_optional
    takes = "" if action.nargs == 0 else formatter._format_args(action, default(action))
    if action.option_strings:
        heading = ", ".join(f"{each} {takes}".strip() for each in action.option_strings)
    else:
        heading = action.metavar if isinstance(action.metavar, str) else action.dest
    said = _HERE.sub("", formatter._expand_help(action)) if action.help else ""
    yield from (f".. option:: {heading}", "", f"   {escaped(said)}", "")


def escaped(text: str) -> str:
    """A text without markup, but for the options that it names, which are code."""
    text = re.sub(r"([\\*`_|<>])", r"\\\1", text)
    return re.sub(r"(?<!\S)--[a-z][a-z-]*", r"``\g<0>``", text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Add this to Sphinx."""
    app.add_directive("command", Command)
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
