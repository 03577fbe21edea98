"""The loader's augmentation next to what torch and torchvision offer, in one run.

    python benchmarks/augmentation.py [--images 12396] [--batch-size 256] [--repeats 9]

Every contender delivers shuffled batches of float32 `[B, 784]` in which each image was turned,
shifted, scaled and sheared by a draw of its own; torch is held to one thread. The contenders take
turns, each at least a tenth of a second and one epoch. Prints the medians of images a second.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample
from torchvision.transforms import v2

from mnist_sgd import Augmentation, DataLoader, ImageSet

TURN_SECONDS = 0.1
AUGMENT = Augmentation(degrees=10, translate=0.05, scale=(0.9, 1.1), shear=5)

Contender = Callable[[], Iterable[torch.Tensor]]


def uniform(count: int, low: float, high: float) -> torch.Tensor:
    """So many draws."""
    return torch.empty(count).uniform_(low, high)


def random_matrices(count: int) -> torch.Tensor:
    """What affine_grid takes, [count, 2, 3], of draws like the loader's."""
    angle = uniform(count, -AUGMENT.degrees, AUGMENT.degrees) * (math.pi / 180)
    tan = (uniform(count, -AUGMENT.shear, AUGMENT.shear) * (math.pi / 180)).tan()
    scale = uniform(count, *AUGMENT.scale)
    shift = torch.stack([uniform(count, -AUGMENT.translate, AUGMENT.translate) for _ in "xy"], 1)
    sin, cos = angle.sin(), angle.cos()
    rows = torch.stack([cos - sin * tan, sin + cos * tan, -sin, cos], 1).view(-1, 2, 2)
    rows = rows / scale[:, None, None]
    return torch.cat([rows, -2 * (rows @ shift[:, :, None])], 2)


def contenders(dataset: ImageSet, batch_size: int) -> dict[str, Contender]:
    """The contenders by name, ours first."""
    images = torch.from_numpy(dataset.images)[:, None]
    each = v2.RandomAffine(
        AUGMENT.degrees,
        (AUGMENT.translate, AUGMENT.translate),
        AUGMENT.scale,
        AUGMENT.shear,
        v2.InterpolationMode.BILINEAR,
    )

    def ours(threads: int) -> Contender:
        loader = DataLoader(dataset, batch_size, True, num_threads=threads, augment=AUGMENT)
        return lambda: (xb for xb, _ in loader)

    def grids() -> Iterable[torch.Tensor]:
        for rows in torch.split(torch.randperm(len(images)), batch_size):
            grid = affine_grid(random_matrices(len(rows)), [len(rows), 1, 28, 28], False)
            xb = grid_sample(images[rows].float().div_(255), grid, align_corners=False)
            yield xb.view(-1, 784)

    def one_by_one() -> Iterable[torch.Tensor]:
        for rows in torch.split(torch.randperm(len(images)), batch_size):
            xb = torch.stack([each(images[row]) for row in rows])
            yield xb.float().div_(255).view(-1, 784)

    return {
        "mnist_sgd, 1 thread": ours(1),
        "mnist_sgd, 2 threads": ours(2),
        "torch, affine_grid and grid_sample of a batch": grids,
        "torchvision, RandomAffine of each image": one_by_one,
    }


def images_per_second(contender: Contender, images: int) -> float:
    """Take whole epochs for the seconds of a turn."""
    seen = 0
    start = time.perf_counter()
    while (seconds := time.perf_counter() - start) < TURN_SECONDS:
        epoch = sum(len(xb) for xb in contender())
        if epoch != images:
            raise RuntimeError(f"an epoch of {images:,} images delivered {epoch:,}")
        seen += epoch
    return seen / seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the augmentation of training images.")
    parser.add_argument("--images", type=int, default=12_396)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (args.images, 28, 28), np.uint8)
    labels = random.integers(0, 2, args.images, np.uint8)
    all_contenders = contenders(ImageSet(pixels, labels, ("7", "3")), args.batch_size)
    speeds: dict[str, list[float]] = {name: [] for name in all_contenders}
    for _ in range(args.repeats):
        for name, contender in all_contenders.items():
            speeds[name].append(images_per_second(contender, args.images))
    medians = {name: statistics.median(each) for name, each in speeds.items()}
    ours = next(iter(medians.values()))
    print(f"{'':46}{'images/s':>12}{'ours is':>12}")
    for name, median in medians.items():
        print(f"{name:46}{median:12,.0f}{ours / median:10.1f} x")


if __name__ == "__main__":
    main()
