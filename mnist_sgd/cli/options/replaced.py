"""Models and checkpoints that a command is about to replace: those of another task stay.

The task is told by the classes: the same two, whichever is the positive one, make it the same task.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from mnist_sgd.report.folder import CHECKPOINT

__all__ = ["check_replaced"]


def check_replaced(
    paths: Iterable[Path], classes: tuple[str, ...], command: str, advice: str
) -> None:
    """Refuse to replace what is not a model, or a checkpoint, of these classes.

    Args:
        paths: that are about to be written.
        classes: that the new model is about.
        command: what replaces the files, for the message.
        advice: what else to do, for the message.

    Raises:
        ValueError: a file is there, and it has other classes, or does not say what it is.
    """
    for path in paths:
        if not path.is_file():  # a pipe would be read for ever
            continue
        kind, read = _KINDS.get(path.name, ("a model", _READERS[path.suffix]))
        try:
            found = read(path)
        except (ValueError, OSError) as error:
            raise ValueError(
                f"{error}; the {command} does not replace what it cannot read: {advice}"
            ) from error
        if set(found) != set(classes):
            raise ValueError(
                f"{path} is {kind} of {_names(found)}, and would be replaced by one of "
                f"{_names(classes)}; {advice}"
            )


def _artifact(path: Path) -> tuple[str, ...]:
    from mnist_sgd_serve.model.artifact import load_artifact

    return load_artifact(path).metadata.classes


def _weights(path: Path) -> tuple[str, ...]:
    from mnist_sgd.models.weights import read_weights

    return read_weights(path)[1].classes


def _checkpoint(path: Path) -> tuple[str, ...]:
    from mnist_sgd._state_file import DocumentError, parse

    try:
        noted = parse(path.read_bytes()).get("data", {}).get("training", {})
    except DocumentError as error:
        raise ValueError(f"{path}: not a checkpoint: {error}") from error
    if "classes" not in noted:
        raise ValueError(f"{path} is a checkpoint that does not say what its classes are")
    return tuple(noted["classes"])


def _torch_file(path: Path) -> tuple[str, ...]:
    """The classes in a .pt or .pt2 file, which is an archive; nothing else of it is read."""
    import zipfile

    from mnist_sgd_serve import Metadata

    try:
        with zipfile.ZipFile(path) as archive:
            (name,) = (each for each in archive.namelist() if each.endswith("/extra/metadata.json"))
            return Metadata.from_properties(json.loads(archive.read(name))).classes
    except (zipfile.BadZipFile, ValueError, TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"{path} is not a model of mnist_sgd") from error


_READERS: dict[str, Callable[[Path], tuple[str, ...]]] = {
    ".onnx": _artifact,
    ".safetensors": _weights,
    ".pt": _torch_file,
    ".pt2": _torch_file,
}
_KINDS = {CHECKPOINT: ("a checkpoint", _checkpoint)}


def _names(classes: tuple[str, ...]) -> str:
    return f"{', '.join(classes[:-1])} and {classes[-1]}"
