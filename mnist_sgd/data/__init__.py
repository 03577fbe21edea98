"""Load sets of 28 x 28 grey images in two classes.

This package does not import torch; only `torchvision_set` needs it, and imports it when called.
"""

from mnist_sgd.data.idx import IdxError, IdxWriter, read_idx, write_idx
from mnist_sgd.data.imageset import ImageSet, load_idx_set, select_classes
from mnist_sgd.data.memory_map import advise
from mnist_sgd.data.options import DataOptions
from mnist_sgd.data.packed import PackedWriter, load_packed
from mnist_sgd.data.pictures.cache import CacheError
from mnist_sgd.data.pictures.folders import UnusableFile
from mnist_sgd.data.pictures.packing import pack_folder
from mnist_sgd.data.rows import Rows
from mnist_sgd.data.sample import mnist_sample, sample_digits
from mnist_sgd.data.source import DataSource, LoadedData, load_all, load_data
from mnist_sgd.data.torchvision_sets import torchvision_set

load_whole = load_all
"""The earlier name of `load_all`."""

__all__ = [
    "CacheError",
    "DataOptions",
    "DataSource",
    "IdxError",
    "IdxWriter",
    "ImageSet",
    "LoadedData",
    "PackedWriter",
    "Rows",
    "UnusableFile",
    "advise",
    "load_all",
    "load_data",
    "load_idx_set",
    "load_packed",
    "mnist_sample",
    "pack_folder",
    "read_idx",
    "sample_digits",
    "select_classes",
    "torchvision_set",
    "write_idx",
]
