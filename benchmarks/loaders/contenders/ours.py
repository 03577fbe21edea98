"""The DataLoader of mnist_sgd."""

import torch
from contenders.common import BATCH_SIZE, Data, Loader, endless

from mnist_sgd import DataLoader
from mnist_sgd.data import ImageSet


def prepare(data: Data, setting: str) -> dict[str, Loader]:
    """The loader; the setting is its number of threads and its dtype."""
    threads, dtype = setting.split()
    images = ImageSet(
        data.images().reshape(-1, 28, 28), data.labels().reshape(-1), classes=("7", "3")
    )
    loader = DataLoader(
        images,
        BATCH_SIZE,
        shuffle=True,
        num_threads=int(threads),
        dtype=getattr(torch, dtype),
    )
    white = 255 if dtype == "uint8" else 1
    return {"": Loader(endless(lambda: loader), data.count, dtype, white)}
