"""`mnist-sgd train --resume`, killed again and again, leaves the files of the undisturbed run."""

import random
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from killing import batches_done, kill, start, wait_for, wait_for_batches
from mnist_sgd._state_file import parse
from mnist_sgd.cli import main
from waiting import PATIENCE

Output = pytest.CaptureFixture[str]

KILLS = 20

EVERY = 3

EPOCHS = 20
"""Of 49 batches: 980."""

MOST = 980 // KILLS
"""Batches from one kill to the next: each waits for 18 at most, and comes within some more."""

TRAIN = ["train", "--model", "mlp", "--epochs", str(EPOCHS), "--shuffle", "--seed", "3", "--out"]


def table(text: str) -> list[str]:
    """The lines of a run's table without their last column, the time."""
    return [line.rsplit(maxsplit=1)[0] for line in text.splitlines() if re.match(r"epoch|\d", line)]


def position(checkpoint: Path) -> tuple[int, int]:
    """How many epochs, and images of the next, a run's checkpoint has; (-1, 0) if it has none."""
    if not checkpoint.exists():
        return -1, 0
    state = parse(checkpoint.read_bytes())
    return state["epoch"], state["train"]["samples_seen"]


def kill_in_the_middle(
    arguments: list[str], output: Path, checkpoint: Path, batches: int, seconds: float
) -> None:
    """Start a run, and kill it so long after so many batches that others are left to do.

    If this process was kept from running meanwhile, the kill came too late: then once more, from
    where the run was before, and sooner.
    """
    before = checkpoint.read_bytes() if checkpoint.exists() else None
    done, end = batches_done(checkpoint), time.monotonic() + PATIENCE
    while True:
        process = start(arguments, output)
        wait_for_batches(process, checkpoint, batches)
        time.sleep(seconds)
        if kill(process) and batches_done(checkpoint) <= done + MOST:
            return
        assert time.monotonic() < end, "each kill came too late"
        seconds /= 2
        shutil.rmtree(checkpoint.parent)
        checkpoint.parent.mkdir()
        if before is not None:
            checkpoint.write_bytes(before)


def finished(arguments: list[str], output: Path) -> list[str]:
    """The table of a run that is left alone."""
    process = start(arguments, output)
    process.join(PATIENCE)
    assert process.exitcode == 0
    return table(output.read_text())


def test_killed_at_twenty_random_moments_a_run_leaves_the_undisturbed_runs_files(
    tmp_path: Path,
) -> None:
    undisturbed, killed, output = tmp_path / "undisturbed", tmp_path / "killed", tmp_path / "output"
    printed = finished([*TRAIN, str(undisturbed)], output)
    assert len(printed) == 1 + EPOCHS

    arguments = [*TRAIN, str(killed), "--checkpoint-every", str(EVERY), "--resume"]
    checkpoint = killed / "checkpoint.safetensors"
    chance = random.Random(0)
    positions = []
    for _ in range(KILLS - 1):
        batches = chance.randint(0, 6) * EVERY
        pause = chance.uniform(0, 0.01)  # a checkpoint is written every few milliseconds
        kill_in_the_middle(arguments, output, checkpoint, batches, pause)
        positions.append(position(checkpoint))
    assert positions == sorted(positions)
    assert len(set(positions)) > KILLS // 2
    assert (1, 0) < positions[-1] < (EPOCHS, 0)

    process = start(arguments, output)
    wait_for(process, lambda: position(checkpoint) == (EPOCHS, 0))
    time.sleep(chance.uniform(0, 0.2))  # the model's files take longer, on most machines
    kill(process)

    assert finished(arguments, output) == printed
    assert sorted(path.name for path in killed.iterdir()) == [
        "checkpoint.safetensors",
        "model.onnx",
        "model.safetensors",
    ]
    for name in ("model.safetensors", "model.onnx"):
        assert (killed / name).read_bytes() == (undisturbed / name).read_bytes()


# What the command says and refuses.


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one epoch that wrote checkpoints."""
    folder = tmp_path_factory.mktemp("one") / "epoch"
    assert main(["train", "--epochs", "1", "--checkpoint-every", "20", "--out", str(folder)]) == 0
    return folder


def test_the_same_line_begins_goes_on_and_finds_the_end(tmp_path: Path, capsys: Output) -> None:
    line = ["train", "--epochs", "1", "--resume", "--out", str(tmp_path)]
    checkpoint = tmp_path / "checkpoint.safetensors"
    assert main(line) == 0
    begun = capsys.readouterr()
    assert begun.err == "mnist-sgd: no checkpoint yet; starting the training\n"
    assert main(line) == 0
    again = capsys.readouterr()
    assert again.err == f"mnist-sgd: {checkpoint}: the training is complete\n"
    assert again.out == begun.out
    line[2] = "2"
    assert main(line) == 0
    longer = capsys.readouterr()
    assert longer.err == f"mnist-sgd: {checkpoint}: resuming in epoch 1 after 0 batches\n"
    assert table(longer.out)[:2] == table(begun.out)
    assert len(table(longer.out)) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lr", "0.5"], "other learning rate: the checkpoint has 1.0, this fit has 0.5"),
        (["--model", "mlp"], "other model: the checkpoint has linear, this fit has mlp"),
        (
            ["--batch-size", "128"],
            "the state is of another batch_size: it has 256, this loader has 128",
        ),
        (["--seed", "1"], "the state is of another seed: it has 0, this loader has 1"),
        (["--shuffle"], "the state is of another shuffle: it has 0, this loader has 1"),
        (["--drop-last"], "the state is of another drop_last: it has 0, this loader has 1"),
        (["--momentum", "0.9"], "other momentum: the checkpoint has 0.0, this fit has 0.9"),
        (["--weight-decay", "0.5"], "other weight decay: the checkpoint has 0.0, this fit has 0.5"),
        (
            ["--mixed-precision"],
            "other mixed precision: the checkpoint has none, this fit has bfloat16",
        ),
        (
            ["--loss", "cross-entropy"],
            "other loss: the checkpoint has mnist_loss, this fit has cross_entropy",
        ),
        (
            ["--best"],
            "other callbacks with a state: the checkpoint has none, this fit has SaveBest",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_options_that_contradict_the_checkpoint_are_refused_by_name(
    options: list[str], message: str, one_epoch: Path, capsys: Output
) -> None:
    files = {path.name: path.read_bytes() for path in one_epoch.iterdir()}
    assert main(["train", "--resume", "--out", str(one_epoch), *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"mnist-sgd: {one_epoch / 'checkpoint.safetensors'}: {message}; resume with the options "
        "and data that the training started with, or start again without --resume\n"
    )
    assert {path.name: path.read_bytes() for path in one_epoch.iterdir()} == files


def test_a_run_whose_checkpoint_is_refused_can_begin_anew(here: Path, capsys: Output) -> None:
    line = ["train", "--epochs", "1", "--run", "a", "--resume"]
    assert main(line) == 0
    capsys.readouterr()
    assert main([*line, "--lr", "0.5"]) == 2
    assert capsys.readouterr().err == (
        "mnist-sgd: runs/a/checkpoint.safetensors: other learning rate: the checkpoint has 1.0, "
        "this fit has 0.5; resume with the options and data that the training started with, or "
        "start again with --overwrite instead of --resume\n"
    )
    assert main([*line[:-1], "--overwrite", "--lr", "0.5"]) == 0


def test_a_damaged_checkpoint_is_refused_in_one_line(
    one_epoch: Path, tmp_path: Path, capsys: Output
) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes((one_epoch / checkpoint.name).read_bytes()[:-1])
    assert main(["train", "--resume", "--out", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"mnist-sgd: {checkpoint}: not a checkpoint: not a safetensors file: ")
    assert err.count("\n") == 1


def test_sigterm_leaves_whole_files_alone(tmp_path: Path) -> None:
    folder, output = tmp_path / "out", tmp_path / "output"
    arguments = ["train", "--epochs", "9999", "--checkpoint-every", "1", "--out", str(folder)]
    process = start(arguments, output)
    wait_for_batches(process, folder / "checkpoint.safetensors", 5)
    process.terminate()
    process.join(PATIENCE)
    assert process.exitcode == 128 + signal.SIGTERM
    assert [path.name for path in folder.iterdir()] == ["checkpoint.safetensors"]
