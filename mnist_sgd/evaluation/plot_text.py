"""Names on figures: whatever a class or a run is called, it is drawn, and nothing else is said.

Matplotlib takes "$" for the start of a formula, warns of letters that its font lacks and of text
that leaves no room for the axes, and writes control characters into files that cannot hold them.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from mnist_sgd._names import printable

__all__ = ["drawn_name", "in_the_font", "plain_text"]

LONGEST = 30
"""Letters of a name on a figure, at most; of a longer one the middle is left out."""


@contextmanager
def plain_text() -> Iterator[None]:
    """Let text on figures that are made and saved in this block be what it says.

    It is no formula and, in SVG, it stays text, which a reader shows in fonts of its own.
    """
    from matplotlib import rc_context

    settings = rc_context({"text.parse_math": False, "text.usetex": False, "svg.fonttype": "none"})
    with settings, warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ \(.*\) missing from", UserWarning)
        yield


def drawn_name(name: str) -> str:
    r"""A name as it is drawn: with escapes such as `\x1b` for control characters, not too long."""
    text = printable(name)
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]}…{text[1 - half :]}"


def in_the_font(text: str) -> str:
    r"""The text with escapes such as `\u732b` for letters that Matplotlib's fonts lack.

    To be called inside `plain_text`, for files that hold drawn letters and no text.
    """
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties, findfont, get_font

    fonts = [get_font(findfont(FontProperties(family=[name]))) for name in rcParams["font.family"]]
    return "".join(
        each
        if any(font.get_char_index(ord(each)) for font in fonts)
        else each.encode("unicode_escape").decode()
        for each in text
    )
