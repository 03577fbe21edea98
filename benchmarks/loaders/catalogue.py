"""The loaders that are compared, and at which sizes."""

from dataclasses import dataclass

__all__ = [
    "BARE",
    "BYTES",
    "CONTENDERS",
    "FLOATS",
    "LOADER",
    "ONE_BATCH",
    "OURS",
    "OURS_2",
    "PIXEL_BYTES",
    "SMALLER",
    "Contender",
]

PIXEL_BYTES = 784
FLOAT_BYTES = 4 * PIXEL_BYTES
MOST = 600_000


@dataclass(frozen=True)
class Contender:
    """One row of the table.

    Attributes:
        name: in the table.
        file: in contenders/.
        setting: that its `prepare` gets.
        package: what is imported, and installed by pip, for it; none for this project's own needs.
        bytes: of memory that it holds for an image, where images are not mapped.
        most: images, if it is not measured over more of them.
        images: how many it loads, if not all.
    """

    name: str
    file: str
    setting: str = ""
    package: str = ""
    bytes: int = PIXEL_BYTES
    most: int | None = None
    images: int | None = None


OURS = Contender("mnist_sgd, 1 thread", "ours", "1 float32")
OURS_2 = Contender("mnist_sgd, 2 threads", "ours", "2 float32")
SMALLER = Contender("mnist_sgd, 1,200,000 of these", "ours", "1 float32", images=1_200_000)
BARE = Contender("roofline, bare C++ loop", "bare_loop", "held")
ONE_BATCH = Contender("bare C++ loop, batch overwritten", "bare_loop", "overwritten")
BYTES = Contender("torch, x[rows].float().div_(255)", "torch_rows", "bytes")
FLOATS = Contender("torch, floats[rows]", "torch_rows", "floats", bytes=FLOAT_BYTES, most=MOST)
LOADER = Contender("torch DataLoader", "torch_loader", "0", bytes=FLOAT_BYTES, most=MOST)
CONTENDERS = (
    OURS,
    BARE,
    ONE_BATCH,
    OURS_2,
    SMALLER,
    Contender("mnist_sgd, bfloat16", "ours", "1 bfloat16"),
    Contender("mnist_sgd, uint8", "ours", "1 uint8"),
    BYTES,
    FLOATS,
    LOADER,
    Contender("torch DataLoader, 2 workers", "torch_loader", "2", bytes=FLOAT_BYTES, most=MOST),
    Contender("fastai DataLoader", "fastai_loader", "", "fastai", FLOAT_BYTES, MOST),
    Contender("torchvision, DataLoader", "torchvision_transforms", most=MOST),
    Contender("FFCV", "ffcv_loader", "", "ffcv", 2 * PIXEL_BYTES, MOST),
    Contender("SPDL", "spdl_pipeline", "", "spdl"),
    Contender("grain", "grain_dataset", "", "grain"),
)
