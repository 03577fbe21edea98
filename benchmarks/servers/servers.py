"""The servers that are compared: how each is started, where it answers, in which format.

A server's packages are in a virtual environment of its own under the folder of the peers, since
their pins conflict; those without packages run on this Python, beside the server of mnist_sgd.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness import environments

from servers.payloads import BASE64, BYTES, JSON, RAW, V2_BINARY, V2_JSON, Payload

__all__ = ["EMPTY", "FASTAPI", "OURS", "SERVERS", "Server", "install"]

APPLICATIONS = Path(__file__).parent / "peers"
V2 = "/v2/models/mnist_sgd/infer"


@dataclass(frozen=True)
class Server:
    """One row of the table.

    Attributes:
        name: in the table.
        payload: the format of its requests and answers.
        path: where it answers.
        application: its file in peers/ with arguments; none for the server of mnist_sgd.
        folder: of its virtual environment; none for this Python.
        packages: what pip installs there.
        empty: it runs no model and answers with the number of bytes it was sent.
    """

    name: str
    payload: Payload
    path: str = V2
    application: tuple[str, ...] = ()
    folder: str = ""
    packages: tuple[str, ...] = ()
    empty: bool = False

    def python(self, peers: Path | None) -> Path:
        """The interpreter that runs it.

        Raises:
            FileNotFoundError: its virtual environment is missing.
        """
        if not self.folder:
            return Path(sys.executable)
        if peers is None:
            raise FileNotFoundError("not installed: no --peers DIR was given")
        python = peers.absolute() / self.folder / "bin" / "python"
        if not python.exists():
            raise FileNotFoundError("not installed")
        return python

    def command(self, peers: Path | None, model: Path, port: int) -> list[str]:
        """The command that starts it."""
        python = str(self.python(peers))
        if not self.application:
            return [python, "-m", "mnist_sgd_serve", str(model), "--port", str(port)]
        name, *arguments = self.application
        return [python, str(APPLICATIONS / name), *arguments]


RUNTIME = ("numpy", "onnxruntime")

OURS = Server("mnist_sgd", BYTES)
EMPTY = Server("empty ASGI, uvicorn", BYTES, "/", ("empty_asgi.py", "uvicorn"), empty=True)
FASTAPI = Server(
    "FastAPI, pydantic",
    JSON,
    "/predict",
    ("fastapi_json.py",),
    "fastapi",
    ("fastapi", "uvicorn", "httptools", "uvloop", *RUNTIME),
)

_GRANIAN = ("granian", ("granian", "uvloop", *RUNTIME))

SERVERS = (
    OURS,
    EMPTY,
    Server("mnist_sgd, JSON", V2_JSON),
    Server("uvicorn and session.run", RAW, "/", ("plain_asgi.py",)),
    Server("empty ASGI, granian", BYTES, "/", ("empty_asgi.py", "granian"), *_GRANIAN, empty=True),
    Server("empty RSGI, granian", BYTES, "/", ("empty_rsgi.py",), *_GRANIAN, empty=True),
    FASTAPI,
    Server(
        "PyTriton", V2_BINARY, V2, ("pytriton_v2.py",), "pytriton", ("nvidia-pytriton", *RUNTIME)
    ),
    Server("MLServer", V2_JSON, V2, ("mlserver_v2.py",), "mlserver", ("mlserver", *RUNTIME)),
    Server("KServe", V2_JSON, V2, ("kserve_v2.py",), "kserve", ("kserve", *RUNTIME)),
    Server(
        "LitServe", BASE64, "/predict", ("litserve_base64.py",), "litserve", ("litserve", *RUNTIME)
    ),
    Server("BentoML", JSON, "/predict", ("bentoml_json.py",), "bentoml", ("bentoml", *RUNTIME)),
    Server("Ray Serve", RAW, "/", ("ray_raw.py",), "ray", ("ray[serve]", *RUNTIME)),
)


def install(peers: Path, servers: Iterable[Server]) -> dict[str, str]:
    """Install under a folder what servers need and is missing there: why it failed, by server."""
    apart = [server for server in servers if server.folder]
    said = {s.name: environments.install(peers / s.folder, s.packages, shared=False) for s in apart}
    return {name: reason for name, reason in said.items() if reason}
