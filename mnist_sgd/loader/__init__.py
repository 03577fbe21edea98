"""Load batches of images: shuffled, normalised and augmented by the C++ core."""

from mnist_sgd._extension import extension_missing

try:
    import mnist_sgd._core  # noqa: F401 (only to see that it can be loaded)
except ImportError as error:
    raise extension_missing(error) from error

from mnist_sgd.loader.dataloader import Batch, DataLoader, DataLoaders, Place, first

__all__ = ["Batch", "DataLoader", "DataLoaders", "Place", "first"]
