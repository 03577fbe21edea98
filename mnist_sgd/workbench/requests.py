"""What a training is asked to do: the body of `POST /api/trainings`, checked as `train` checks it.

    {"set": "photos", "model": "cnn", "options": {"epochs": 20, "lr": 0.01}}

Without a set it is the sample that comes with the package. The options are those of
`mnist-sgd train`, with underscores. Custom models are not offered: nobody runs code over HTTP.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Any, Never

from mnist_sgd.cli.training.checks import check_settings
from mnist_sgd.cli.training.config import add_train_options, train_config
from mnist_sgd.cli.training.recipes import CUSTOM, RECIPES, Recipe
from mnist_sgd.workbench.errors import Refusal
from mnist_sgd.workbench.home import check_set_name
from mnist_sgd_serve.process.arguments import ArgumentParser, suggestion

MODELS = tuple(name for name in RECIPES if name != CUSTOM)

OPTIONS = (
    *(each.name for each in fields(Recipe)),
    *("seed", "mixed_precision", "drop_last", "early_stopping", "best", "positive", "preprocess"),
)

_SWITCHES = {"mixed_precision", "drop_last", "best"}
_BOTH_WAYS = {"shuffle", "augment"}


@dataclass(frozen=True)
class TrainingRequest:
    """A training that was asked for.

    Attributes:
        set: the name of the set; None for the sample.
        model: the name of a built-in model; None for the one that suits the pictures.
        options: of `mnist-sgd train`, by name.
    """

    set: str | None = None
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, body: object) -> "TrainingRequest":
        """Check the body of a request.

        Raises:
            Refusal: it is not an object, a member is unknown or of the wrong type, or a value is
                refused by `train`; the message names it.
        """
        if not isinstance(body, dict):
            raise Refusal("the body must be a JSON object")
        known = [each.name for each in fields(cls)]
        _check_known(body, known, "member")
        given: dict[str, Any] = {name: value for name, value in body.items() if value is not None}
        for name in ("set", "model"):
            if not isinstance(given.get(name, ""), str):
                raise Refusal(f"{name} must be a string, got {_shown(given[name])}")
        if "set" in given:
            check_set_name(given["set"])
        if "model" in given and given["model"] not in MODELS:
            near = suggestion(given["model"], MODELS)
            raise Refusal(
                f"model must be one of {', '.join(MODELS)}, got {given['model'][:64]!r}{near}"
            )
        options = given.setdefault("options", {})
        if not isinstance(options, dict):
            raise Refusal(f"options must be an object, got {_shown(options)}")
        _check_known(options, OPTIONS, "option")
        given["options"] = {
            name: options[name] for name in OPTIONS if options.get(name) is not None
        }
        request = cls(**given)
        request.check()
        return request

    def check(self) -> None:
        """Check the options as `train` does.

        Raises:
            Refusal: `train` would refuse them.
        """
        data = [] if self.set is None else ["--data", "set"]
        try:
            check_settings(train_config(_parser().parse_args([*data, *self.arguments()])))
        except ValueError as error:
            raise Refusal(_named(str(error))) from error

    def arguments(self) -> list[str]:
        """The model and the options as arguments of `mnist-sgd train`."""
        words = [] if self.model is None else [f"--model={self.model}"]
        for name, value in self.options.items():
            option = name.replace("_", "-")
            if name in _SWITCHES | _BOTH_WAYS:
                if type(value) is not bool:
                    raise Refusal(f"{name} must be true or false, got {_shown(value)}")
                if value:
                    words.append(f"--{option}")
                elif name in _BOTH_WAYS:
                    words.append(f"--no-{option}")
            elif isinstance(value, bool) or not isinstance(value, str | int | float):
                raise Refusal(f"{name} must be a number or a string, got {_shown(value)}")
            else:
                words.append(f"--{option}={value}")
        return words

    def digest(self) -> str:
        """Tell equal requests by equal digests."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class _Parser(ArgumentParser):
    """A parser whose errors are refusals."""

    def error(self, message: str) -> Never:
        raise Refusal(_named(message))


@cache
def _parser() -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    add_train_options(parser)
    return parser


def _named(message: str) -> str:
    """A message of the command line, with options named as in the body."""
    return message.removeprefix("--")


def _check_known(
    given: Mapping[str, object], known: "list[str] | tuple[str, ...]", what: str
) -> None:
    for name in given:
        if name not in known:
            near = suggestion(name, known) or f"; there are {', '.join(known)}"
            raise Refusal(f"there is no {what} {name[:64]!r}{near}")


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 64 else f"{text[:61]}..."
