"""A class may have any name that a folder can have, on the command line too."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from mnist_sgd.cli import _parser, main
from mnist_sgd.cli.options.class_names import option_with
from mnist_sgd.cli.program import program
from pictures import fill

Output = pytest.CaptureFixture[str]


@given(st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), min_size=1))
def test_the_advised_option_gives_the_class_name_back(name: str) -> None:
    words = shlex.split(option_with("--positive", name))
    assert _parser().parse_args(["train", "--data", "x", *words]).positive == name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cat", "--positive cat"),
        ("hot dog", "--positive='hot dog'"),
        ("-a", "--positive=-a"),
        ("it's", """--positive='it'"'"'s'"""),
    ],
)
def test_a_class_name_is_quoted_for_the_shell(name: str, text: str) -> None:
    assert option_with("--positive", name) == text


def test_names_that_begin_like_options_follow_their_option(tmp_path: Path, capsys: Output) -> None:
    fill(tmp_path / "data", {"-a": 20, "-b": 20, "hot dog": 20})
    line = ["pack", str(tmp_path / "data"), str(tmp_path / "out"), "--classes", "-a", "-b"]
    assert main([*line, "--workers", "1"]) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path}/out: 40 images, 20 of -a, 20 of -b\n"
        "pictures preprocessed as drawn characters (--preprocess mnist): 20 of 20 -a "
        "and 20 of 20 -b look "
        "like drawn characters; for whole pictures: --preprocess fit\n"
        "the positive class is -b; use --positive=-a to swap\n"
        f"next: {program()} train --data {tmp_path}/out\n"
    )
    assert main([*line[:3], "--classes", "-b", "hot dog", "--positive", "-b"]) == 0
    assert capsys.readouterr().out.endswith(
        "the positive class is -b; use --positive='hot dog' to swap\n"
        f"next: {program()} train --data {tmp_path}/out\n"
    )


@pytest.mark.parametrize("after", [["--epochs", "3"], ["--epo", "3"], ["-h"], []])
def test_an_option_is_not_read_as_a_class_name(after: list[str], capsys: Output) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "--data", "x", "--positive", *after])
    assert ended.value.code == 2
    assert "--positive needs a value, as in --positive NAME" in capsys.readouterr().err


def test_training_quotes_the_other_class_for_the_shell(tmp_path: Path, capsys: Output) -> None:
    fill(tmp_path / "data", {"hot dog": 20, "pizza": 20})
    options = ["--model", "linear", "--epochs", "1", "--out", str(tmp_path / "out")]
    assert main(["train", "--data", str(tmp_path / "data"), *options]) == 0
    said = "it gives the probability of pizza (--positive='hot dog' for the other). "
    assert said in capsys.readouterr().err
