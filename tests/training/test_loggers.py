"""The logs hold what the recorder holds, whole, also of a fit that went on."""

import csv
import importlib.util
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from hooks import StopAfter
from learners import BATCHES, learner
from mnist_sgd import (
    Checkpoint,
    CSVLogger,
    Learner,
    TensorBoard,
)
from mnist_sgd.training.distributed import CPU, DistributedContext


def test_a_csv_file_has_the_table_with_all_digits(tmp_path: Path) -> None:
    learn = learner()
    path = tmp_path / "new" / "h.csv"
    learn.fit(3, lr=0.1, cbs=CSVLogger(path))
    with path.open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["epoch", "train_loss", "valid_loss", "batch_accuracy", "time"]
    assert [row[0] for row in rows] == ["0", "1", "2"]
    assert [[float(cell) for cell in row[1:-1]] for row in rows] == learn.recorder.values
    assert [row[-1] for row in rows] == [line.split()[-1] for line in learn.recorder.lines]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("keep_going", [False, True])
def test_a_table_that_cannot_be_written_ends_the_fit_unless_keep_going_is_set(
    keep_going: bool, tmp_path: Path
) -> None:
    learn, path = learner(), tmp_path / "h.csv"
    path.mkdir()
    log = CSVLogger(path, keep_going=keep_going)
    with nullcontext() if keep_going else pytest.raises(IsADirectoryError):
        learn.fit(2, lr=0.1, cbs=log)
    assert len(learn.recorder.values) == (2 if keep_going else 1)
    assert str(log.error) == f"[Errno 21] Is a directory: '{path}'"
    path.rmdir()
    learn.fit(1, lr=0.1, cbs=log)
    assert (log.error, len(path.read_text().splitlines())) == (None, 2)


def test_other_ranks_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn = learner()
    learn.fit(1, lr=0.1)
    learn.ranks = DistributedContext(1, 2, CPU)
    monkeypatch.setattr("mnist_sgd.training.callbacks.loggers.find_spec", lambda name: "there")
    for cb in (CSVLogger(tmp_path / "new" / "h.csv"), TensorBoard(tmp_path / "events")):
        cb.before_fit(learn)
        cb.after_epoch(learn)
        cb.cleanup_fit(learn)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_tensorboard_is_said_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnist_sgd.training.callbacks.loggers.find_spec", lambda name: None)
    with pytest.raises(ImportError) as missing:
        TensorBoard(tmp_path)
    assert str(missing.value) == (
        "torch.utils.tensorboard writes with tensorboard, which is missing here: "
        "pip install tensorboard"
    )


needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="pip install tensorboard"
)


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The steps and values of each curve, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    read.Reload()
    return {
        tag: [(event.step, event.value) for event in read.Scalars(tag)]
        for tag in read.Tags()["scalars"]
    }


def expected(learn: Learner) -> dict[str, list[tuple[int, float]]]:
    recorder = learn.recorder
    curves = {"train/loss": recorder.losses, "train/lr": recorder.lrs}
    curves |= {"train/momentum": recorder.moms}
    found = {tag: list(enumerate(values)) for tag, values in curves.items()}
    for i, name in enumerate(recorder.metric_names[1:-1]):
        rows = zip(recorder.iters, recorder.values, strict=True)
        found[f"epoch/{name}"] = [(end - 1, row[i]) for end, row in rows]
    return found


def close(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether the curves are the same, as float32."""
    return found.keys() == wanted.keys() and all(
        [step for step, _ in curve] == [step for step, _ in wanted[tag]]
        and [value for _, value in curve] == pytest.approx([value for _, value in wanted[tag]])
        for tag, curve in found.items()
    )


@needs_tensorboard
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard")
def test_tensorboard_reads_every_batch_and_epoch(tmp_path: Path) -> None:
    learn = learner()
    learn.fit_one_cycle(3, lr_max=0.1, cbs=TensorBoard(tmp_path / "events"))
    assert len(learn.recorder.losses) == 3 * BATCHES
    assert close(events(tmp_path / "events"), expected(learn))


@needs_tensorboard
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard")
def test_tensorboard_sees_no_batch_twice_when_a_fit_went_on(tmp_path: Path) -> None:
    folder, checkpoint = tmp_path / "events", tmp_path / "c.safetensors"
    cut = [TensorBoard(folder), StopAfter(14), Checkpoint(checkpoint, every=4)]
    learner().fit(4, lr=0.1, cbs=cut)
    learn = learner()
    learn.fit(4, lr=0.1, cbs=TensorBoard(folder), resume=checkpoint)
    assert close(events(folder), expected(learn))
