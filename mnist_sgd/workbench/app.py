"""The HTTP API of a workbench: one table of routes, and a method for each.

Errors are JSON, {"error": "..."}; a conflict (409) also has the `state` that it met.
"""

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from hashlib import blake2b, sha256
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from mnist_sgd.report.folder import PROGRESS
from mnist_sgd.workbench.access import Access, Guard
from mnist_sgd.workbench.checking import MAX_PICTURE, Checker
from mnist_sgd.workbench.errors import Refusal
from mnist_sgd.workbench.events import POLL_SECONDS, Events
from mnist_sgd.workbench.home import Home
from mnist_sgd.workbench.requests import TrainingRequest
from mnist_sgd.workbench.runner import Runner
from mnist_sgd.workbench.served import Served
from mnist_sgd.workbench.sets import PictureSet, Sets
from mnist_sgd.workbench.states import ENDED, State, state_of
from mnist_sgd.workbench.trainings import Trainings

MAX_JSON = 2**20
PAGE_SIZE = 100
FILES_AT_ONCE = 1000
TOGETHER = 16
"""Pictures of a form that are checked and written at the same time."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEY = re.compile(r"[ -~]{1,128}")

Handler = Callable[[Request], Awaitable[Response]]


class Workbench:
    """The parts of a workbench, and the methods that answer requests.

    Args:
        home: its folder, which this service holds.
        version: of the package.
        jobs: trainings that run at the same time.
        serve_at: the address and the port of the inference server, and the token for both.
        decoders: pictures that are checked at the same time.

    Raises:
        OSError: a file of the home cannot be read or written.
    """

    def __init__(
        self,
        home: Home,
        version: str,
        jobs: int = 1,
        serve_at: tuple[str, int, str | None] = ("127.0.0.1", 8000, None),
        decoders: int = 2,
    ) -> None:
        self.home = home
        self.version = version
        self.sets = Sets(home.sets)
        self.trainings = Trainings(home.runs, self.sets, version)
        self.events = Events(home.path / "events.jsonl")
        self.runner = Runner(self.trainings, jobs, self._changed)
        self.checker = Checker(decoders)
        self.served = Served(home.served, self.trainings, *serve_at)
        self._followed: dict[str, asyncio.Task[None]] = {}
        self._told: dict[str, State] = {}

    def application(self, access: Access) -> Starlette:
        """The ASGI application."""

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            self.sets.clear_leftovers()
            self.checker.start()
            for name in self.trainings.ids():
                self.events.copy(name, self.trainings.run(name) / PROGRESS)
            self.runner.start()
            self.served.start()
            for name in self.runner.running():
                self._changed(name)
            try:
                yield
            finally:
                self.events.close()
                await self.runner.close()
                await self.served.close()
                for task in self._followed.values():
                    task.cancel()
                self.checker.close()

        routes = [
            Route(f"/api{path}", endpoint=handler, methods=[method])
            for method, path, handler in self._table()
        ]
        return Starlette(
            routes=_merged(routes),
            lifespan=lifespan,
            middleware=[Middleware(Guard, access=access)],
            exception_handlers={
                Refusal: _refused,
                HTTPException: _http_error,
                MultiPartException: _bad_form,
                Exception: _failed,
            },
        )

    def _table(self) -> list[tuple[str, str, Handler]]:
        """All routes."""
        one, picture = "/sets/{set}", "/sets/{set}/pictures/{sha256}"
        training = "/trainings/{training}"
        return [
            ("GET", "", self.about),
            ("GET", "/sets", self.list_sets),
            ("PUT", one, self.put_set),
            ("GET", one, self.get_set),
            ("DELETE", one, self.delete_set),
            ("POST", f"{one}/undo", self.undo),
            ("GET", f"{one}/pictures", self.list_pictures),
            ("POST", f"{one}/pictures", self.add_pictures),
            ("PUT", picture, self.put_picture),
            ("GET", picture, self.get_picture),
            ("PATCH", picture, self.move_picture),
            ("GET", f"{picture}/prepared", self.prepared),
            ("POST", "/trainings", self.train),
            ("GET", "/trainings", self.list_trainings),
            ("GET", training, self.get_training),
            ("POST", f"{training}/stop", self.stop),
            ("POST", f"{training}/cancel", self.cancel),
            ("POST", f"{training}/resume", self.resume),
            ("GET", f"{training}/files/{{name}}", self.get_file),
            ("GET", "/served", self.get_served),
            ("PUT", "/served", self.promote),
            ("GET", "/served/history", self.get_history),
            ("POST", "/served/rollback", self.roll_back),
            ("GET", "/events", self.watch),
        ]

    # The workbench

    async def about(self, _: Request) -> Response:
        """The version, and what there is."""
        return JSONResponse(
            {
                "name": "mnist_sgd workbench",
                "version": self.version,
                "sets": self.sets.names(),
                "trainings": len(self.trainings.ids()),
                "event": self.events.last,
            }
        )

    # Sets

    async def list_sets(self, _: Request) -> Response:
        """All sets, with their counts."""
        found = [await asyncio.to_thread(self.sets.get(name).facts) for name in self.sets.names()]
        return JSONResponse({"sets": found})

    async def put_set(self, request: Request) -> Response:
        """Create a set, or add classes to one."""
        name = request.path_params["set"]
        body = await _json(request, {"classes"})
        classes = body.get("classes", [])
        if not isinstance(classes, list) or not all(isinstance(each, str) for each in classes):
            raise Refusal("classes must be an array of strings")
        is_new = name not in self.sets.names()
        created = await asyncio.to_thread(self.sets.create, name, classes)
        self.events.publish("set", set=name)
        return JSONResponse(created.facts(), 201 if is_new else 200)

    async def get_set(self, request: Request) -> Response:
        """A set: classes, counts, split, warnings, fingerprint."""
        return JSONResponse(await asyncio.to_thread(self._set(request).facts))

    async def delete_set(self, request: Request) -> Response:
        """Delete a set and its pictures."""
        found = self._set(request)
        waiting = [
            name for name in self.runner.queue if self.trainings.request(name).set == found.name
        ]
        if waiting:
            raise Refusal(
                f"the training {waiting[0]} waits for this set; cancel it first", 409, State.QUEUED
            )
        await asyncio.to_thread(self.sets.delete, found.name)
        self.events.publish("set", set=found.name)
        return Response(status_code=204)

    async def undo(self, request: Request) -> Response:
        """Take back the last move of a picture."""
        picture = await asyncio.to_thread(self._set(request).undo)
        self.events.publish("set", set=request.path_params["set"])
        return JSONResponse(picture.facts())

    # Pictures

    async def list_pictures(self, request: Request) -> Response:
        """A page of the pictures of a set, the newest first."""
        found = self._set(request)
        pictures = list((await asyncio.to_thread(found.pictures)).values())
        query = request.query_params
        if "class" in query:
            wanted = query["class"] or None
            pictures = [each for each in pictures if each.class_name == wanted]
        if query.get("sort", "new") not in ("new", "name"):
            raise Refusal(f"sort must be new or name, got {query['sort'][:64]!r}")
        if query.get("sort", "new") == "new":
            pictures.sort(key=lambda each: (-each.added, each.path.name))
        else:
            pictures.sort(key=lambda each: each.path.name)
        page = _whole(query.get("page", "1"), "page")
        shown = pictures[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
        return JSONResponse(
            {
                "pictures": [each.facts() for each in shown],
                "page": page,
                "pages": max(1, -(-len(pictures) // PAGE_SIZE)),
                "total": len(pictures),
            }
        )

    async def add_pictures(self, request: Request) -> Response:
        """Add the files of a form to a class; a line of JSON tells what became of each."""
        found, class_name = self._set(request), self._class(request)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "multipart/form-data":
            raise Refusal("send the files as multipart/form-data", 415)
        async with request.form(max_files=FILES_AT_ONCE, max_part_size=MAX_PICTURE) as form:
            files = [each for _, each in form.multi_items() if not isinstance(each, str)]
            verdicts = []
            for start in range(0, len(files), TOGETHER):
                some = files[start : start + TOGETHER]
                verdicts += await asyncio.gather(
                    *(self._add(found, each, class_name) for each in some)
                )
        self.events.publish("set", set=found.name)
        lines = "".join(f"{json.dumps(each)}\n" for each in verdicts)
        return Response(lines, media_type="application/x-ndjson")

    async def _add(self, found: PictureSet, file: UploadFile, class_name: str) -> dict[str, object]:
        name, content = file.filename or "picture", await file.read()
        try:
            suffix = await self.checker.check(content)
            added = await asyncio.to_thread(found.add, content, name, class_name, suffix)
        except Refusal as refusal:
            return {"file": name, "verdict": "refused", "reason": str(refusal)}
        verdict = "kept" if added.is_new else "duplicate"
        return {"file": name, "verdict": verdict, **added.picture.facts(), "name": name}

    async def put_picture(self, request: Request) -> Response:
        """Add one picture by its content; a second time does nothing."""
        found, class_name = self._set(request), self._class(request)
        digest = self._sha256(request)
        content = await _body(request, MAX_PICTURE)
        suffix = await self.checker.check(content)
        if sha256(content).hexdigest() != digest:
            raise Refusal("the SHA-256 of the body is another than that of the path")
        name = request.query_params.get("name", "picture")
        added = await asyncio.to_thread(found.add, content, name, class_name, suffix)
        if added.picture.class_name != class_name:
            here = added.picture.class_name
            where = "left out" if here is None else f"in the class {here!r}"
            raise Refusal(f"the picture is {where}; move it with PATCH", 409, here or "")
        self.events.publish("set", set=found.name)
        return JSONResponse(added.picture.facts(), 201 if added.is_new else 200)

    async def get_picture(self, request: Request) -> Response:
        """The file of a picture."""
        picture = await asyncio.to_thread(self._set(request).get, self._sha256(request))
        return FileResponse(picture.path, headers={"etag": _etag(picture.class_name)})

    async def move_picture(self, request: Request) -> Response:
        """Move a picture to a class, or leave it out."""
        found, digest = self._set(request), self._sha256(request)
        body = await _json(request, {"class"})
        if "class" not in body or not isinstance(body["class"], str | None):
            raise Refusal("class must be the name of a class, or null to leave the picture out")
        given = request.headers.get("if-match")
        expected = None
        if given is not None and given != "*":
            here = (await asyncio.to_thread(found.get, digest)).class_name
            if given != _etag(here):
                raise Refusal("the picture has been moved since", 412, here or "")
            expected = here or ""
        moved = await asyncio.to_thread(found.move, digest, body["class"], expected)
        self.events.publish("set", set=found.name)
        return JSONResponse(moved.facts(), headers={"etag": _etag(moved.class_name)})

    async def prepared(self, request: Request) -> Response:
        """What the model sees of a picture, as a PNG."""
        picture = await asyncio.to_thread(self._set(request).get, self._sha256(request))
        how = request.query_params.get("preprocess", "mnist")
        if how not in ("mnist", "fit", "stretch"):
            raise Refusal(f"preprocess must be mnist, fit or stretch, got {how[:64]!r}")
        content = await asyncio.to_thread(picture.path.read_bytes)
        image = await self.checker.prepared(content, how)
        return Response(_png(image), media_type="image/png")

    # Trainings

    async def train(self, request: Request) -> Response:
        """Queue a training; once for each Idempotency-Key."""
        body = await _json(request)
        key = request.headers.get("idempotency-key")
        if key is not None and _KEY.fullmatch(key) is None:
            raise Refusal("the Idempotency-Key must be 1 to 128 printable ASCII characters")
        wanted = TrainingRequest.parse(body)
        name, is_new = await asyncio.to_thread(self.trainings.create, wanted, key)
        if is_new:
            self.runner.submit(name)
        facts = self._facts(name)
        same = not is_new and facts["state"] == State.FINISHED
        return JSONResponse(
            {**facts, "same": True} if same else facts,
            200 if same else 202,
            {"location": f"/api/trainings/{name}"},
        )

    async def list_trainings(self, _: Request) -> Response:
        """All trainings, the newest first."""
        found = [self._facts(name) for name in reversed(self.trainings.ids())]
        return JSONResponse({"trainings": found})

    async def get_training(self, request: Request) -> Response:
        """A training: what was asked for, its state and its progress."""
        return JSONResponse(self._facts(request.path_params["training"]))

    async def stop(self, request: Request) -> Response:
        """End a training now, and keep its weights."""
        name = request.path_params["training"]
        self.runner.stop(name)
        return JSONResponse(self._facts(name), 202)

    async def cancel(self, request: Request) -> Response:
        """End a training, and discard its weights."""
        name = request.path_params["training"]
        await self.runner.cancel(name)
        return JSONResponse(self._facts(name))

    async def resume(self, request: Request) -> Response:
        """Continue a training that was stopped or has failed."""
        name = request.path_params["training"]
        await self.runner.resume(name)
        return JSONResponse(self._facts(name), 202)

    async def get_file(self, request: Request) -> Response:
        """A file of a training."""
        path = self.trainings.file(request.path_params["training"], request.path_params["name"])
        return FileResponse(path, headers=_SANDBOX if path.suffix == ".html" else None)

    # Serving

    async def get_served(self, _: Request) -> Response:
        """What is served, since when, and where."""
        return self._served()

    async def promote(self, request: Request) -> Response:
        """Serve the model of a training."""
        body = await _json(request, {"training", "force"})
        if not isinstance(body.get("training"), str):
            raise Refusal("training must be the name of a training")
        if not isinstance(body.get("force", False), bool):
            raise Refusal("force must be true or false")
        expected = request.headers.get("if-match")
        await self.served.promote(
            body["training"], force=body.get("force", False), expected=expected
        )
        self.events.publish("served", **self.served.facts())
        return self._served()

    async def get_history(self, _: Request) -> Response:
        """All promotions, the newest first."""
        return JSONResponse({"history": self.served.history()[::-1]})

    async def roll_back(self, request: Request) -> Response:
        """Serve again what was served before."""
        await self.served.roll_back(request.headers.get("if-match"))
        self.events.publish("served", **self.served.facts())
        return self._served()

    def _served(self) -> Response:
        return JSONResponse(self.served.facts(), headers={"etag": self.served.etag()})

    async def watch(self, request: Request) -> Response:
        """What happens, as server-sent events."""
        last = request.headers.get("last-event-id") or request.query_params.get("after")
        seq = None if last is None else _whole(last, "the number of the last event", least=0)
        headers = {"x-accel-buffering": "no"}
        return StreamingResponse(
            self.events.watch(seq), media_type="text/event-stream", headers=headers
        )

    # Parts

    def _facts(self, name: str) -> dict[str, Any]:
        facts = self.trainings.facts(name)
        return facts | {"state": self.runner.state(name), "place": self.runner.place(name)}

    def _changed(self, name: str) -> None:
        """Tell that the state of a training has changed, and follow its progress while it runs."""
        followed = self._followed.pop(name, None)
        if followed is not None:
            followed.cancel()
        self.events.copy(name, self.trainings.run(name) / PROGRESS)
        if self._tell(name) is State.RUNNING:
            self._followed[name] = asyncio.create_task(self._follow(name))

    def _tell(self, name: str) -> State:
        """Publish the state of a training if it is another than the one told before."""
        facts = self._facts(name)
        state: State = facts["state"]
        if self._told.get(name) is not state:
            self._told[name] = state
            self.events.publish("state", training=name, state=state, reason=facts["reason"])
        return state

    async def _follow(self, name: str) -> None:
        """Copy the progress of a training until it has ended, which it says before its process."""
        path, offset = self.trainings.run(name) / PROGRESS, 0
        while state_of(path.parent) not in ENDED:
            offset = self.events.copy(name, path, offset)
            await asyncio.sleep(POLL_SECONDS)
        self.events.copy(name, path, offset)
        self._tell(name)

    def _set(self, request: Request) -> PictureSet:
        return self.sets.get(request.path_params["set"])

    def _class(self, request: Request) -> str:
        name = request.query_params.get("class")
        if not name:
            raise Refusal("name the class of the pictures, as in ?class=cat")
        return name

    def _sha256(self, request: Request) -> str:
        digest: str = request.path_params["sha256"]
        if _DIGEST.fullmatch(digest) is None:
            raise Refusal("a picture is named by its SHA-256, 64 hexadecimal digits in lower case")
        return digest


_SANDBOX = {
    "content-security-policy": "sandbox; default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'"
}
"""Of a report, which is shown in a frame and must not act in this page's name."""


def _merged(routes: list[Route]) -> list[Route]:
    """One route for each path, so that a wrong method is told which ones are right."""
    merged: dict[str, dict[str, Any]] = {}
    for route in routes:
        for method in route.methods or ():
            if method != "HEAD":
                merged.setdefault(route.path, {})[method] = route.endpoint
    return [
        Route(path, endpoint=partial(_by_method, methods), methods=[*methods])
        for path, methods in merged.items()
    ]


async def _by_method(methods: dict[str, Handler], request: Request) -> Response:
    return await methods["GET" if request.method == "HEAD" else request.method](request)


async def _json(request: Request, known: set[str] | None = None) -> dict[str, Any]:
    """The JSON object of a request; {} if its body is empty.

    Raises:
        Refusal: it is no JSON object, too large, or has an unknown member.
    """
    content = await _body(request, MAX_JSON)
    if not content:
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal("the Content-Type must be application/json", 415)
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Refusal(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise Refusal("the body must be a JSON object")
    for name in body:
        if known is not None and name not in known:
            raise Refusal(f"there is no member {name[:64]!r}; there is {', '.join(sorted(known))}")
    return body


async def _body(request: Request, most: int) -> bytes:
    """The body of a request, at most so many bytes.

    Raises:
        Refusal: it is larger.
    """
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > most:
            raise Refusal(f"the body has more than {most:,} bytes, the most allowed", 413)
    return bytes(content)


def _whole(text: str, what: str, least: int = 1) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 16 and int(text) >= least):
        raise Refusal(f"{what} must be a whole number, {least} or more, got {text[:64]!r}")
    return int(text)


def _etag(class_name: str | None) -> str:
    digest = blake2b((class_name or "").encode(), digest_size=8).hexdigest()
    return f'"{digest}"'


def _png(image: Any) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    facts: dict[str, str] = {"error": str(error)}
    if error.status in (409, 412):
        facts["state"] = str(error.state)
    return JSONResponse(facts, error.status)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    texts = {
        404: f"there is no {request.url.path[:64]!r} here",
        405: f"{request.method} is not allowed here",
    }
    text = texts.get(error.status_code, error.detail)
    return JSONResponse({"error": text}, error.status_code, error.headers)


async def _bad_form(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"the form cannot be read: {error}"}, 400)


async def _failed(_: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)
    return JSONResponse({"error": "the service failed to answer; its log says why"}, 500)
