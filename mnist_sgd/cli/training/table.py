"""Standard output of a training, which goes on if nobody can read it any more."""

import os
import sys
from contextlib import suppress

__all__ = ["Table"]


class Table:
    """Prints lines on standard output until that fails; the training is not to be lost by it.

    Attributes:
        error: what the first line that could not be printed met; None while all is well.
    """

    def __init__(self) -> None:
        self.error: OSError | ValueError | None = None

    def __call__(self, line: str) -> None:
        """Print a line at once."""
        if self.error is not None:
            return
        try:
            print(line, flush=True)
        except (OSError, ValueError) as error:  # ValueError: it was closed by this process
            self.error = error
            _discard_output()

    @property
    def exit_code(self) -> int:
        """0, also if the reader has left; 1 if lines are lost that somebody still wants."""
        return 0 if self.error is None or isinstance(self.error, BrokenPipeError) else 1


def _discard_output() -> None:
    """Send what is left in the stream's buffer nowhere, or Python's exit would fail on it."""
    with suppress(OSError, ValueError, AttributeError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
