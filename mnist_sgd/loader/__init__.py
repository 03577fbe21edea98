"""Load batches of images: shuffled, normalised and augmented by the C++ core."""

from mnist_sgd.loader.dataloader import Batch, DataLoader, DataLoaders, Place, first

__all__ = ["Batch", "DataLoader", "DataLoaders", "Place", "first"]
