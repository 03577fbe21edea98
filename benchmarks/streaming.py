"""Sets of 1.2 and 12 million images through the loader: rates, memory, and what opening costs.

    python benchmarks/streaming.py [--folder DIR] [--json FILE]

It makes both sets, 10.4 GB of random images, in DIR, where they stay for the next run, or else in a
temporary folder beside the working directory that is removed at the end. The exit code is 1 if a
goal is missed. benchmarks/README.md says what is measured and what it does not show.
"""

import argparse
import json
import mmap
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mnist_sgd import DataLoader, ImageSet, PackedWriter, load_packed, mnist_sample
from mnist_sgd.data.memory_map import underlying_mmap

MANY, MORE = 1_200_000, 12_000_000
BATCH = 256
PIECE = 40_000  # images that are made at once
MIB = 2**20

ADVICE = {
    "none": (mmap.MADV_NORMAL, mmap.MADV_NOHUGEPAGE),
    "huge": (mmap.MADV_NORMAL, mmap.MADV_HUGEPAGE),
    "random": (mmap.MADV_RANDOM, mmap.MADV_NOHUGEPAGE),
}
COLD = tuple((order, advice) for order in ("shuffled", "in order") for advice in ADVICE)


@dataclass(frozen=True)
class Goal:
    """Something to reach: what was found, and whether it is enough."""

    what: str
    found: str
    reached: bool


def memory() -> dict[str, float]:
    """The resident memory of this process in MiB: all of it, anonymous, of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    facts = dict(line.split(":", 1) for line in lines)
    return {name: int(facts[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon", "RssFile")}


def bytes_read() -> int:
    """Bytes that the disk has given this process."""
    return int(Path("/proc/self/io").read_text().split("read_bytes: ")[1].split()[0])


@contextmanager
def sets(folder: Path | None) -> Iterator[tuple[Path, Path]]:
    """Make the two sets, or take those that `folder` holds; without a folder, for this run."""
    here = nullcontext(folder) if folder else tempfile.TemporaryDirectory(dir=".", prefix="sets-")
    with here as place:
        paths = Path(place) / str(MANY), Path(place) / str(MORE)
        for path, count in zip(paths, (MANY, MORE), strict=True):
            if not (path / "set.json").exists():
                make(path, count)
        yield paths


def make(path: Path, count: int) -> None:
    """Write a set of random images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    needed, free = count * 785, shutil.disk_usage(path.parent).free
    if free < needed + 2**30:
        sys.exit(
            f"{path}: {needed / 1e9:.1f} GB and 1 GiB to spare are needed, {free / 1e9:.1f} GB are "
            "free; choose another disk with --folder"
        )
    print(f"making {count:,} images, {needed / 1e9:.1f} GB ...", file=sys.stderr)
    random = np.random.default_rng(count)
    with PackedWriter(path, ("no", "yes")) as out:
        for _ in range(0, count, PIECE):
            images = np.frombuffer(random.bytes(PIECE * 784), np.uint8).reshape(-1, 28, 28)
            out.append(images, random.integers(0, 2, PIECE, np.uint8))


def warm(path: Path) -> None:
    """Read a set's files, so that the page cache holds them."""
    for file in path.glob("*ubyte"):
        with file.open("rb", 0) as raw:
            while raw.read(16 * MIB):
                pass


def drop(path: Path) -> None:
    """Make the page cache forget a set, which nobody may have mapped."""
    for file in path.glob("*ubyte"):
        with file.open("rb") as raw:
            os.posix_fadvise(raw.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def loader(data: ImageSet, threads: int, shuffle: bool = True) -> DataLoader:
    """The loader that is measured."""
    return DataLoader(data, BATCH, shuffle, seed=1, num_threads=threads)


def rate(dl: DataLoader, batches: int) -> float:
    """Images a second over the first batches of the loader's next epoch."""
    start, images = time.perf_counter(), 0
    for xb, _ in islice(dl, batches):
        images += len(xb)
    return images / (time.perf_counter() - start)


def endurance(epochs: int, threads: int) -> dict[str, float]:
    """RSS in MiB before and after many epochs of the sample: medians over 50, after a warm-up."""
    dl = loader(mnist_sample()[0], threads)
    sizes = []
    for _ in range(100 + epochs):
        rate(dl, len(dl))
        sizes.append(memory()["VmRSS"])
    before, after = statistics.median(sizes[50:100]), statistics.median(sizes[-50:])
    return {"epochs": epochs, "before": before, "after": after, "growth": after / before - 1}


def opening(path: Path, threads: int) -> tuple[float, float]:
    """Seconds to open a set, and from there to the first batch of a new loader."""
    start = time.perf_counter()
    data = load_packed(path)
    opened = time.perf_counter()
    next(iter(loader(data, threads)))
    return opened - start, time.perf_counter() - opened


def cold(path: Path, order: str, advice: str, seconds: float, threads: int) -> dict[str, Any]:
    """The first batch and the rate over some seconds of a set that the page cache has not."""
    drop(path)
    data = load_packed(path)
    dl = loader(data, threads, order == "shuffled")
    pages = underlying_mmap(data.images)
    assert pages is not None
    for each in ADVICE[advice]:  # after the loader's own, for the last one holds
        pages.madvise(each)
    read, start, images = bytes_read(), time.perf_counter(), 0
    first = first_read = 0.0
    for xb, _ in dl:
        images += len(xb)
        if not first:
            first, first_read = time.perf_counter() - start, bytes_read() - read
        if time.perf_counter() - start > seconds:
            break
    rate = images / (time.perf_counter() - start)
    return {
        "order": order,
        "advice": advice,
        "first_ms": 1000 * first,
        "first_mb": first_read / 1e6,
        "rate": rate,
        "bytes_read_an_image": (bytes_read() - read) / images,
    }


def measure(many: Path, more: Path, args: argparse.Namespace) -> dict[str, Any]:
    """All figures of one run; the two sets take turns."""
    imported = memory()
    found: dict[str, Any] = {
        "imported": imported,
        "endurance": endurance(args.epochs, args.threads),
    }
    for path in (many, more):
        drop(path)  # what was read is in larger pieces of memory than what was written
        warm(path)
    openings: dict[Path, list[tuple[float, float]]] = {many: [], more: []}
    for _ in range(args.rounds + 1):
        for path in openings:
            openings[path].append(opening(path, args.threads))
    found["opening"] = {
        path.name: [statistics.median(column) for column in zip(*turns[1:], strict=True)]
        for path, turns in openings.items()
    }
    found["before"] = memory()
    loaders = [loader(load_packed(path), args.threads) for path in (many, more)]
    found["first_epoch"] = [rate(dl, len(dl)) for dl in loaders]
    batches = MANY // BATCH
    found["rounds"] = [[rate(dl, batches) for dl in loaders] for _ in range(args.rounds)]
    found["after"] = memory()
    del loaders
    found["cold"] = [cold(more, *key, args.seconds, args.threads) for key in COLD]
    return found


def goals(found: dict[str, Any]) -> list[Goal]:
    """What was to be reached."""
    growth = found["endurance"]["growth"]
    anonymous = found["after"]["RssAnon"]
    beyond = anonymous - found["imported"]["RssAnon"]
    ratio = statistics.median(more / many for many, more in found["rounds"])
    small, large = (found["opening"][str(count)] for count in (MANY, MORE))
    return [
        Goal(
            f"RSS grows under 1 % over {found['endurance']['epochs']:,} epochs of the sample",
            f"{growth:+.2%}",
            growth < 0.01,
        ),
        Goal(
            "streaming adds under 300 MiB of anonymous memory",
            f"{beyond:.0f} MiB, {anonymous:.0f} with what importing torch takes",
            beyond < 300,
        ),
        Goal(
            "12 million images at half the rate of 1.2 million or more", f"{ratio:.2f}", ratio > 0.5
        ),
        Goal(
            "the first batch of 12 million within twice the time of 1.2 million",
            f"{1000 * large[1]:.2f} and {1000 * small[1]:.2f} ms",
            large[1] < 2 * small[1],
        ),
        Goal(
            "opening 12 million, their labels checked, under 2 ms",
            f"{1000 * large[0]:.2f} ms",
            large[0] < 0.002,
        ),
    ]


def report(found: dict[str, Any], reached: list[Goal]) -> None:
    """Print the tables."""
    small, large = (found["opening"][str(count)] for count in (MANY, MORE))
    rounds = list(zip(*found["rounds"], strict=True))
    rows = [
        ("open the set, ms", f"{1000 * small[0]:.2f}", f"{1000 * large[0]:.2f}"),
        ("from there to the first batch, ms", f"{1000 * small[1]:.2f}", f"{1000 * large[1]:.2f}"),
        ("first epoch, images/s", *(f"{rate:,.0f}" for rate in found["first_epoch"])),
        ("later epochs, images/s", *(f"{statistics.median(rates):,.0f}" for rates in rounds)),
    ]
    print(f"{'page cache warm':<36}{MANY:>14,}{MORE:>14,}")
    for name, *cells in rows:
        print(f"{name:<36}" + "".join(f"{cell:>14}" for cell in cells))
    ratios = sorted(more / many for many, more in found["rounds"])
    print(f"ratio of the later epochs: median {statistics.median(ratios):.2f}, ", end="")
    print(f"lowest {ratios[0]:.2f}, highest {ratios[-1]:.2f}\n")

    print(f"{'resident memory, MiB':<36}{'anonymous':>14}{'of files':>14}")
    for name, when in (
        ("imported", "imported"),
        ("before the first epoch", "before"),
        ("after", "after"),
    ):
        print(f"{name:<36}{found[when]['RssAnon']:>14.0f}{found[when]['RssFile']:>14.0f}")

    print(f"\n{'page cache cold, 12 million':<28}{'first batch':>14}{'read for it':>14}", end="")
    print(f"{'images/s':>14}{'bytes an image':>16}")
    for one in found["cold"]:
        print(
            f"{one['order'] + ', advice ' + one['advice']:<28}{one['first_ms']:>11,.1f} ms"
            f"{one['first_mb']:>11,.0f} MB{one['rate']:>14,.0f}{one['bytes_read_an_image']:>16,.0f}"
        )
    print()
    for goal in reached:
        print(f"{'reached' if goal.reached else 'MISSED '}  {goal.what}: {goal.found}")


def main() -> int:
    """Measure, print, and say by the exit code whether every goal is reached."""
    parser = argparse.ArgumentParser(description="Stream 12 million images through the loader.")
    parser.add_argument("--folder", type=Path, help="where the sets are made, or lie already")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--threads", type=int, default=2, help="of the loader (default: 2)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each set (default: 7)")
    parser.add_argument("--epochs", type=int, default=1000, help="of the sample (default: 1000)")
    parser.add_argument("--seconds", type=float, default=4, help="of each cold run (default: 4)")
    args = parser.parse_args()
    with sets(args.folder) as (many, more):
        found = measure(many, more, args)
    found["machine"] = f"{os.cpu_count()} processors, {platform.machine()}, {platform.release()}"
    reached = goals(found)
    report(found, reached)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if all(goal.reached for goal in reached) else 1


if __name__ == "__main__":
    sys.exit(main())
