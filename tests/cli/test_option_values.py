"""Every option of every command takes a value, or says in one line what it takes."""

import argparse
import re
from collections.abc import Iterator

import pytest

from mnist_sgd.cli.parser import parser
from mnist_sgd.cli.training.config import train_config
from mnist_sgd_serve.command import _settings
from mnist_sgd_serve.settings import OPTIONS

WRONG = ("x", "-1", "0", "nan", "inf", "")
TEXT = {"x", "-1", "0", "nan", "inf"}
"""What a file, a folder or a class may be called."""

WORDS = {"x", "0", "nan", "inf"}
"""What a run or a model may be called, which begins with a letter or a digit."""

WHOLE = parser()

POSITIONALS = {
    "compare": ["run"],
    "export": ["model.safetensors", "model.onnx"],
    "predict": ["three.png"],
    "pack": ["photos", "packed"],
}

ZERO = {"0"}
TAKEN = {
    "--seed --momentum --weight-decay --threshold --port --grpc-port": ZERO,
    "--shutdown-delay --drain-seconds --busy-poll --poll-seconds": ZERO,
    "--data --home --root --cache --out --csv --tensorboard --html --plot --write": TEXT,
    "--classes --positive --unix-socket --tls-cert": TEXT,
    "--host --token": TEXT,  # the system knows the names of hosts
    "--run --name --allow-host": WORDS,
    "--root-path": {""},  # the default
}
"""The values that work by design; other options take none of them."""


def commands() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command."""
    (found,) = (each.choices for each in WHOLE._actions if isinstance(each.choices, dict))
    return found


def options() -> Iterator[tuple[str, str]]:
    """Each command's options with a value, their earlier names too."""
    for name, command in commands().items():
        for action in command._actions:
            if action.nargs != 0 and not isinstance(action, argparse.BooleanOptionalAction):
                yield from ((name, option) for option in action.option_strings)


def use(command: str, option: str, value: str) -> None:
    """Read a command line as the command does before its work."""
    words = [option, value, "b"] if option == "--classes" else [f"{option}={value}"]
    args = WHOLE.parse_args([command, *POSITIONALS.get(command, []), *words])
    if command == "train":
        train_config(args)
    if command == "serve":
        _settings(args)


def refusal(command: str, option: str, value: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said about a value; "" if it is taken."""
    try:
        use(command, option, value)
    except ValueError as error:
        return str(error)
    except SystemExit as ended:
        assert ended.code == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        return err.removeprefix("mnist-sgd: ")
    return ""


SAYS = "(must be|must name|needs a certificate|a run's name is) "


def named(command: str, option: str) -> str:
    """What a message begins with; that about a setting's earlier name may have the new one."""
    action = commands()[command]._option_string_actions[option]
    return "--[a-z-]+" if action.help == argparse.SUPPRESS else option


@pytest.mark.parametrize(("command", "option"), list(options()))
def test_a_value_is_taken_or_the_option_says_what_it_takes(
    command: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {value: refusal(command, option, value, capsys) for value in WRONG}
    taken = {value for value, text in said.items() if not text}
    by_design = [values for names, values in TAKEN.items() if option in names.split()]
    if (command, option) == ("predict", "--model"):
        by_design = [TEXT]  # a file
    assert taken == set().union(*by_design)
    for value, text in said.items():
        assert value in taken or re.match(rf"{named(command, option)}:? {SAYS}", text), text


@pytest.mark.parametrize("command", ["train", "evaluate", "serve"])
def test_an_option_without_its_value_says_how_it_is_given(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, option in options():
        if name != command or option == "--write":  # whose value may be left out
            continue
        with pytest.raises(SystemExit):
            WHOLE.parse_args([command, option])
        assert capsys.readouterr().err.startswith(
            f"mnist-sgd: {option} needs a value, as in {option} "
        )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["train", "--lr", "x"], "--lr must be a positive number or find, got 'x'"),
        (
            ["train", "--lr", "fnd"],
            "--lr must be a positive number or find, got 'fnd' (did you mea",
        ),
        (
            ["train", "--threads", "999"],
            "--threads must be a whole number from 1 to 256, got '999'",
        ),
        (["train", "--batch-size", "9" * 20], "--batch-size must be a whole number from 1 to 9223"),
        (
            ["serve", "--body-timeout", "0"],
            "--body-timeout must be a number of seconds from 0.001 ",
        ),
        (["serve", "--max-body", "x"], "--max-body must be a whole number of bytes from 1 to 2147"),
        (["serve", "--log", "jsn"], "--log must be one of json, text, got 'jsn' (did you mean jso"),
        (["export", "a", "b", "--model", "cn"], "got 'cn' (did you mean cnn?)"),
    ],
)
def test_the_sentence_says_the_range_or_what_was_meant(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        _settings(WHOLE.parse_args(words))
    except ValueError as error:
        assert text in str(error)
    except SystemExit:
        assert text in capsys.readouterr().err
    else:
        pytest.fail("it was taken")


def test_a_wrong_token_of_the_environment_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MNIST_SGD_TOKEN", "")
    with pytest.raises(ValueError, match=r"^MNIST_SGD_TOKEN must be visible ASCII characters"):
        _settings(WHOLE.parse_args(["serve"]))


def test_every_option_is_in_a_group_of_the_help_and_examples_are_at_its_end() -> None:
    for name, command in commands().items():
        general = {*command._action_groups[1]._group_actions}
        assert {each.dest for each in general if each.help != argparse.SUPPRESS} == {
            "help",
            "debug",
        }
        text = command.format_help()
        groups = [f"\n{group.title}:\n" for group in command._action_groups if group._group_actions]
        places = [text.index(each) for each in [*groups, "\nexamples:\n"]]
        assert places == sorted(places), name


def test_a_value_that_has_a_unit_is_called_after_it() -> None:
    shown = commands()["serve"].format_help()
    for option in OPTIONS:
        if option.endswith(("timeout", "seconds", "delay", "interval")):
            assert f"--{option.replace('_', '-')} SECONDS" in shown
    for text in ("--max-pixels PIXELS", "--max-body BYTES", "--port PORT", "--tls-cert FILE"):
        assert text in shown
