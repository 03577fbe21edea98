"""What a comparison says first: which run to take, how sure that is, and where its report is."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from mnist_sgd import write_run
from mnist_sgd.report.comparison import Row, compare_runs
from mnist_sgd.report.comparison_page import _verdict, comparison_page
from mnist_sgd.report.contest import Contest, Side
from mnist_sgd.report.reader import read_run
from runs import easy_set, learner


def pair(name: str, errors: int, images: int = 100) -> Any:
    accuracy = 1 - errors / images
    row = Row(name, "cnn", 1, accuracy, errors, None, None, None, None)
    return row, type("Run", (), {"evaluation": {"images": images}})()


def contest(best: str, other: str, ahead: int, behind: int) -> Contest:
    return Contest(Side(best, other, ahead, ()), Side(other, best, behind, ()))


FIRST = "a is the most accurate, 98\N{NO-BREAK SPACE}% (95 % interval 93 to 99\N{NO-BREAK SPACE}%)."


@pytest.mark.parametrize(
    ("others", "contests", "said"),
    [
        ([], [], FIRST),
        (
            ["b"],
            [contest("a", "b", 20, 1)],
            f"{FIRST} Its lead over the other is more than chance.",
        ),
        (
            ["b", "c"],
            [contest("a", "b", 20, 1), contest("a", "c", 30, 0)],
            f"{FIRST} Its lead over the others is more than chance.",
        ),
        (
            ["b", "c"],
            [contest("a", "b", 3, 1), contest("a", "c", 30, 0)],
            f"{FIRST} But b may be as good: the difference can be chance.",
        ),
        (["b"], [], FIRST),  # its mistakes are not known
    ],
    ids=["alone", "better", "best", "not surely", "unknown"],
)
def test_the_first_sentence_says_which_to_take(
    others: list[str], contests: list[Contest], said: str
) -> None:
    pairs = [pair("a", 2), *(pair(name, 30) for name in others)]
    assert _verdict(pairs, contests) == said


def test_the_page_links_to_the_reports_and_says_nothing_of_runs_on_other_images(
    tmp_path: Path,
) -> None:
    for name, flipped in (("a b", 0), ("c", 3)):
        write_run(learner(valid=easy_set(flipped=flipped)), tmp_path / "runs" / name, {"lr": 0.5})
    runs = compare_runs([read_run(tmp_path / "runs" / name) for name in ("a b", "c")])
    place = tmp_path / "pages"
    page = comparison_page(runs, place=place)
    assert 'id="verdict"' not in page
    addresses = re.findall(r'<a href="([^"]+)">', page)
    assert [(place / unquote(one)).resolve() for one in addresses] == [
        tmp_path / "runs" / name / "report.html" for name in ("a b", "c")
    ]
    assert 'id="verdict"' in comparison_page(runs[:1])
