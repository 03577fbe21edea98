"""Torch, whole batches at a time: the rows of a permutation, taken by one index."""

from collections.abc import Iterator

import torch
from contenders.common import BATCH_SIZE, Batch, Data, Loader, endless


def prepare(data: Data, setting: str) -> dict[str, Loader]:
    """The setting is what is kept in memory: bytes or floats."""
    y = torch.from_numpy(data.targets())
    kept = torch.from_numpy(data.images() if setting == "bytes" else data.floats())

    def from_bytes() -> Iterator[Batch]:
        for rows in torch.randperm(len(kept)).split(BATCH_SIZE):
            yield kept[rows].float().div_(255), y[rows]

    def from_floats() -> Iterator[Batch]:
        for rows in torch.randperm(len(kept)).split(BATCH_SIZE):
            yield kept[rows], y[rows]

    epoch = from_bytes if setting == "bytes" else from_floats
    return {"": Loader(endless(epoch), data.count)}
