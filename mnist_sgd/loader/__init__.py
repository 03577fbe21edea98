"""Load batches of images: shuffled, normalised and augmented by the C++ core."""

from mnist_sgd.loader.dataloader import (
    Batch,
    DataLoader,
    DataLoaders,
    LoaderPosition,
    Place as Place,  # the earlier name
    first,
)

__all__ = ["Batch", "DataLoader", "DataLoaders", "LoaderPosition", "first"]
