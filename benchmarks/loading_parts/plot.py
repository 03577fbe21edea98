"""The figures as a picture: images a second against the number of images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loading_parts.catalogue import BARE, SMALLER
from loading_parts.turns import Result

__all__ = ["plot"]

INK, GREY = "#222222", "#8a8a8a"
FAMILIES = (  # what a name begins with, its lines' colour
    ("mnist_sgd", "#c1272d"),
    (BARE.name, INK),
    ("bare C++ loop", INK),
    ("torchvision", "#7b4fa3"),
    ("torch", "#0b62a8"),
    ("fastai", "#2e8b57"),
)
PEERS = ("#b8860b", "#008b8b", "#a0522d", GREY)
STYLES = ("-", "--", "-.", ":")


def plot(measured: Mapping[int, Mapping[str, Result]], title: str, path: Path) -> None:
    """Draw a line for each way, named beside it, on two logarithmic axes."""
    from matplotlib.figure import Figure

    lines: dict[str, list[tuple[int, float]]] = {}
    for images, results in sorted(measured.items()):
        for result in results.values():
            if result.rates and result.name != SMALLER.name:
                lines.setdefault(result.name, []).append((images, result.median))
    figure = Figure(figsize=(10, 6.5), layout="constrained", facecolor="white")
    axes = figure.subplots()
    used: dict[str, int] = {}
    for name, points in sorted(lines.items(), key=lambda line: -line[1][0][1]):
        colour = _colour(name, used)
        style = STYLES[used[colour] % len(STYLES)]
        used[colour] += 1
        axes.loglog(
            *zip(*points, strict=True), color=colour, ls=style, marker="o", ms=4, label=name
        )
    _dress(axes, sorted(measured), title)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, handlelength=3)
    figure.savefig(path, dpi=150)


def _colour(name: str, used: dict[str, int]) -> str:
    """The family's colour, or one that no other peer has."""
    colour = next((colour for start, colour in FAMILIES if name.startswith(start)), None)
    if colour is None:
        colour = next((colour for colour in PEERS if colour not in used), GREY)
    used.setdefault(colour, 0)
    return colour


def _dress(axes: Any, images: list[int], title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_xlabel("images in the dataset, 784 bytes each")
    axes.set_ylabel("images a second, in shuffled batches of 256")
    axes.set_xticks(images, [f"{n:,}" for n in images], minor=False)
    axes.set_xticks([], minor=True)
    axes.grid(which="major", color="#dddddd", lw=0.8)
    axes.spines[["top", "right"]].set_visible(False)
