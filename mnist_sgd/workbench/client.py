"""A client of a workbench, for programs and notebooks; it needs nothing but Python.

from mnist_sgd.workbench import Client

workbench = Client("http://127.0.0.1:8100")
workbench.create_set("pets", ["cat", "dog"])
workbench.add_folder("pets", "cat", "photos/cat")
workbench.add_folder("pets", "dog", "photos/dog")
training = workbench.train("pets", model="cnn")
print(workbench.wait(training["id"])["state"])
"""

import json
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

Facts = dict[str, Any]

FILES_AT_ONCE = 50
ENDED = ("finished", "stopped", "cancelled", "failed")


class WorkbenchError(RuntimeError):
    """A request that was refused.

    Attributes:
        status: the HTTP status.
        state: of the training, if that is why; else empty.
    """

    def __init__(self, message: str, status: int, state: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.state = state


class Client:
    """Talks to a workbench; each call is one request on a connection of its own.

    Args:
        address: as in http://127.0.0.1:8100.
        token: of the workbench, if it has one.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, address: str, token: str | None = None, timeout: float = 60.0) -> None:
        self._parts = urlsplit(address)
        self._token = token
        self._timeout = timeout

    def about(self) -> Facts:
        """The version of the workbench, and what there is."""
        return self._json("GET", "")

    def sets(self) -> list[Facts]:
        """All sets."""
        found: list[Facts] = self._json("GET", "/sets")["sets"]
        return found

    def create_set(self, name: str, classes: Iterable[str] = ()) -> Facts:
        """Create a set, or add classes to one.

        Raises:
            WorkbenchError: a name is not allowed.
        """
        return self._json("PUT", f"/sets/{quote(name, '')}", {"classes": list(classes)})

    def set(self, name: str) -> Facts:
        """A set: its classes, counts and warnings.

        Raises:
            WorkbenchError: there is none of this name.
        """
        return self._json("GET", f"/sets/{quote(name, '')}")

    def delete_set(self, name: str) -> None:
        """Delete a set and its pictures.

        Raises:
            WorkbenchError: there is none of this name, or a training waits for it.
        """
        self._request("DELETE", f"/sets/{quote(name, '')}")

    def add(self, name: str, class_name: str, files: Mapping[str, bytes]) -> list[Facts]:
        """Add pictures to a class, and return what became of each: kept, duplicate or refused.

        Args:
            name: of the set.
            class_name: of the class.
            files: contents by file name.

        Raises:
            WorkbenchError: there is no such set, or the class's name is not allowed.
        """
        boundary = secrets.token_hex(16)
        parts = []
        for file, content in files.items():
            shown = file.replace("\\", "\\\\").replace('"', '\\"')
            head = f'Content-Disposition: form-data; name="file"; filename="{shown}"'
            parts.append(f"--{boundary}\r\n{head}\r\n\r\n".encode() + content + b"\r\n")
        body = b"".join(parts) + f"--{boundary}--\r\n".encode()
        path = f"/sets/{quote(name, '')}/pictures?{urlencode({'class': class_name})}"
        kind = f"multipart/form-data; boundary={boundary}"
        lines = self._request("POST", path, body, {"Content-Type": kind}).splitlines()
        return [json.loads(line) for line in lines]

    def add_folder(self, name: str, class_name: str, folder: str | Path) -> list[Facts]:
        """Add the files of a folder to a class, `FILES_AT_ONCE` at a time.

        Raises:
            WorkbenchError: as in `add`.
            OSError: a file cannot be read.
        """
        paths = sorted(path for path in Path(folder).iterdir() if path.is_file())
        verdicts = []
        for start in range(0, len(paths), FILES_AT_ONCE):
            some = paths[start : start + FILES_AT_ONCE]
            verdicts += self.add(name, class_name, {path.name: path.read_bytes() for path in some})
        return verdicts

    def pictures(self, name: str, **query: str) -> Iterator[Facts]:
        """The pictures of a set; `class_name` and `sort` select and order them.

        Raises:
            WorkbenchError: there is no such set.
        """
        if "class_name" in query:
            query["class"] = query.pop("class_name")
        page = pages = 1
        while page <= pages:
            path = f"/sets/{quote(name, '')}/pictures?{urlencode({**query, 'page': str(page)})}"
            found = self._json("GET", path)
            yield from found["pictures"]
            page, pages = page + 1, found["pages"]

    def move(self, name: str, sha256: str, class_name: str | None) -> Facts:
        """Move a picture to another class; None leaves it out.

        Raises:
            WorkbenchError: there is no such picture, or the class's name is not allowed.
        """
        path = f"/sets/{quote(name, '')}/pictures/{sha256}"
        return self._json("PATCH", path, {"class": class_name})

    def undo(self, name: str) -> Facts:
        """Take back the last move in a set.

        Raises:
            WorkbenchError: there is nothing to undo.
        """
        return self._json("POST", f"/sets/{quote(name, '')}/undo")

    def train(
        self,
        name: str | None = None,
        *,
        model: str | None = None,
        key: str | None = None,
        **options: Any,
    ) -> Facts:
        """Queue a training.

        Args:
            name: of the set; None trains on the sample that comes with the package.
            model: a built-in one; None takes the one that suits the pictures.
            key: makes a repeated call harmless; None takes a new one.
            options: of `mnist-sgd train`, with underscores.

        Raises:
            WorkbenchError: it is refused; the message says why.
        """
        body = {"set": name, "model": model, "options": options}
        return self._json(
            "POST", "/trainings", body, {"Idempotency-Key": key or secrets.token_hex(16)}
        )

    def trainings(self) -> list[Facts]:
        """All trainings, the newest first."""
        found: list[Facts] = self._json("GET", "/trainings")["trainings"]
        return found

    def training(self, training: str) -> Facts:
        """A training: what was asked for, its state and its progress.

        Raises:
            WorkbenchError: there is none of this name.
        """
        return self._json("GET", f"/trainings/{training}")

    def stop(self, training: str) -> Facts:
        """End a training now, and keep its weights.

        Raises:
            WorkbenchError: its state does not allow it.
        """
        return self._json("POST", f"/trainings/{training}/stop")

    def cancel(self, training: str) -> Facts:
        """End a training, and discard its weights.

        Raises:
            WorkbenchError: its state does not allow it.
        """
        return self._json("POST", f"/trainings/{training}/cancel")

    def resume(self, training: str) -> Facts:
        """Continue a training that was stopped or has failed.

        Raises:
            WorkbenchError: its state does not allow it.
        """
        return self._json("POST", f"/trainings/{training}/resume")

    def wait(self, training: str, timeout: float = float("inf")) -> Facts:
        """Wait until a training has ended, and return it.

        Raises:
            TimeoutError: it has not ended in so many seconds.
            WorkbenchError: there is none of this name.
        """
        end = time.monotonic() + timeout
        while (found := self.training(training))["state"] not in ENDED:
            if time.monotonic() > end:
                raise TimeoutError(f"{training} is {found['state']} after {timeout:g} s")
            time.sleep(0.1)
        return found

    def file(self, training: str, name: str) -> bytes:
        """A file of a training, such as `model.onnx`.

        Raises:
            WorkbenchError: there is no such file.
        """
        return self._request("GET", f"/trainings/{training}/files/{quote(name, '')}")

    def served(self) -> Facts:
        """What is served: the training, since when, how good, and where."""
        return self._json("GET", "/served")

    def promote(self, training: str, *, force: bool = False) -> Facts:
        """Serve the model of a training.

        Args:
            training: its name.
            force: even if the model is worse than the one that is served, or of other classes.

        Raises:
            WorkbenchError: it has no verified model, or is worse.
        """
        return self._json("PUT", "/served", {"training": training, "force": force})

    def roll_back(self) -> Facts:
        """Serve again what was served before.

        Raises:
            WorkbenchError: nothing was.
        """
        return self._json("POST", "/served/rollback")

    def served_history(self) -> list[Facts]:
        """All promotions, the newest first."""
        found: list[Facts] = self._json("GET", "/served/history")["history"]
        return found

    def events(self, after: int | None = None) -> Iterator[tuple[int, list[Facts]]]:
        """What happens, from after a number on, as numbers and lists; ends with the connection.

        Raises:
            WorkbenchError: the number is not one.
        """
        path = "/events" if after is None else f"/events?after={after}"
        connection, response = self._open("GET", path)
        try:
            number = 0
            for raw in response:
                name, _, value = raw.decode().rstrip("\n").partition(": ")
                if name == "id":
                    number = int(value)
                elif name == "data":
                    found = json.loads(value)
                    yield number, found if isinstance(found, list) else [{"event": "reset"}]
        finally:
            connection.close()

    def _json(
        self,
        method: str,
        path: str,
        body: Facts | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Facts:
        content = None if body is None else json.dumps(body).encode()
        given = {} if body is None else {"Content-Type": "application/json"}
        found: Facts = json.loads(self._request(method, path, content, given | dict(headers or {})))
        return found

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        connection, response = self._open(method, path, body, headers)
        try:
            return response.read()
        finally:
            connection.close()

    def _open(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[HTTPConnection, HTTPResponse]:
        kind = HTTPSConnection if self._parts.scheme == "https" else HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=self._timeout)
        given = dict(headers or {})
        if self._token is not None:
            given["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request(method, f"{self._parts.path.rstrip('/')}/api{path}", body, given)
            response = connection.getresponse()
            if response.status >= 400:
                raise _refused(response)
        except BaseException:
            connection.close()
            raise
        return connection, response


def _refused(response: HTTPResponse) -> WorkbenchError:
    content = response.read()
    try:
        facts = json.loads(content)
        message, state = str(facts["error"]), str(facts.get("state", ""))
    except (ValueError, TypeError, KeyError, AttributeError):
        message, state = content[:200].decode(errors="replace"), ""
    return WorkbenchError(message, response.status, state)
