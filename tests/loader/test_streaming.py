"""A mapped set streams through a loader whole, once an epoch, and leaves no trace in memory."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mnist_sgd.data import PackedWriter, load_packed
from residency import mapping

COUNT = 2**18

STREAM = """
import sys
import numpy as np
from mnist_sgd import DataLoader, load_packed
from residency import anonymous_memory

data = load_packed(sys.argv[1])
loader = DataLoader(data, 256, True, seed=5, num_threads=2)
seen = np.zeros(len(data), np.uint8)
before = most = 0
for number, (xb, yb) in enumerate(loader):
    if number == 16:  # the loader has all its memory
        before = anonymous_memory()
    if number % 64 == 0:
        most = max(most, anonymous_memory())
    start = np.rint(xb[:, :4].numpy() * 255).astype(np.uint8).copy().view("<u4")[:, 0]
    assert (yb[:, 0].numpy() == start % 2).all()
    seen[start] += 1
print((seen == 1).all(), most - before)
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """206 MB of images, each of which begins with its index; odd ones are positive."""
    folder = tmp_path_factory.mktemp("streaming") / "set"
    with PackedWriter(folder, ("even", "odd")) as out:
        for start in range(0, COUNT, 2**14):
            index = np.arange(start, start + 2**14, dtype="<u4")
            images = np.zeros((len(index), 784), np.uint8)
            images[:, :4] = index[:, np.newaxis].view(np.uint8)
            out.append(images.reshape(-1, 28, 28), (index % 2).astype(np.uint8))
    return folder


def test_a_shuffled_epoch_has_each_image_once_in_flat_anonymous_memory(packed: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STREAM, str(packed)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    whole, growth = done.stdout.split()
    assert whole == "True"
    assert int(growth) < 16 * 2**20


def test_opening_a_set_of_twelve_million_images_touches_no_pixel(tmp_path: Path) -> None:
    with PackedWriter(tmp_path, ("no", "yes")) as out:
        out.append(np.zeros((1, 28, 28), np.uint8), np.zeros(1, np.uint8))
    count = 12_000_000  # sparse files: they take no room on the disk
    for name, item in (("images-idx3-ubyte", 784), ("labels-idx1-ubyte", 1)):
        with (tmp_path / name).open("r+b") as file:
            file.seek(4)
            file.write(count.to_bytes(4, "big"))
            file.truncate((16 if item > 1 else 8) + count * item)
    description = tmp_path / "set.json"
    description.write_text(description.read_text().replace('"images": 1', f'"images": {count}'))
    data = load_packed(tmp_path)
    assert len(data) == count
    assert mapping(tmp_path / "images-idx3-ubyte").resident == 0
