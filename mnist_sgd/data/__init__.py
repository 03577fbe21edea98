"""Load sets of 28 x 28 grey images in two classes.

Every name is loaded when it is first used: the command line looks at files of runs without loading
NumPy. No module here imports torch or the C++ extension; only `torchvision_set` needs torch, and
imports it when called.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_sgd.data.idx import IdxError, IdxWriter, read_idx, write_idx
    from mnist_sgd.data.imageset import ImageSet, load_idx_set, select_classes
    from mnist_sgd.data.loaded import LoadedData
    from mnist_sgd.data.memory_map import advise
    from mnist_sgd.data.options import DataOptions
    from mnist_sgd.data.packed import PackedWriter, load_packed
    from mnist_sgd.data.pictures.cache import CacheError
    from mnist_sgd.data.pictures.folders import UnusableFile
    from mnist_sgd.data.pictures.packing import pack_folder
    from mnist_sgd.data.rows import Rows
    from mnist_sgd.data.sample import mnist_sample, sample_digits
    from mnist_sgd.data.source import DataSource, load_all, load_data
    from mnist_sgd.data.torchvision_sets import torchvision_set

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

_MODULES = {
    "idx": ("IdxError", "IdxWriter", "read_idx", "write_idx"),
    "imageset": ("ImageSet", "load_idx_set", "select_classes"),
    "loaded": ("LoadedData",),
    "memory_map": ("advise",),
    "options": ("DataOptions",),
    "packed": ("PackedWriter", "load_packed"),
    "pictures.cache": ("CacheError",),
    "pictures.folders": ("UnusableFile",),
    "pictures.packing": ("pack_folder",),
    "rows": ("Rows",),
    "sample": ("mnist_sample", "sample_digits"),
    "source": ("DataSource", "load_all", "load_data"),
    "torchvision_sets": ("torchvision_set",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name from its module (PEP 562)."""
    name = "load_all" if name == "load_whole" else name  # its name in an earlier version
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
