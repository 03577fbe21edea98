"""Torch's DataLoader over tensors of floats; the setting is its number of worker processes."""

import torch
from contenders.common import BATCH_SIZE, Data, Loader, endless
from torch.utils.data import DataLoader, TensorDataset


def prepare(data: Data, setting: str) -> dict[str, Loader]:
    """Its workers stay from epoch to epoch: to start them anew was slower."""
    dataset = TensorDataset(torch.from_numpy(data.floats()), torch.from_numpy(data.targets()))
    workers = int(setting)
    loader = DataLoader(
        dataset, BATCH_SIZE, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    return {"": Loader(endless(lambda: loader), data.count)}
