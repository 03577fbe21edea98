"""The table of a fit in a notebook, and its progress bar: one output, updated in place."""

import re
import time
from html import escape
from typing import Any

from mnist_sgd.data.notebook import table
from mnist_sgd.training.callbacks.bar import BAR_INTERVAL


class NotebookTable:
    """Shows the lines of a fit's table as HTML, and a bar below it while the fit runs.

    It takes the place of `print` and of the `Bar` on a terminal.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bar = ""
        self.drawn = time.monotonic()
        self._handle: Any = None

    def __call__(self, line: str) -> None:
        """Add a line, the first of which has the names of the columns."""
        self.lines.append(line)
        self._show()

    def is_due(self) -> bool:
        """Whether it is time to draw the bar."""
        return time.monotonic() - self.drawn >= BAR_INTERVAL

    def draw(self, head: str, done: int, total: int, tail: str) -> None:
        """Draw `done` of `total`, between two texts; an unknown total is 0."""
        self.drawn = time.monotonic()
        value = f'value="{done}" max="{total}"' if total else ""
        self.bar = f"<p>{escape(head)}<progress {value}></progress>{escape(tail)}</p>"
        self._show()

    def erase(self) -> None:
        """Remove the bar."""
        self.drawn = time.monotonic()
        if self.bar:
            self.bar = ""
            self._show()

    def __repr__(self) -> str:
        return "\n".join(self.lines)

    def _repr_html_(self) -> str:
        rows = [re.split(r" {2,}", line.strip()) for line in self.lines]
        if any(len(row) != len(rows[0]) for row in rows):  # a very long number touches the next
            return f"<pre>{escape(chr(10).join(self.lines))}</pre>{self.bar}"
        return (table(rows[0], rows[1:]) if rows else "") + self.bar

    def _show(self) -> None:
        from IPython.display import display

        if self._handle is None:
            self._handle = display(self, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(self)
