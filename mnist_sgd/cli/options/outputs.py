"""Checks of output files before the work that they are for.

Can they be written? Would they overwrite a run's file, or a model or checkpoint of another task?
The task is told by the classes: the same two, whichever is the positive one, make it the same task.
"""

import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp

from mnist_sgd._files import is_stream
from mnist_sgd.report import folder as files


def check_place(path: Path, check: Callable[[Path], None], advice: str) -> None:
    """Run one of the checks below.

    Raises:
        ValueError: the check failed; the message names the path and ends in the advice.
    """
    try:
        check(path)
    except OSError as error:
        at = "" if error.filename in (None, str(path)) else f"{error.filename}: "
        reason = error.strerror or str(error)
        raise ValueError(f"{path} cannot be written: {at}{reason}; {advice}") from error


def writable_file(path: Path) -> None:
    """Raise the OSError that writing a file, under another name first, would meet."""
    if path.is_dir():
        raise OSError(None, "it is a folder", str(path))
    if path.exists() and not path.is_file():  # a pipe or a device is not replaced
        if not os.access(path, os.W_OK):
            raise OSError(None, "Permission denied", str(path))
        return
    final = Path(os.path.realpath(path)) if path.is_symlink() else path
    writable_folder(final.parent, final)


def readable_file(path: Path) -> None:
    """As `writable_file`, for a file that is read again later: pipes and devices are refused."""
    writable_file(path)
    if is_stream(path):
        raise OSError(None, "it is a pipe or a device, not a file", str(path))


def writable_folder(folder: Path, file: Path = Path("a")) -> None:
    """Raise the OSError that creating a folder, and writing a file in it, would meet."""
    there = folder
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise OSError(None, "it is not a folder", str(there))
    prefix = f".{file.stem}." if there == folder else ".a."
    try:
        descriptor, name = mkstemp(file.suffix, prefix, there)
    except OSError as error:
        where = str(file) if there == folder else str(there)
        raise OSError(error.errno, error.strerror, where) from error
    with suppress(FileNotFoundError):
        os.close(descriptor)
        os.unlink(name)


def check_not_a_runs_file(path: Path, option: str) -> None:
    """Refuse an output in a run's folder that has the name of a file of the run.

    Args:
        path: where the output would go.
        option: the option that names it.

    Raises:
        ValueError: it belongs to a run, which the message names.
    """
    real = Path(os.path.realpath(path))
    chart = real.parent.name == files.PLOTS
    folder = real.parent.parent if chart else real.parent
    if (real.suffix == ".svg" if chart else real.name in files.FILES) and files.is_run(folder):
        shown = path.parent.parent if chart else path.parent
        raise ValueError(f"{path} belongs to the run {shown}; choose another name for {option}")


def check_replaced(
    paths: Iterable[Path], classes: tuple[str, ...], command: str, advice: str
) -> None:
    """Refuse to replace what is not a model, or a checkpoint, of these classes.

    Args:
        paths: the files to be written.
        classes: the classes of the new model.
        command: what replaces the files, for the message.
        advice: what else to do, for the message.

    Raises:
        ValueError: a file exists, and it has other classes or cannot be read.
    """
    for path in paths:
        if not path.is_file():  # reading a pipe would never end
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
_KINDS = {files.CHECKPOINT: ("a checkpoint", _checkpoint)}


def _names(classes: tuple[str, ...]) -> str:
    return f"{', '.join(classes[:-1])} and {classes[-1]}"
