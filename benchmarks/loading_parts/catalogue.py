"""The ways to load that are compared, and at which sizes."""

from dataclasses import dataclass

__all__ = [
    "BARE",
    "BYTES",
    "FLOATS",
    "LOADER",
    "ONE_BATCH",
    "OURS",
    "OURS_2",
    "PIXEL_BYTES",
    "SMALLER",
    "WAYS",
    "Way",
]

PIXEL_BYTES = 784
FLOAT_BYTES = 4 * PIXEL_BYTES
MOST = 600_000


@dataclass(frozen=True)
class Way:
    """One row of the table.

    Attributes:
        name: in the table.
        file: in ways/.
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


OURS = Way("mnist_sgd, 1 thread", "ours", "1 float32")
OURS_2 = Way("mnist_sgd, 2 threads", "ours", "2 float32")
SMALLER = Way("mnist_sgd, 1,200,000 of these", "ours", "1 float32", images=1_200_000)
BARE = Way("roofline, bare C++ loop", "bare_loop", "held")
ONE_BATCH = Way("bare C++ loop, batch overwritten", "bare_loop", "overwritten")
BYTES = Way("torch, x[rows].float().div_(255)", "torch_rows", "bytes")
FLOATS = Way("torch, floats[rows]", "torch_rows", "floats", bytes=FLOAT_BYTES, most=MOST)
LOADER = Way("torch DataLoader", "torch_loader", "0", bytes=FLOAT_BYTES, most=MOST)
WAYS = (
    OURS,
    BARE,
    ONE_BATCH,
    OURS_2,
    SMALLER,
    Way("mnist_sgd, bfloat16", "ours", "1 bfloat16"),
    Way("mnist_sgd, uint8", "ours", "1 uint8"),
    BYTES,
    FLOATS,
    LOADER,
    Way("torch DataLoader, 2 workers", "torch_loader", "2", bytes=FLOAT_BYTES, most=MOST),
    Way("fastai DataLoader", "fastai_loader", "", "fastai", FLOAT_BYTES, MOST),
    Way("torchvision, DataLoader", "torchvision_transforms", most=MOST),
    Way("FFCV", "ffcv_loader", "", "ffcv", 2 * PIXEL_BYTES, MOST),
    Way("SPDL", "spdl_pipeline", "", "spdl"),
    Way("grain", "grain_dataset", "", "grain"),
)
