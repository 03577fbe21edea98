"""Data: sets of 28 x 28 grey images in two classes, and where they come from.

Importing this package imports NumPy, never torch nor the C++ extension; only `torchvision_set`
needs torch, and imports it when it is called.
"""

from mnist_sgd.data.idx import IdxError, IdxWriter, read_idx, write_idx
from mnist_sgd.data.imageset import ImageSet, load_idx_set, select_classes
from mnist_sgd.data.mapped import advise
from mnist_sgd.data.named import torchvision_set
from mnist_sgd.data.packed import PackedWriter, load_packed
from mnist_sgd.data.pictures.cache import CacheError
from mnist_sgd.data.pictures.folders import UnusableFile
from mnist_sgd.data.pictures.packing import pack_folder
from mnist_sgd.data.rows import Rows
from mnist_sgd.data.sample import mnist_sample, sample_digits
from mnist_sgd.data.source import LoadedData, load_data, load_whole

__all__ = [
    "CacheError",
    "IdxError",
    "IdxWriter",
    "ImageSet",
    "LoadedData",
    "PackedWriter",
    "Rows",
    "UnusableFile",
    "advise",
    "load_data",
    "load_idx_set",
    "load_packed",
    "load_whole",
    "mnist_sample",
    "pack_folder",
    "read_idx",
    "sample_digits",
    "select_classes",
    "torchvision_set",
    "write_idx",
]
