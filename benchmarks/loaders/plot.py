"""The figures as a picture: images a second against the number of images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loaders.catalogue import BARE, ONE_BATCH, OURS, SMALLER
from loaders.turns import Result

__all__ = ["plot"]

INK, GREY = "#222222", "#8a8a8a"
LEGEND: dict[str, Any] = {"frameon": False, "handlelength": 3}
FAMILIES = (  # what a name begins with, its lines' colour
    ("mnist_sgd", "#c1272d"),
    (BARE.name, INK),
    (ONE_BATCH.name, INK),
    ("torchvision", "#7b4fa3"),
    ("torch", "#0b62a8"),
    ("fastai", "#2e8b57"),
)
PEERS = ("#b8860b", "#008b8b", "#a0522d", GREY)
STYLES = ("-", "--", "-.", ":")


def plot(measured: Mapping[int, Mapping[str, Result]], title: str, path: Path) -> None:
    """Draw a line for each contender on logarithmic axes, in the legend from the fastest."""
    from matplotlib.figure import Figure

    lines: dict[str, list[tuple[int, float]]] = {}
    for images, results in sorted(measured.items()):
        for result in results.values():
            if result.rates and result.name != SMALLER.name:
                lines.setdefault(result.name, []).append((images, result.median))
    figure = Figure(figsize=(10, 6.5), layout="constrained", facecolor="white")
    axes = figure.subplots()
    used: dict[str, int] = {}
    drawn = {
        name: _draw(axes, name, points, _colour(name, used), used) for name, points in lines.items()
    }
    _dress(axes, sorted(measured), title)
    ranked = sorted(drawn, key=lambda name: -lines[name][0][1])
    handles = [drawn[name] for name in ranked]
    axes.legend(handles, ranked, loc="center left", bbox_to_anchor=(1, 0.5), **LEGEND)
    figure.savefig(path, dpi=150)


def _draw(
    axes: Any, name: str, points: list[tuple[int, float]], colour: str, used: dict[str, int]
) -> Any:
    style = STYLES[used.get(colour, 0) % len(STYLES)]
    used[colour] = used.get(colour, 0) + 1
    width = 2.6 if name == OURS.name else 1.4
    x, y = zip(*points, strict=True)
    return axes.loglog(x, y, color=colour, ls=style, lw=width, marker="o", ms=4)[0]


def _colour(name: str, used: dict[str, int]) -> str:
    """The family's colour, or one that no other peer has."""
    family = next((colour for start, colour in FAMILIES if name.startswith(start)), None)
    return family or next((colour for colour in PEERS if colour not in used), GREY)


def _dress(axes: Any, images: list[int], title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_xlabel("images in the dataset, 784 bytes each")
    axes.set_ylabel("images a second, in shuffled batches of 256")
    axes.set_xticks(images, [_short(n) for n in images])
    axes.set_xticks([], minor=True)
    axes.grid(which="major", color="#dddddd", lw=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def _short(n: int) -> str:
    return f"{n / 1e6:g} M" if n >= 1_000_000 else f"{n / 1e3:.3g} k"
