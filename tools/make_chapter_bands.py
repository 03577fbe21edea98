"""Makes tests/chapter/bands.json: between what bounds the chapter's figures lie.

    python tools/make_chapter_bands.py [--out tests/chapter/bands.json] [--processes 2]

The chapter does not say from what weights it trains, so its printed figures are compared with those
of 400 random starts, the seeds 0 to 399. The file holds

- of each figure the median, and the two quantiles between which 99 % of the starts lie;
- for each training that tests/chapter/printed.json has, the seed of the start that goes nearest to
  it: whose largest difference of a figure is the smallest;
- all figures of the first three starts, by which a test sees that the file is of this code.

It takes 7 minutes of one core; on the same processor, with the same torch, the same file comes out.
"""

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from chapter_figures import TRAININGS, Figures, chapter_figures
from mnist_sgd import DataLoader, mnist_sample
from mnist_sgd._files import atomic_write

CHAPTER = Path(__file__).parent.parent / "tests" / "chapter"
STARTS = 400
KEPT = 3
BAND = {"low": 0.005, "median": 0.5, "high": 0.995}


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description="Make the bands of the chapter's figures.")
    parser.add_argument("--out", type=Path, default=CHAPTER / "bands.json")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    args = parser.parse_args()
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        starts = list(pool.map(_figures, range(STARTS), chunksize=4))
    atomic_write(args.out, f"{_text(_document(starts))}\n".encode())


@cache
def _loaders() -> tuple[DataLoader, DataLoader]:
    torch.set_num_threads(1)
    train, valid = mnist_sample()
    return DataLoader(train, batch_size=256), DataLoader(valid, batch_size=256)


def _figures(seed: int) -> Figures:
    return chapter_figures(seed, *_loaders())


def _document(starts: list[Figures]) -> dict[str, object]:
    printed = json.loads((CHAPTER / "printed.json").read_text())
    return {
        "starts": STARTS,
        "quantiles": BAND,
        "bands": {name: _band(np.array([start[name] for start in starts])) for name in starts[0]},
        "nearest": {
            run: {name: _nearest(starts, figures, columns) for name, columns in TRAININGS.items()}
            for run, figures in printed.items()
        },
        "figures_of": {str(seed): starts[seed] for seed in range(KEPT)},
    }


def _nearest(starts: list[Figures], printed: Figures, names: tuple[str, ...]) -> int:
    def distance(seed: int) -> float:
        pairs = [(starts[seed][name], printed[name]) for name in names]
        return max(float(np.abs(np.subtract(*pair)).max()) for pair in pairs)

    return min(range(len(starts)), key=distance)


def _band(figures: NDArray[np.float64]) -> Figures:
    """Quantiles of figures `[starts, epochs]`, to the six digits of the longest ones."""
    values = np.quantile(figures, list(BAND.values()), axis=0).round(6)
    return dict(zip(BAND, values.tolist(), strict=True))


def _text(value: object, indent: str = "\n") -> str:
    """JSON in which each list of numbers has one line."""
    if not isinstance(value, dict):
        return json.dumps(value)
    inner = indent + "  "
    items = [f"{json.dumps(key)}: {_text(item, inner)}" for key, item in value.items()]
    return "{" + inner + f",{inner}".join(items) + indent + "}"


if __name__ == "__main__":
    main()
