"""Makes the data in mnist_sgd/sample/ (all but LICENSE) from the four files of the MNIST database.

    python tools/make_sample.py FOLDER [--out mnist_sgd/sample]

FOLDER holds train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and
t10k-labels-idx1-ubyte.gz, or the same unpacked, without .gz. They are checked first, by the md5 of
their unpacked bytes. The same files come out on every run (with the same versions of zlib and
Pillow); it takes 4 seconds of one core.
"""

import argparse
from hashlib import md5
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnist_sgd._files import atomic_path
from mnist_sgd.data import IdxError, read_idx, write_idx

MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
NEGATIVE, POSITIVE = 7, 3

# Test images that nobody would misread, in the styles people write: (name, index in the test set).
AS_IN_MNIST = {"three-1": 32, "three-2": 90, "seven-1": 17, "seven-2": 64}
# Name: (index, side in pixels, (width, height) of the paper, place of the digit, ink, paper).
AS_SCANNED = {
    "three-3": (200, 196, (320, 240), (90, 20), 40, 235),
    "three-4": (500, 140, (200, 260), (20, 90), 15, 250),
    "seven-3": (0, 168, (240, 240), (60, 50), 60, 225),
    "seven-4": (75, 224, (300, 360), (50, 30), 25, 245),
}


def main() -> None:
    """Read the command line and make the files."""
    parser = argparse.ArgumentParser(description="Make mnist_sgd/sample from the MNIST database.")
    parser.add_argument("folder", type=Path, help="where the four files of the database are")
    parser.add_argument("--out", type=Path, default=Path("mnist_sgd/sample"))
    arguments = parser.parse_args()
    try:
        train, test = read_set(arguments.folder, "train"), read_set(arguments.folder, "t10k")
    except IdxError as error:
        parser.exit(2, f"{error}\n")
    (arguments.out / "digits").mkdir(parents=True, exist_ok=True)
    for part, (images, labels) in {"train": train, "valid": test}.items():
        rows = sample_order(labels)
        write_idx(arguments.out / f"{part}-images-idx3-ubyte.gz", images[rows])
        ones = (labels[rows] == POSITIVE).astype(np.uint8)
        write_idx(arguments.out / f"{part}-labels-idx1-ubyte.gz", ones)
    write_digits(arguments.out / "digits", test[0])


def read_set(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read the images and the labels of one part of the database."""
    images = read_checked(folder, f"{part}-images-idx3-ubyte")
    return images, read_checked(folder, f"{part}-labels-idx1-ubyte")


def read_checked(folder: Path, name: str) -> NDArray[np.uint8]:
    """Read one file of the database, gzipped or not.

    Raises:
        IdxError: it is missing, damaged or not the file of that name.
    """
    path = folder / f"{name}.gz"
    if not path.exists():
        path = folder / name
    array = read_idx(path)
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    found = md5(header + array.tobytes(), usedforsecurity=False).hexdigest()
    if found != MD5[name]:
        raise IdxError(f"{path}: the md5 of its unpacked bytes is {found}, MNIST's is {MD5[name]}")
    return array


def sample_order(labels: NDArray[np.uint8]) -> list[int]:
    """List the rows of the sample: threes, then sevens, each as MNIST_SAMPLE's files.

    Those are named `<index in the full set>.png` and sorted as strings.
    """
    return [
        row
        for digit in (POSITIVE, NEGATIVE)
        for row in sorted(np.flatnonzero(labels == digit).tolist(), key="{}.png".format)
    ]


def write_digits(folder: Path, images: NDArray[np.uint8]) -> None:
    """Write the PNG files, from the images of the test set."""
    digits = {name: Image.fromarray(images[row]) for name, row in AS_IN_MNIST.items()}
    for name, (row, side, size, place, ink, paper) in AS_SCANNED.items():
        strength = Image.fromarray(images[row]).resize((side, side), Image.Resampling.BICUBIC)
        digits[name] = Image.new("L", size, paper)
        digits[name].paste(ink, place, strength)
    for name, image in digits.items():
        with atomic_path(folder / f"{name}.png") as temporary:
            image.save(temporary, optimize=True)


if __name__ == "__main__":
    main()
