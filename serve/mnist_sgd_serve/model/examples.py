"""Example pictures of a model's classes, for visitors of the server's page.

They are PNG files in the folder `examples` next to the model file, named after their class:
`umbrella-1.png`, `umbrella-2.png`, and so on. The run folders of `mnist-sgd train` have some. The
package contains examples of the digits that the sample's model tells apart.

The names that are opened follow from the model's classes. No other file of the folder is read, and
no client chooses a name.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mnist_sgd_serve.model.metadata import Metadata

FOLDER = "examples"
"""The folder's name."""

MAX_EXAMPLES = 24
"""The most examples of a model, divided equally among its classes."""

MAX_BYTES = 256 * 1024
"""The largest file that is read."""

BUILT_IN = Path(__file__).parents[1] / "page" / FOLDER

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Example(NamedTuple):
    """A picture: the name of its class, and the content of its PNG file."""

    label: str
    content: bytes


def example_name(label: str, number: int) -> str:
    """Return the file name of an example.

    Args:
        label: name of its class; characters that file names cannot have become underscores.
        number: from 1.
    """
    safe = "".join("_" if character in "/\\\0" else character for character in label)
    return f"{safe}-{number}.png"


def find_examples(model: str | os.PathLike[str], metadata: Metadata) -> tuple[Example, ...]:
    """Read the examples next to a model file, in label order.

    Args:
        model: path of the model file.
        metadata: of the model.

    Returns:
        Those in the folder. If there are none: the built-in digits, if each class has some and the
        model expects drawn characters; else none.
    """
    examples = _read_folder(Path(model).parent / FOLDER, metadata.classes)
    if examples or metadata.preprocessing != "mnist":
        return examples
    examples = _read_folder(BUILT_IN, metadata.classes)
    return examples if {each.label for each in examples} == set(metadata.classes) else ()


def _read_folder(folder: Path, classes: tuple[str, ...]) -> tuple[Example, ...]:
    numbers = range(1, MAX_EXAMPLES // len(classes) + 1)
    contents = (
        (label, _read(folder / example_name(label, number)))
        for label in classes
        for number in numbers
    )
    return tuple(Example(label, content) for label, content in contents if content)


def _read(path: Path) -> bytes:
    """Read a PNG file; empty if it is missing, too large, or not a regular PNG file."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                content = file.read(MAX_BYTES + 1)
                if content.startswith(_SIGNATURE) and len(content) <= MAX_BYTES:
                    return content
    return b""
