"""What objects show in a notebook: small HTML that is readable on light and dark ground."""

import sys
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

SCALE = 2
"""Screen pixels of an image's pixel."""


def in_notebook() -> bool:
    """Return whether a notebook shows what this process displays; IPython is never imported."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def row_of_images(images: NDArray[np.uint8], text: str) -> str:
    """Show images next to each other.

    Args:
        images: uint8 `[N, 28, 28]`, N at least 1.
        text: what they are, for those who do not see them.
    """
    from PIL import Image

    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    file = BytesIO()
    Image.fromarray(np.concatenate([*padded], axis=1)).save(file, "PNG")
    address = f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
    height, width = padded.shape[1], padded.shape[0] * padded.shape[2]
    return (
        f'<img src="{address}" alt="{escape(text)}" width="{SCALE * width}" '
        f'height="{SCALE * height}" style="image-rendering: pixelated; max-width: none">'
    )


def facts(title: str, values: Mapping[str, str]) -> str:
    """Show a title, and values by name."""
    rows = "".join(
        f'<tr><th style="text-align: left">{escape(name)}</th>'
        f'<td style="text-align: left">{value if value.startswith("<img") else escape(value)}</td>'
        "</tr>"
        for name, value in values.items()
    )
    return f"<p><strong>{escape(title)}</strong></p><table>{rows}</table>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Show rows of numbers under their names."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
