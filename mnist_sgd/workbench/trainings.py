"""The trainings of a home: their folders, what they were asked for, and what is known of them."""

import json
import os
import re
import shutil
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mnist_sgd._files import atomic_write, remove_leftovers
from mnist_sgd.report.folder import (
    ARTIFACT,
    CHECKPOINT,
    EVALUATION,
    PLOTS,
    PROGRESS,
    REPORT,
    REQUEST,
    STOP,
    UNEXPORTED,
    WEIGHTS,
    write_json,
)
from mnist_sgd.workbench.errors import Refusal, not_found
from mnist_sgd.workbench.requests import TrainingRequest
from mnist_sgd.workbench.sets import PictureSet, Sets, fingerprint
from mnist_sgd.workbench.states import (
    CANCEL,
    PICTURES,
    State,
    attempts,
    end,
    exit_of,
    read_json,
    state_of,
)

DATA = "data"
"""The folder of a run with the pictures that it is trained on, linked from their set."""

FILES = (
    ARTIFACT,
    WEIGHTS,
    REPORT,
    EVALUATION,
    PROGRESS,
    "train.log",
    "config.json",
    "MODEL_CARD.md",
)
"""Files of a run that may be read over HTTP."""

_ID = re.compile(r"[0-9]{4,}-[a-z_]+")
_TAIL = 4096


class Trainings:
    """The trainings of a home. Methods may be called from any thread.

    Args:
        folder: of the runs.
        sets: of the pictures.
        version: of the package, which a repeated training must have too to be the same.
    """

    def __init__(self, folder: Path, sets: Sets, version: str) -> None:
        self.folder = folder
        self.sets = sets
        self.version = version
        self._lock = threading.Lock()
        self._keys: dict[str, str] = {}
        self._requests: dict[str, dict[str, Any]] = {}
        for name in self.ids():
            self._remember(name, read_json(folder / name / REQUEST))

    def ids(self) -> list[str]:
        """The trainings in the order in which they were asked for."""
        names = [path.name for path in self.folder.iterdir() if (path / REQUEST).is_file()]
        return sorted(names, key=_number)

    def run(self, training: str) -> Path:
        """The folder of a training.

        Raises:
            Refusal: there is none of this name.
        """
        if _ID.fullmatch(training) is None or not (self.folder / training / REQUEST).is_file():
            raise not_found("training", training)
        return self.folder / training

    def request(self, training: str) -> TrainingRequest:
        """What a training was asked to do.

        Raises:
            Refusal: there is none of this name.
        """
        given = self._request(training)
        return TrainingRequest(**{name: given[name] for name in asdict(TrainingRequest())})

    def create(self, request: TrainingRequest, key: str | None = None) -> tuple[str, bool]:
        """Record a training, once for each key.

        Args:
            request: what to do.
            key: of the sender, who may repeat the request; None makes a new training.

        Returns:
            The training, and whether it is new. An earlier one has the same key, or the same
            pictures, options and version, and has finished.

        Raises:
            Refusal: another request had the key, or the set does not exist or cannot be trained on.
            OSError: the folder cannot be written.
        """
        with self._lock:
            digest = request.digest()
            if key is not None and key in self._keys:
                earlier = self._keys[key]
                if self._requests[earlier]["digest"] != digest:
                    raise Refusal(
                        f"the Idempotency-Key was used for another request, {earlier}; a new "
                        "training needs a new key",
                        422,
                    )
                return earlier, False
            pictures, data = self._frozen(request)
            facts = {
                **asdict(request),
                "digest": digest,
                "data": data,
                "version": self.version,
                "created": round(time.time(), 3),
                "key": key,
            }
            same = self._same(facts)
            if same is not None:
                if key is not None:
                    self._keys[key] = same
                return same, False
            name = self._new_folder(request.model or "auto")
            run = self.folder / name
            if pictures is not None:
                atomic_write(run / PICTURES, pictures)
            write_json(run / REQUEST, facts)
            self._remember(name, facts)
            return name, True

    def _frozen(self, request: TrainingRequest) -> tuple[bytes | None, str]:
        """The pictures of a set as they are now, and their fingerprint."""
        if request.set is None:
            return None, "sample"
        pictures = self.sets.get(request.set)
        check_trainable(pictures)
        kept = [each for each in pictures.pictures().values() if each.class_name is not None]
        lines = [
            json.dumps({"sha256": each.sha256, "class": each.class_name, "name": each.path.name})
            for each in kept
        ]
        return "".join(f"{line}\n" for line in lines).encode(), fingerprint(kept)

    def _same(self, facts: dict[str, Any]) -> str | None:
        """A finished training of the same data, options and version."""
        for name, other in reversed(self._requests.items()):
            if all(other.get(key) == facts[key] for key in ("digest", "data", "version")):
                run = self.folder / name
                if exit_of(run).get("state") == State.FINISHED and (run / ARTIFACT).is_file():
                    return name
        return None

    def _new_folder(self, model: str) -> str:
        numbers = [_number(path.name) for path in self.folder.iterdir()]
        number = max(numbers, default=0)
        while True:
            number += 1
            name = f"{number:04}-{model}"
            try:
                (self.folder / name).mkdir()
            except FileExistsError:
                continue
            return name

    def _remember(self, name: str, facts: dict[str, Any]) -> None:
        self._requests[name] = facts
        if facts.get("key") is not None:
            self._keys[facts["key"]] = name

    def _request(self, training: str) -> dict[str, Any]:
        self.run(training)
        with self._lock:
            if training not in self._requests:  # a person has copied it here
                self._remember(training, read_json(self.folder / training / REQUEST))
            return self._requests[training]

    def facts(self, training: str) -> dict[str, Any]:
        """A training for JSON: what was asked for, its state, and its progress so far.

        Raises:
            Refusal: there is none of this name.
        """
        run, request = self.run(training), self._request(training)
        state, ended = state_of(run), exit_of(run)
        facts = {
            "id": training,
            **{name: request.get(name) for name in ("set", "model", "options")},
            "created": request.get("created"),
            "data": request.get("data"),
            "state": state,
            "reason": ended.get("reason", ""),
            "attempts": len(attempts(run)),
            "stopping": state is State.RUNNING and (run / STOP).exists(),
            "progress": last_progress(run / PROGRESS),
        }
        if state in (State.FINISHED, State.STOPPED):
            facts["evaluation"] = read_json(run / EVALUATION)
        return facts

    def file(self, training: str, name: str) -> Path:
        """A file of a training.

        Raises:
            Refusal: there is no such training, it has no such file, or the file is not offered.
        """
        path = self.run(training) / name
        if name not in FILES or not path.is_file():
            raise not_found("file", name)
        return path

    def discard(self, training: str) -> None:
        """Delete what a cancelled training has made; what was asked for and its log stay.

        Raises:
            OSError: a file cannot be deleted.
        """
        run = self.run(training)
        for name in (CHECKPOINT, WEIGHTS, ARTIFACT, UNEXPORTED, REPORT):
            (run / name).unlink(missing_ok=True)
            remove_leftovers(run / name)
        for folder in (DATA, PLOTS, "examples"):
            shutil.rmtree(run / folder, ignore_errors=True)

    def again(self, training: str) -> None:
        """Forget how a training ended, so that it is continued from its checkpoint.

        Raises:
            OSError: a file cannot be deleted.
        """
        run = self.run(training)
        for name in (STOP, CANCEL, "run.lock", "exit.json"):  # the last decides on the state
            (run / name).unlink(missing_ok=True)

    def prepare(self, training: str) -> Path | None:
        """Link the pictures of a training into its folder; None for the sample.

        Returns:
            The folder for `train --data`.

        Raises:
            Refusal: a picture is not there any more.
            OSError: a picture can be neither linked nor copied.
        """
        run, request = self.run(training), self._request(training)
        if request["set"] is None:
            return None
        folder = run / DATA / str(request["set"])
        lines = [json.loads(line) for line in (run / PICTURES).read_bytes().splitlines()]
        missing = [line for line in lines if not (folder / line["class"] / line["name"]).exists()]
        if not missing:
            return folder
        there = self.sets.get(request["set"]).pictures()
        for line in missing:
            picture = there.get(line["sha256"])
            if picture is None:
                raise Refusal(
                    f"{line['name']} is not in the set {request['set']!r} any more; start another "
                    "training"
                )
            target = folder / line["class"] / line["name"]
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(picture.path, target)
        return folder

    def end(self, training: str, state: State, reason: str = "") -> None:
        """Write how a training ended, for a process that could not.

        Raises:
            OSError: it cannot be written.
        """
        end(self.run(training), state, reason)


def check_trainable(pictures: PictureSet) -> None:
    """Check that a set has two classes with pictures.

    Raises:
        Refusal: it has not.
    """
    kept = pictures.pictures().values()
    filled = {each.class_name for each in kept if each.class_name is not None}
    if len(filled) != 2:
        found = ", ".join(sorted(filled)) or "none"
        raise Refusal(
            f"the set {pictures.name!r} must have pictures in two classes to train on, has them "
            f"in {len(filled)}: {found}",
            409,
        )


def last_progress(path: Path) -> dict[str, Any] | None:
    """The last event of a `progress.jsonl`, None if there is none yet."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read().split(b"\n")[:-1]
        found = json.loads(lines[-1])
    except (OSError, ValueError, IndexError):
        return None
    return found if isinstance(found, dict) else None


def _number(name: str) -> int:
    digits = name.partition("-")[0]
    return int(digits) if digits.isdecimal() else 0


def _link(source: Path, target: Path) -> None:
    """Link a file, or copy it where links are not possible; it has its name when it is whole."""
    temporary = target.with_name(f".{target.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copy2(source, temporary)
    os.replace(temporary, target)
