"""The DataLoader beside other loaders and the roofline, over 12 thousand to 12 million images.

    python benchmarks/loading.py --install DIR     # the loaders that are missing here
    python benchmarks/loading.py [--peers DIR]     # about 12 minutes

All contenders do the same work: each epoch a new order, batches of 256, float32 x / 255 `[256,
784]` and int64 labels `[256, 1]`; each must first deliver every image once. They take turns of 0.4
s. The roofline is the best of some bare C++ loops over the same rows, compiled here for this
processor. Prints the medians over the turns and the ratios to the goals; exits with 1 if a goal is
missed or ours fails.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from harness.environments import install_missing
from harness.goals import Goal, all_met, goals_text
from harness.machine import machine_text, processor
from loaders.catalogue import CONTENDERS, OURS, Contender
from loaders.files import lacking, write
from loaders.plot import plot
from loaders.report import goals, table
from loaders.turns import Result, measure

from mnist_sgd import _core

IMAGES = (12_396, 120_000, 600_000, 1_200_000, 12_000_000)
TURN_SECONDS = 0.4


def chosen(contenders: Iterable[Contender], images: int) -> list[Contender]:
    """The contenders that load so many images."""
    return [
        contender
        for contender in contenders
        if images <= (contender.most or images)
        and (contender.images is None or contender.images < images)
    ]


def run(args: argparse.Namespace) -> tuple[dict[int, dict[str, Result]], list[float]]:
    """Measure each number of images for which there is room: results, and what else ran."""
    contenders = [
        w for w in CONTENDERS if w is OURS or any(part in w.name for part in args.only or [""])
    ]
    measured, others = {}, []
    with tempfile.TemporaryDirectory(prefix="loading", dir=args.data) as folder:
        path = Path(folder)
        sizes = []
        for images in args.images:
            if lack := lacking(path, images, chosen(contenders, images)):
                print(f"{images:,} images are left out: {lack}")
            else:
                sizes.append(images)
        write(path, max(sizes, default=0))
        for images in sizes:
            results, busy = measure(
                chosen(contenders, images), path, images, args.peers, args.turns, args.seconds
            )
            measured[images] = results
            others += busy
            print(f"{table(images, results)}\n", flush=True)
    return measured, others


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Measure the DataLoader beside its peers and the roofline.",
        epilog="See benchmarks/README.md.",
    )
    parser.add_argument("--install", type=Path, metavar="DIR", help="install the peers, and end")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="where they were installed")
    parser.add_argument(
        "--images", type=int, nargs="+", metavar="N", default=IMAGES, help="default: %(default)s"
    )
    parser.add_argument("--turns", type=int, default=9, help="of each contender; default: 9")
    parser.add_argument("--seconds", type=float, default=TURN_SECONDS, help="of a turn")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="contenders, by a part of the name"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="for the images, 9.4 GB")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them there")
    return parser.parse_args()


def main() -> int:
    """Measure, print, and say whether all goals are met."""
    args = parse()
    if args.install is not None:
        failed = install_missing(
            args.install, {contender.package for contender in CONTENDERS if contender.package}
        )
        for name, reason in failed.items():
            print(f"{name}: {reason}", file=sys.stderr)
        return 1 if failed else 0
    measured, others = run(args)
    if not measured:
        return 1
    versions = [f"{name} {version(name)}" for name in ("torch", "torchvision", "numpy")]
    kernel = f"kernel {_core.default_kernel()}"
    said = machine_text(others, processor(), *versions, kernel)
    judged = goals(measured, others)
    print(f"{goals_text('our images/s by theirs, turn by turn', judged)}\n\n{said}")
    if args.json is not None:
        args.json.write_text(json.dumps(figures(measured, judged, said), indent=1))
    if args.plot is not None:
        plot(measured, f"{processor()}, kernel {_core.default_kernel()}, medians", args.plot)
    faults = [results[OURS.name].fault for results in measured.values()]
    return 0 if not any(faults) and all_met(judged) else 1


def figures(
    measured: Mapping[int, Mapping[str, Result]], judged: Iterable[Goal], said: str
) -> dict[str, object]:
    """All that was measured, images a second."""
    by_images = {
        images: {name: asdict(result) for name, result in results.items()}
        for images, results in measured.items()
    }
    return {"machine": said, "goals": [asdict(goal) for goal in judged], "images": by_images}


if __name__ == "__main__":
    sys.exit(main())
