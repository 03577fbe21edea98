"""Sets of pictures: ordinary folders of class folders, in which every picture is there once.

    SET/CLASS/photo-3fa9c2d1.jpg       the end of the name is the beginning of the content's SHA-256
    SET/.workbench/left_out/CLASS/     pictures that are left out, under the class that they had
    SET/.workbench/incoming/           pictures that are being written
    SET/.workbench/changes.jsonl       each move, before it is made: for undo

A picture is known by the SHA-256 of its file. It is written under a temporary name and renamed, and
moved by a rename, so a crash leaves it in one place. Files that a person puts into the folders
count as well: the folders are read again when they have changed.
"""

import json
import os
import re
import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

from mnist_sgd._names import is_ignored
from mnist_sgd.data.pictures.importer import is_validation
from mnist_sgd.workbench.errors import Refusal, not_found
from mnist_sgd.workbench.home import check_class_name, check_set_name

HIDDEN = ".workbench"

FEW = 10
"""Fewer pictures of a class than this are too few to train on."""

_DIGEST_BYTES = 16
"""Of the digest that decides on the side, see `mnist_sgd.data.pictures.decoding`."""

_UNSAFE = re.compile(r"[^\w .()+,=-]+")
_STEM_BYTES = 80

_TICK = 20_000_000
"""Nanoseconds within which two changes of a folder may give it the same time."""


@dataclass(frozen=True)
class Picture:
    """A picture of a set.

    Attributes:
        sha256: of its file, in hexadecimal.
        path: of the file.
        class_name: of the folder; None if it is left out.
        left_class: the class that a left out picture had.
        size: in bytes.
        added: when the file was written, in seconds of the clock.
        is_valid: whether it is for validation.
    """

    sha256: str
    path: Path
    class_name: str | None
    left_class: str
    size: int
    added: float
    is_valid: bool

    def facts(self) -> dict[str, object]:
        """The picture for JSON."""
        return {
            "sha256": self.sha256,
            "class": self.class_name,
            "name": self.path.name,
            "size": self.size,
            "added": round(self.added, 3),
            "valid": self.is_valid,
        }


@dataclass(frozen=True)
class Added:
    """What became of a picture that was sent: kept, or a duplicate."""

    picture: Picture
    is_new: bool


class PictureSet:
    """One set. Its methods may be called from any thread.

    Args:
        folder: of the set.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self._hidden = folder / HIDDEN
        self._lock = threading.RLock()
        self._pictures: dict[str, Picture] = {}
        self._copies: dict[Path, str] = {}
        self._folders: dict[Path, tuple[int, ...]] = {}  # as they were when they were read
        self._files: dict[Path, tuple[tuple[int, ...], Picture]] = {}

    def create(self, classes: Iterable[str] = ()) -> None:
        """Create the set's folder and those of its classes; what exists stays.

        Raises:
            Refusal: a class's name is not allowed, or differs from another only in case.
            OSError: a folder cannot be created.
        """
        with self._lock:
            (self._hidden / "incoming").mkdir(parents=True, exist_ok=True)
            (self._hidden / "left_out").mkdir(exist_ok=True)
            for name in classes:
                self._class_folder(name).mkdir(exist_ok=True)

    def classes(self) -> list[str]:
        """The names of the classes, sorted."""
        with os.scandir(self.folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and not is_ignored(entry.name)
            )

    def pictures(self) -> dict[str, Picture]:
        """All pictures by their SHA-256, those left out included.

        Raises:
            OSError: a folder or a file cannot be read.
        """
        with self._lock:
            self._read()
            return dict(self._pictures)

    def copies(self) -> list[str]:
        """The paths, from the set's folder, of files whose content another file has too."""
        with self._lock:
            self._read()
            return sorted(str(path.relative_to(self.folder)) for path in self._copies)

    def get(self, digest: str) -> Picture:
        """The picture with this SHA-256.

        Raises:
            Refusal: there is none.
        """
        found = self.pictures().get(digest)
        if found is None:
            raise not_found("picture", digest)
        return found

    def add(self, content: bytes, name: str, class_name: str, suffix: str) -> Added:
        """Add a picture to a class, unless the set has it.

        Args:
            content: of the file, which has been checked.
            name: of the file, as the sender calls it.
            class_name: of the class, which is created.
            suffix: of the format, as in `.png`.

        Raises:
            Refusal: the class's name is not allowed.
            OSError: the file cannot be written.
        """
        digest = sha256(content).hexdigest()
        with self._lock:
            found = self.pictures().get(digest)
            self.create([class_name])
        if found is not None:
            return Added(found, False)
        temporary = self._hidden / "incoming" / f"{digest}.{secrets.token_hex(4)}{suffix}"
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            with self._lock:  # another thread may have been faster
                found = self.pictures().get(digest)
                if found is not None:
                    return Added(found, False)
                target = self._class_folder(class_name) / _file_name(name, digest, suffix)
                os.replace(temporary, target)
                return Added(self._put(target, class_name), True)
        finally:
            temporary.unlink(missing_ok=True)

    def move(self, digest: str, class_name: str | None, expected: str | None = None) -> Picture:
        """Move a picture to another class, or leave it out.

        Args:
            digest: the picture's SHA-256.
            class_name: where to; None leaves it out.
            expected: the class that the caller takes it to be in, "" for left out; None if that
                does not matter.

        Raises:
            Refusal: there is no such picture, it is in another class than expected, or the class's
                name is not allowed.
            OSError: it cannot be moved.
        """
        with self._lock:
            picture = self.get(digest)
            here = picture.class_name or ""
            if expected is not None and expected != here:
                where = f"in {here!r}" if here else "left out"
                raise Refusal(f"the picture is {where} by now", 412, here)
            if class_name == picture.class_name:
                return picture
            number = max((change["id"] for change in self._changes()), default=0) + 1
            self._log(
                {"id": number, "sha256": digest, "from": picture.class_name, "to": class_name}
            )
            return self._rename(picture, class_name)

    def undo(self) -> Picture:
        """Take back the last move that was not taken back.

        Raises:
            Refusal: there is none, or its picture is gone or has been moved by somebody else.
            OSError: it cannot be moved.
        """
        with self._lock:
            changes = self._changes()
            undone = {change["undo"] for change in changes if "undo" in change}
            made = [each for each in changes if "to" in each and each["id"] not in undone]
            if not made:
                raise Refusal("there is nothing to undo", 409)
            last = made[-1]
            picture = self.get(last["sha256"])
            if picture.class_name not in (last["to"], last["from"]):
                raise Refusal("the picture has been moved since; move it by hand", 409)
            self._log({"id": max(each["id"] for each in changes) + 1, "undo": last["id"]})
            return self._rename(picture, last["from"])

    def facts(self) -> dict[str, Any]:
        """The set for JSON: classes, counts, split, warnings, and a fingerprint."""
        pictures = self.pictures()
        classes = self.classes()
        kept = [each for each in pictures.values() if each.class_name is not None]
        counts = Counter(each.class_name for each in kept)
        valid = Counter(each.class_name for each in kept if each.is_valid)
        return {
            "name": self.name,
            "classes": [
                {"name": name, "pictures": counts[name], "valid": valid[name]} for name in classes
            ],
            "pictures": len(kept),
            "left_out": len(pictures) - len(kept),
            "warnings": list(self._warnings(classes, counts, valid)),
            "fingerprint": fingerprint(kept),
        }

    def _warnings(
        self,
        classes: list[str],
        counts: Counter[str | None],
        valid: Counter[str | None],
    ) -> Iterator[str]:
        if len(classes) < 2:
            yield "add a second class: a model tells classes apart"
        for name in classes:
            if counts[name] < FEW:
                yield f"{name} has {counts[name]} pictures; {FEW} or more are needed to learn it"
            elif not valid[name]:
                yield f"no picture of {name} is for validation, so the accuracy says less"
        most, least = (f(counts[name] for name in classes) if classes else 0 for f in (max, min))
        if least and most >= 20 * least:
            yield f"one class has {most // least} times as many pictures as another"
        copies = self.copies()
        if copies:
            yield f"{len(copies)} files are there more than once, such as {copies[0]}"

    def _class_folder(self, name: str) -> Path:
        check_class_name(name)
        for other in self.classes() if self.folder.is_dir() else []:
            if other != name and other.casefold() == name.casefold():
                raise Refusal(
                    f"there is a class {other!r}, which differs from {name!r} only in case"
                )
        return self.folder / name

    def _rename(self, picture: Picture, class_name: str | None) -> Picture:
        if class_name is None:
            folder = self._hidden / "left_out" / (picture.class_name or picture.left_class)
        else:
            folder = self._class_folder(class_name)
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / picture.path.name
        os.replace(picture.path, target)
        del self._files[picture.path], self._pictures[picture.sha256]
        self._folders[picture.path.parent] = _state(picture.path.parent)
        return self._put(target, class_name)

    def _put(self, path: Path, class_name: str | None) -> Picture:
        """Take a file that was just written or renamed into the index."""
        picture = _picture(path, class_name, path.parent.name)
        self._files[path] = _state(path), picture
        self._pictures[picture.sha256] = picture
        self._folders[path.parent] = _state(path.parent)
        return picture

    def _changes(self) -> list[dict[str, Any]]:
        try:
            lines = (self._hidden / "changes.jsonl").read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    def _log(self, change: dict[str, Any]) -> None:
        self._hidden.mkdir(exist_ok=True)
        line = json.dumps(change | {"time": round(time.time(), 3)})
        path = self._hidden / "changes.jsonl"
        with open(path, "ab") as file:
            end = file.tell()
            try:
                file.write(f"{line}\n".encode())
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise

    def _read(self) -> None:
        """Bring the index up to date with the folders that have changed."""
        left_out = self._hidden / "left_out"
        left = sorted(left_out.iterdir()) if left_out.is_dir() else []
        places = {self.folder / name: name for name in self.classes()} | dict.fromkeys(left)
        if places.keys() <= self._folders.keys() and self._is_as_read():
            return
        folders: dict[Path, tuple[int, ...]] = {}
        files: dict[Path, tuple[tuple[int, ...], Picture]] = {}
        for place, class_name in places.items():
            for path, folder_state in _walk(place):
                if folder_state is not None:
                    folders[path] = folder_state
                    continue
                state = _state(path)
                known = self._files.get(path)
                if known is None or known[0] != state:
                    known = state, _picture(path, class_name, place.name)
                files[path] = known
        self._folders, self._files, self._pictures, self._copies = folders, files, {}, {}
        for path, (_, picture) in files.items():
            if picture.sha256 in self._pictures:
                self._copies[path] = picture.sha256
            else:
                self._pictures[picture.sha256] = picture

    def _is_as_read(self) -> bool:
        try:
            return all(_state(folder) == state for folder, state in self._folders.items())
        except FileNotFoundError:
            return False


def fingerprint(pictures: Iterable[Picture]) -> str:
    """A digest of which pictures are in which classes."""
    lines = sorted(f"{each.sha256} {each.class_name}\n" for each in pictures)
    return sha256("".join(lines).encode()).hexdigest()[:16]


class Sets:
    """All sets of a home.

    Args:
        folder: of the sets.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._sets: dict[str, PictureSet] = {}

    def names(self) -> list[str]:
        """The names of the sets, sorted."""
        return sorted(
            path.name
            for path in self.folder.iterdir()
            if not is_ignored(path.name) and (path / HIDDEN).is_dir()
        )

    def get(self, name: str) -> PictureSet:
        """The set of this name.

        Raises:
            Refusal: there is none, or the name cannot be one.
        """
        check_set_name(name)
        if not (self.folder / name / HIDDEN).is_dir():
            raise not_found("set", name)
        with self._lock:
            return self._sets.setdefault(name, PictureSet(self.folder / name))

    def create(self, name: str, classes: Iterable[str] = ()) -> PictureSet:
        """Create a set, or add classes to one.

        Raises:
            Refusal: a name is not allowed.
            OSError: a folder cannot be created.
        """
        check_set_name(name)
        with self._lock:
            found = self._sets.setdefault(name, PictureSet(self.folder / name))
        found.create(classes)
        return found

    def delete(self, name: str) -> None:
        """Delete a set and its pictures; trainings keep those that they were made from.

        Raises:
            Refusal: there is no such set.
            OSError: a file cannot be deleted.
        """
        found = self.get(name)
        with self._lock:
            doomed = (
                self.folder / f".{name}.{secrets.token_hex(4)}.deleted"
            )  # it is gone at once, whatever happens then
            os.replace(found.folder, doomed)
            self._sets.pop(name, None)
        shutil.rmtree(doomed)

    def clear_leftovers(self) -> None:
        """Delete what a killed service has left; only while no other service runs.

        Raises:
            OSError: a file cannot be deleted.
        """
        for doomed in self.folder.glob(".*.deleted"):
            shutil.rmtree(doomed)
        for incoming in self.folder.glob(f"*/{HIDDEN}/incoming/*"):
            incoming.unlink()


def _file_name(name: str, digest: str, suffix: str) -> str:
    """A name that is allowed everywhere, ends in the digest, and is still the sender's."""
    stem = re.split(r"[/\\]", name)[-1].rpartition(".")[0] or re.split(r"[/\\]", name)[-1]
    stem = _UNSAFE.sub("_", stem).strip(" .-_")
    stem = stem.encode()[:_STEM_BYTES].decode(errors="ignore").rstrip(" .-_")
    return f"{stem or 'picture'}-{digest[:8]}{suffix}"


def _walk(folder: Path) -> Iterator[tuple[Path, tuple[int, ...] | None]]:
    """The folders below a class with their states, and the files in them; links are left out."""
    yield folder, _state_to_trust(folder)  # before it is listed
    with os.scandir(folder) as entries:
        listed = sorted((each for each in entries if not is_ignored(each.name)), key=_name)
    for entry in listed:
        if entry.is_file(follow_symlinks=False):
            yield Path(entry.path), None
    for entry in listed:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _state_to_trust(folder: Path) -> tuple[int, ...]:
    """The state of a folder, or one that no folder has if another change may leave it so."""
    state = _state(folder)
    return state if time.time_ns() - state[0] > _TICK else ()


def _state(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _picture(path: Path, class_name: str | None, folder: str) -> Picture:
    content = path.read_bytes()
    digest = blake2b(content, digest_size=_DIGEST_BYTES).hexdigest()
    return Picture(
        sha256(content).hexdigest(),
        path,
        class_name,
        "" if class_name is not None else folder,
        len(content),
        path.stat().st_mtime,
        is_validation(digest),
    )
