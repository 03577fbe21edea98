"""The weights and the artifact of a trained model, which are replaced together."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_sgd._files import move_over, remove_leftovers
from mnist_sgd.report.folder import ARTIFACT, UNEXPORTED, WEIGHTS

if TYPE_CHECKING:
    from mnist_sgd.export import ExportReport
    from mnist_sgd.training.learner import Learner


def save_pair(
    learn: "Learner", folder: Path, on_kept: Callable[[Path], None] | None = None
) -> "ExportReport":
    """Write the weights and export the model; keep an older pair until the new one is verified.

    Until then the new weights have a temporary name. If the export fails, they keep that name: no
    training is lost, and the older pair stays consistent.

    Args:
        learn: after its fit.
        folder: where the files go; no other process may write there.
        on_kept: called with the path of the new weights if anything but a failed export, such as a
            signal, leaves them next to an older pair.

    Raises:
        ExportError: the model cannot be exported; the message says where its weights are.
        OSError, WeightsError: the weights or the artifact cannot be written.
    """
    from mnist_sgd.export import ExportError

    weights, artifact = folder / WEIGHTS, folder / ARTIFACT
    is_there = weights.exists() or artifact.exists()
    saved = folder / UNEXPORTED if is_there else weights
    for path in (weights, artifact, saved):
        remove_leftovers(path)
    if is_there and weights.exists():
        _make_as_private(saved, weights)
    try:
        learn.save(saved)
    except BaseException:
        if saved != weights:
            saved.unlink(missing_ok=True)
        raise
    try:
        report = learn.export(artifact)
    except ExportError as error:
        reason = f"{error.reason}; the trained weights are in {saved}"
        raise ExportError(reason, artifact) from error
    except BaseException:
        if is_there and on_kept is not None:
            on_kept(saved)
        raise
    if saved != weights:
        move_over(saved, weights)
    return report


def _make_as_private(path: Path, old: Path) -> None:
    """Create a file that is readable only for those who can read the old one."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL, stat.S_IMODE(old.stat().st_mode) | 0o600))
