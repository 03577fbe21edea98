"""The history of a training: metrics per epoch and per batch, as CSV and JSON."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_sgd._files import atomic_write
from mnist_sgd.report.folder import BATCHES, EPOCHS, HISTORY, write_json

if TYPE_CHECKING:
    from mnist_sgd.training.recorder import Recorder


@dataclass(frozen=True)
class History:
    """The numbers that a recorder has recorded.

    Attributes:
        names: the columns of `epochs`: train_loss, valid_loss and the metrics.
        epochs: one row per epoch.
        ends: number of batches done at the end of each epoch.
        losses: the smoothed training loss after each batch.
        lrs, moms: learning rate and momentum of each batch.
    """

    names: tuple[str, ...]
    epochs: Sequence[Sequence[float]]
    ends: Sequence[int]
    losses: Sequence[float]
    lrs: Sequence[float]
    moms: Sequence[float]

    @classmethod
    def of(cls, recorder: "Recorder") -> "History":
        """Return what the recorder has read so far, see `Recorder.read_losses`."""
        from mnist_sgd.training.recorder import unique_names

        count = len(recorder.losses)
        return cls(
            names=tuple(unique_names(recorder.metric_names[1:-1])),
            epochs=recorder.values,
            ends=recorder.iters,
            losses=recorder.losses,
            lrs=recorder.lrs[:count],
            moms=recorder.moms[:count],
        )

    @property
    def batch_epochs(self) -> list[int]:
        """The epoch of each batch, from 0."""
        epochs: list[int] = []
        for number, end in enumerate([*self.ends, len(self.losses)]):
            epochs += [number] * (end - len(epochs))
        return epochs

    def column(self, name: str) -> list[float]:
        """The values of one column, one per epoch."""
        place = self.names.index(name)
        return [row[place] for row in self.epochs]

    def write(self, folder: Path) -> None:
        """Write `history.csv`, `batches.csv` and `history.json`, each whole.

        Raises:
            OSError: a file cannot be written.
        """
        rows = [[number, *row] for number, row in enumerate(self.epochs)]
        _write_csv(folder / EPOCHS, ["epoch", *self.names], rows)
        batches = zip(self.batch_epochs, self.losses, self.lrs, self.moms, strict=True)
        numbered = [[number, *row] for number, row in enumerate(batches)]
        _write_csv(folder / BATCHES, ["batch", "epoch", "loss", "lr", "momentum"], numbered)
        write_json(folder / HISTORY, self._as_dict())

    def _as_dict(self) -> dict[str, Any]:
        columns = {"loss": self.losses, "lr": self.lrs, "momentum": self.moms}
        return {
            "epochs": [dict(zip(self.names, row, strict=True)) for row in self.epochs],
            "ends": list(self.ends),
            "batches": {name: list(column) for name, column in columns.items()},
        }


def _write_csv(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    atomic_write(path, text.getvalue().encode())
