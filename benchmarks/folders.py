"""A folder of 20,000 pictures: read into the cache by one and two processes, and delivered.

    python benchmarks/folders.py [--files 20000] [--side 64] [--turns 5]

The pictures are the sample's digits, enlarged, each with a mark of its own, as PNG files. In a turn
they are read into an empty cache by one process and by two, and a second start finds the cache; the
seconds are those of `load_data`, in a process of its own. Then our DataLoader and torch's over
torchvision's ImageFolder with ToTensor deliver an epoch of all pictures, in batches of 256,
shuffled. Prints the medians over the turns and the ratios to the goals; exits with 1 if one is
missed.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from harness.goals import Goal, all_met, goals_text
from harness.machine import busy, machine_text
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import ToTensor

from mnist_sgd import DataLoader, ImageSet, load_data, mnist_sample

BATCH = 256
LEAST_SECONDS = 0.2
"""Ours delivers so many epochs that they take this long, for one takes milliseconds."""

LOAD = """
import sys, time
from mnist_sgd import load_data
if __name__ == "__main__":
    start = time.perf_counter()
    data = load_data(sys.argv[1], cache=sys.argv[2], workers=int(sys.argv[3]))
    seconds = time.perf_counter() - start
    print(len(data.train) + len(data.valid), seconds)
"""


Epoch = Callable[[], Iterable[torch.Tensor]]


def write_pictures(folder: Path, count: int, side: int) -> None:
    """Write PNG files of threes and sevens, all of which differ."""
    train, _ = mnist_sample()
    order = np.random.default_rng(0).permutation(len(train))
    for number in range(count):
        row = order[number % len(train)]
        image = np.array(Image.fromarray(train.images[row]).resize((side, side)))
        image[0, :2] = number % 200, number // 200  # so that no two files are equal
        inside = folder / train.classes[train.labels[row]]
        inside.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(inside / f"{number:06}.png")


def seconds_to_load(folder: Path, cache: Path, workers: int, count: int) -> float:
    """The seconds of `load_data` in a process of its own."""
    line = [sys.executable, "-c", LOAD, str(folder), str(cache), str(workers)]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    images, seconds = done.stdout.split()
    if int(images) != count:
        raise RuntimeError(f"{images} of {count:,} pictures were read")
    return float(seconds)


def rate(epoch: Epoch, count: int, least: float) -> float:
    """Pictures a second, over whole epochs that take so many seconds at least."""
    seen, start = 0, time.perf_counter()
    while True:
        images = sum(len(batch) for batch in epoch())
        if images != count:
            raise RuntimeError(f"an epoch of {count:,} pictures delivered {images:,}")
        seen += images
        seconds = time.perf_counter() - start
        if seconds >= least:
            return seen / seconds


def our_epoch(sets: list[ImageSet]) -> Epoch:
    """Both of our sets, as they come from the cache."""
    loaders = [DataLoader(one, BATCH, True) for one in sets]
    return lambda: (xb for loader in loaders for xb, _ in loader)


def their_epoch(folder: Path, workers: int) -> Epoch:
    """Torchvision's ImageFolder under torch's DataLoader."""
    data = ImageFolder(str(folder), ToTensor())
    loader = torch.utils.data.DataLoader(
        data, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    return lambda: (xb for xb, _ in loader)


def turn(folder: Path, work: Path, count: int, epochs: dict[str, Epoch]) -> dict[str, float]:
    """Seconds of the imports, and pictures a second of the epochs."""
    figures = {}
    for workers in (1, 2):
        cache = work / f"cache of {workers}"
        shutil.rmtree(cache, ignore_errors=True)
        figures[f"import, {workers}"] = seconds_to_load(folder, cache, workers, count)
    figures["second start"] = seconds_to_load(folder, work / "cache of 2", 2, count)
    if "ours" not in epochs:
        data = load_data(folder, cache=work / "cache of 2")
        epochs["ours"] = our_epoch([data.train, data.valid])
        epochs["theirs, 0"] = their_epoch(folder, 0)
        epochs["theirs, 2"] = their_epoch(folder, 2)
    for name, epoch in epochs.items():
        least = LEAST_SECONDS if name == "ours" else 0
        figures[name] = rate(epoch, count, least)
    return figures


def report(turns: list[dict[str, float]], count: int) -> tuple[str, list[Goal]]:
    """The table of medians, and the goals."""
    medians = {name: statistics.median(one[name] for one in turns) for name in turns[0]}
    lines = [f"{'':44}{'seconds':>9}{'pictures/s':>14}"]
    for name, text in (
        ("import, 1", "read into the cache by one process"),
        ("import, 2", "by two processes"),
        ("second start", "the next start"),
    ):
        lines.append(f"{text:44}{medians[name]:9.2f}{count / medians[name]:14,.0f}")
    for name, text in (
        ("ours", "an epoch, mnist_sgd"),
        ("theirs, 0", "an epoch, ImageFolder, in this process"),
        ("theirs, 2", "an epoch, ImageFolder, 2 worker processes"),
    ):
        lines.append(f"{text:44}{count / medians[name]:9.3f}{medians[name]:14,.0f}")
    goals = [
        Goal(
            "import by one / by two processes",
            1.8,
            [t["import, 1"] / t["import, 2"] for t in turns],
        ),
        Goal(
            "our epoch / the faster of theirs, pictures/s",
            5,
            [t["ours"] / max(t["theirs, 0"], t["theirs, 2"]) for t in turns],
        ),
        Goal("the next start, seconds", 1, [t["second start"] for t in turns], at_most=True),
    ]
    return "\n".join(lines), goals


def main() -> int:
    """Measure, print, and say whether all goals are met."""
    parser = argparse.ArgumentParser(description="Time a folder of pictures.")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=64, help="of a picture; default: 64")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    turns, others = [], []
    epochs: dict[str, Epoch] = {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_pictures(work / "pictures", args.files, args.side)
        for number in range(args.turns):
            others.append(busy())
            turns.append(turn(work / "pictures", work, args.files, epochs))
            print(f"turn {number + 1} of {args.turns}", file=sys.stderr)
    said = machine_text(others, f"torch {version('torch')}", f"{args.side} x {args.side} pixels")
    table, goals = report(turns, args.files)
    print(f"{table}\n\n{goals_text('turn by turn', goals)}\n\n{said}")
    if args.json is not None:
        args.json.write_text(json.dumps({"machine": said, "turns": turns}, indent=1))
    return 0 if all_met(goals) else 1


if __name__ == "__main__":
    sys.exit(main())
