"""torchvision's transforms, image by image in a Dataset, under torch's DataLoader."""

from collections.abc import Iterator

import torch
from contenders.common import BATCH_SIZE, Batch, Data, Loader, endless
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import v2

TRANSFORMS = {
    "ToTensor": transforms.ToTensor(),
    "v2": v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]),
}


class Images(Dataset[tuple[Tensor, Tensor]]):
    """The images `[28, 28, 1]`, each transformed when it is asked for."""

    def __init__(self, data: Data, transform: str) -> None:
        self.images = data.images().reshape(-1, 28, 28, 1)
        self.targets = torch.from_numpy(data.targets())
        self.transform = TRANSFORMS[transform]

    def __len__(self) -> int:
        """Of the images."""
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """One image as float32 `[1, 28, 28]`, and its label `[1]`."""
        return self.transform(self.images[index]), self.targets[index]


def prepare(data: Data, setting: str) -> dict[str, Loader]:
    """One loader for each of the two ways to write x / 255."""
    return {name: _loader(data, name) for name in TRANSFORMS}


def _loader(data: Data, transform: str) -> Loader:
    loader = DataLoader(Images(data, transform), BATCH_SIZE, shuffle=True)

    def epoch() -> Iterator[Batch]:
        for xb, yb in loader:
            yield xb.flatten(1), yb

    return Loader(endless(epoch), data.count)
