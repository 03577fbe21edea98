"""fastai's DataLoader over tensors of floats."""

import torch
from contenders.common import BATCH_SIZE, Data, Loader, endless
from fastai.data.load import DataLoader
from torch.utils.data import TensorDataset


def prepare(data: Data, setting: str) -> dict[str, Loader]:
    """In this process, on the processor."""
    dataset = TensorDataset(torch.from_numpy(data.floats()), torch.from_numpy(data.targets()))
    loader = DataLoader(dataset, bs=BATCH_SIZE, shuffle=True, num_workers=0, device="cpu")
    return {"": Loader(endless(lambda: loader), data.count)}
