"""From two folders of pictures to a packed set.

    FOLDER/three/*.png, *.jpg, ...      the names of the two folders are those of the classes
    FOLDER/seven/...

The order of the set is a function of the names: by class, then by file, both as Python sorts
strings. Every picture is prepared as `predict` prepares it. What is held is the list of names and
a few batches of prepared images, whatever the number and the size of the files.

Pictures are decoded in processes, not threads. Pillow releases the GIL while it decodes, and two
threads take photographs 1.4 to 2 times as fast as one; but the preparation of a small picture is
many short calls of NumPy, which hold it: 0.8 to 1.05 times, for pictures of 28x28 and 280x280.
"""

import multiprocessing
import os
import signal
import stat
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Never, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mnist_sgd.data.imageset import ImageSet
from mnist_sgd.data.packed import PackedWriter, load_packed
from mnist_sgd_serve.images import MAX_BYTES, ImageError, decode
from mnist_sgd_serve.preparation import prepare

__all__ = ["UnusableFile", "pack_folder"]

_BATCH = 16
"""Files that a process takes at once: enough to hide what the exchange costs, few enough that an
interrupt does not wait long for photographs."""

Outcome: TypeAlias = NDArray[np.uint8] | str
"""A prepared image `[28, 28]`, or why there is none."""


class UnusableFile(ValueError):  # noqa: N818  (the name says all without "Error")
    """A file that is no picture of its class; the message names it and says why."""


@dataclass(frozen=True)
class _Class:
    """A class: its label, its folder and the sorted names of what the folder holds."""

    label: int
    folder: str
    names: list[str]


@dataclass(frozen=True)
class _Batch:
    """Files of one class that are prepared together."""

    label: int
    paths: list[str]


def pack_folder(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    positive: str | None = None,
    on_unusable: Callable[[UnusableFile], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    workers: int = 1,
) -> ImageSet:
    """Prepare the pictures of two folders and write them as a packed set.

    Args:
        folder: it holds one folder for each of two classes, and these hold pictures: PNG, JPEG,
            BMP, GIF or WebP, of any size and mode. Names that begin with a dot are passed over.
        out: the folder of the packed set, see `PackedWriter`; not inside `folder`.
        positive: the name of the positive class; None for the last of the two as strings sort.
        on_unusable: called for each file that is left out; None to end at the first one.
        on_progress: called with the number of files that are done and of all.
        workers: processes that decode. With more than 1 they are spawned, so the program that
            calls this must be importable (`if __name__ == "__main__":`).

    Returns:
        The packed set, mapped.

    Raises:
        UnusableFile: a file is no picture that can be read, or nothing is drawn on it.
        ValueError: `folder` holds other than two folders, one without pictures or another file;
            there is no class `positive`; or `out` lies in `folder`.
        OSError: a folder cannot be read, or a file not be written.
    """
    if Path(out).resolve().is_relative_to(Path(folder).resolve()):
        raise ValueError(f"{os.fspath(out)}: it lies inside {os.fspath(folder)}, which is packed")
    refuse = on_unusable or _raise
    names = _class_names(os.fspath(folder), refuse)
    classes = _label_order(names, positive)
    listed = [_listed(classes.index(name), os.path.join(folder, name)) for name in names]
    with (
        PackedWriter(out, classes, preparation="mnist") as packed,
        closing(_prepared(_batches(listed), workers)) as prepared,
    ):
        total, done, kept = sum(len(each.names) for each in listed), 0, {0: 0, 1: 0}
        for batch, outcomes in prepared:
            kept[batch.label] += _append(packed, batch, outcomes, refuse)
            done += len(outcomes)
            if on_progress:
                on_progress(done, total)
        for each in listed:
            if not kept[each.label]:
                raise ValueError(f"{each.folder}: none of its {len(each.names):,} files is usable")
    return load_packed(out)


def _raise(error: UnusableFile) -> Never:
    raise error


def _class_names(folder: str, refuse: Callable[[UnusableFile], None]) -> list[str]:
    """Give the names of the two folders in `folder`, sorted; anything else there is refused."""
    names = []
    for name in _names(folder):
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            names.append(name)
        else:
            refuse(UnusableFile(f"{path}: it is not in the folder of a class"))
    if len(names) != 2:
        shown = ", ".join(map(repr, names[:10])) + (", ..." if len(names) > 10 else "")
        raise ValueError(
            f"{folder}: it must hold two folders, one for each class, "
            f"it holds {len(names) or 'none'}{': ' if names else ''}{shown}"
        )
    for name in names:
        if not name.isprintable():
            raise ValueError(f"{folder}: the name of a class must be printable, got {name!r}")
    return names


def _label_order(names: list[str], positive: str | None) -> tuple[str, str]:
    """Give the class names with the positive one last."""
    first, last = names
    if positive is not None and positive not in names:
        raise ValueError(f"there is no class {positive!r}; the classes are {first!r} and {last!r}")
    return (last, first) if positive == first else (first, last)


def _listed(label: int, folder: str) -> _Class:
    names = _names(folder)
    if not names:
        raise ValueError(f"{folder}: the folder of this class is empty")
    return _Class(label, folder, names)


def _names(folder: str) -> list[str]:
    """Give the sorted names in a folder, without hidden ones, which systems leave everywhere."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise ValueError(f"{folder}: it cannot be read: {error.strerror}") from error


def _batches(classes: list[_Class]) -> Iterator[_Batch]:
    for each in classes:
        for start in range(0, len(each.names), _BATCH):
            names = each.names[start : start + _BATCH]
            yield _Batch(each.label, [os.path.join(each.folder, name) for name in names])


def _prepared(
    batches: Iterator[_Batch], workers: int
) -> Generator[tuple[_Batch, list[Outcome]], None, None]:
    """Prepare the files of batches, in their order, at most two batches a worker ahead."""
    if workers == 1:
        yield from ((batch, _prepare_files(batch.paths)) for batch in batches)
        return
    with ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_begin_worker
    ) as pool:
        pending: deque[tuple[_Batch, Future[list[Outcome]]]] = deque()
        try:
            for batch in batches:
                pending.append((batch, pool.submit(_prepare_files, batch.paths)))
                if len(pending) > 2 * workers:
                    oldest, future = pending.popleft()
                    yield oldest, future.result()
            for oldest, future in pending:
                yield oldest, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _append(
    packed: PackedWriter,
    batch: _Batch,
    outcomes: list[Outcome],
    refuse: Callable[[UnusableFile], None],
) -> int:
    """Write the images of a batch and refuse the other files; the number of images."""
    images = []
    for path, outcome in zip(batch.paths, outcomes, strict=True):
        if isinstance(outcome, str):
            refuse(UnusableFile(f"{path}: {outcome}"))
        else:
            images.append(outcome)
    if images:
        packed.append(np.stack(images), np.full(len(images), batch.label, np.uint8))
    return len(images)


def _prepare_files(paths: list[str]) -> list[Outcome]:
    return [_prepare_file(path) for path in paths]


def _prepare_file(path: str) -> Outcome:
    """Prepare a file as `predict` would, whatever it is."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            return f"it is {'a folder' if stat.S_ISDIR(mode) else 'a special file'}, not a picture"
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        return prepare(decode(content)).image
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
