"""The style of charts, and names as text in them.

Class and run names can be any text. Matplotlib treats "$" as the start of a formula, warns about
characters that its font lacks, and writes control characters into files that cannot hold them.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from mnist_sgd._installed import need
from mnist_sgd._names import printable
from mnist_sgd.report.palette import INK, LINE, PAPER, SOFT

LONGEST = 30
"""Maximum length of a name in a chart; the middle of a longer one is left out."""

_STYLE = {
    "svg.hashsalt": "mnist_sgd",
    "svg.fonttype": "none",  # text stays text, shown in the reader's fonts
    "text.parse_math": False,
    "text.usetex": False,
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the layout is always the same
    "font.size": 11,
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "text.color": INK.light,
    "axes.labelcolor": SOFT.light,
    "axes.edgecolor": LINE.light,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE.light,
    "grid.linewidth": 0.8,
    "xtick.color": LINE.light,
    "ytick.color": LINE.light,
    "xtick.labelcolor": SOFT.light,
    "ytick.labelcolor": SOFT.light,
    "lines.linewidth": 1.8,
    "figure.facecolor": PAPER.light,
    "figure.constrained_layout.use": True,
    "savefig.facecolor": PAPER.light,
    "figure.dpi": 72,
}


@contextmanager
def plot_style(*, user_fonts: bool = False) -> Iterator[None]:
    """Apply the style of the report to figures made and saved in this block.

    Args:
        user_fonts: use the fonts of the user's matplotlibrc.

    Raises:
        ImportError: matplotlib is missing.
    """
    need("matplotlib", "a chart")
    from matplotlib import rcParams, style

    fonts = {key: rcParams[key] for key in ("font.family", "font.sans-serif") if user_fonts}
    with style.context(["default", _STYLE | fonts]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ \(.*\) missing from", UserWarning)
        yield


def drawn_name(name: str) -> str:
    r"""Shorten a name for a chart, with escapes such as `\x1b` for control characters."""
    text = printable(name)
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]}…{text[1 - half :]}"


def in_the_font(text: str) -> str:
    r"""Replace characters that matplotlib's fonts lack by escapes such as `\u732b`.

    For formats that store drawn letters instead of text.
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
