"""The files of runs, which other commands do not write over."""

import os
from pathlib import Path

from mnist_sgd.report import folder as files

__all__ = ["check_not_a_runs_file"]


def check_not_a_runs_file(path: Path, option: str) -> None:
    """Refuse an output that is, or would be taken for, a file that `train --run` leaves.

    Args:
        path: where the output would go.
        option: that names it.

    Raises:
        ValueError: so it is; the message names the run.
    """
    real = Path(os.path.realpath(path))
    chart = real.parent.name == files.PLOTS
    folder = real.parent.parent if chart else real.parent
    if (real.suffix == ".svg" if chart else real.name in files.FILES) and files.is_run(folder):
        shown = path.parent.parent if chart else path.parent
        raise ValueError(f"{path} belongs to the run {shown}; choose another name for {option}")
