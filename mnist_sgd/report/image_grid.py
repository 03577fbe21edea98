"""Draw images in a grid with titles: for `show_batch`, `show_results` and `plot_top_losses`."""

from collections.abc import Sequence
from math import ceil, sqrt
from typing import Any, TypedDict

from numpy.typing import NDArray

from mnist_sgd.report.palette import GREEN, INK, POSITIVE
from mnist_sgd.report.plot_style import drawn_name, plot_style


class Layout(TypedDict, total=False):
    """How a grid is laid out; what is missing follows from the number of images.

    Attributes:
        nrows: number of rows.
        ncols: number of columns.
        figsize: width and height in inches.
    """

    nrows: int
    ncols: int
    figsize: tuple[float, float]


def most_images(max_n: int, layout: Layout) -> int:
    """Return how many images are shown: `max_n`, or as many as the grid has places."""
    if "nrows" in layout and "ncols" in layout:
        return layout["nrows"] * layout["ncols"]
    return max_n


def draw_images(
    images: NDArray[Any],
    titles: Sequence[str],
    layout: Layout,
    right: Sequence[bool] | None = None,
    heading: str = "",
) -> None:
    """Draw grey images as a new figure of pyplot, which a notebook shows below the cell.

    Args:
        images: `[N, H, W]`, at least one; uint8 from black to white, other dtypes from the darkest
            pixel of each image to its lightest.
        titles: of each image; may have several lines.
        layout: of the grid.
        right: whether each title is in the colour for right or for wrong; None for neither.
        heading: of the figure.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: there is no image.
    """
    if len(images) == 0:
        raise ValueError("there is no image to draw; at least 1 is needed")
    rows = layout.get("nrows", 0)
    columns = layout.get("ncols", ceil(len(images) / rows) if rows else ceil(sqrt(len(images))))
    rows = rows or ceil(len(images) / columns)
    height = 2.0 + 0.2 * titles[0].count("\n")  # inches
    default = max(2.0 * columns, 3.5), height * rows + 0.4 * bool(heading)
    limits = {"vmin": 0, "vmax": 255} if images.dtype == "uint8" else {}
    with plot_style():
        from matplotlib import pyplot

        size = layout.get("figsize", default)
        figure, grid = pyplot.subplots(rows, columns, squeeze=False, figsize=size)
        if heading:
            figure.suptitle(heading)
        for axes in grid.flat:
            axes.set_axis_off()
        for i, (axes, image) in enumerate(zip(grid.flat, images, strict=False)):  # some stay empty
            colour = INK if right is None else GREEN if right[i] else POSITIVE
            axes.imshow(image, cmap="gray", **limits)
            lines = map(drawn_name, titles[i].split("\n"))
            axes.set_title("\n".join(lines), color=colour.light)
