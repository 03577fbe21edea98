"""The parser of both command lines: its errors are sentences that propose what was meant."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any, Never


def suggestion(given: str, known: Iterable[str]) -> str:
    """Propose the known word that is nearest to a given one, in parentheses; "" if none is near."""
    from difflib import get_close_matches  # here: only an error needs it

    words = {word.casefold(): word for word in known}
    near = get_close_matches(given.casefold(), words, n=1)
    return f" (did you mean {words[near[0]]}?)" if near else ""


class ArgumentParser(argparse.ArgumentParser):
    """A parser whose errors are one line, which begins with the option; subcommands use it too.

    Attributes:
        program: what error messages begin with.
    """

    program = "mnist_sgd_serve"

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**settings | {"exit_on_error": False})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse all arguments; unknown ones are an error too, of the subcommand that got them."""
        given = sys.argv[1:] if args is None else args
        self._check_options(given)
        try:
            parsed, unexpected = super().parse_known_args(given, namespace)
        except argparse.ArgumentError as error:
            self.error(self._sentence(error))
        if unexpected:
            self._unexpected(unexpected[0])
        return parsed, unexpected

    def _check_options(self, given: Sequence[str]) -> None:
        """Refuse unknown and ambiguous options, before a missing argument is missed."""
        for argument in takewhile(lambda each: each != "--", given):
            if self._subparsers is not None and not argument.startswith("-"):
                return  # the rest is for a command's own parser
            name = argument.partition("=")[0]
            if not name.startswith("--") or " " in name or name in self._option_string_actions:
                continue
            meant = [each[1] for each in self._get_option_tuples(name)]
            if not meant:
                self._unexpected(name)
            if len(meant) > 1:
                self.error(f"{name!r} may mean {', '.join(meant[:-1])} or {meant[-1]}")

    def _get_option_tuples(self, option_string: str) -> Any:
        """What an abbreviation may mean: earlier spellings, which are hidden, do not count."""
        found = super()._get_option_tuples(option_string)
        return [each for each in found if each[0].help != argparse.SUPPRESS] or found

    def _unexpected(self, argument: str) -> Never:
        if not argument.startswith("-"):
            self.error(f"unexpected argument {argument!r}")
        actions = self._option_string_actions.items()
        known = [name for name, action in actions if action.help != argparse.SUPPRESS]
        self.error(f"there is no option {argument!r}{suggestion(argument, known)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = list(map(str, action.choices))
        near, allowed = suggestion(str(value), choices), ", ".join(choices)
        if isinstance(action, argparse._SubParsersAction):
            text = f"there is no command {value!r}"
            raise argparse.ArgumentError(None, f"{text}{near or f'; choose from {allowed}'}")
        raise argparse.ArgumentError(action, f"must be one of {allowed}, got {value!r}{near}")

    def _sentence(self, error: argparse.ArgumentError) -> str:
        """What is wrong, beginning with the option; types of arguments say "must be ..."."""
        name, message = error.argument_name, error.message
        if name is None:
            return message
        if message.startswith("expected "):
            action, formatter = (
                self._option_string_actions[name.split("/")[0]],
                self._get_formatter(),
            )
            values = formatter._format_args(action, action.dest.upper())
            return f"{name} needs a value, as in {name} {values}"
        if message.startswith("ignored explicit argument "):
            return (
                f"{name} takes no value, got {message.removeprefix('ignored explicit argument ')}"
            )
        if message.startswith("not allowed with argument "):
            other = message.removeprefix("not allowed with argument ")
            return f"{name} and {other} exclude each other; give only one of them"
        return f"{name} {message}"

    def error(self, message: str) -> Never:
        """Print the message with the command that shows the help, and exit with code 2."""
        names = message.removeprefix("the following arguments are required: ")
        if names != message:
            message = f"{names} {'are' if ', ' in names else 'is'} missing"
        self.exit(2, f"{self.program}: {message}; {self.prog} --help shows what is allowed\n")
