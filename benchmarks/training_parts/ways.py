"""The ways to train that are compared, and the Python that runs each.

A peer's packages are in a virtual environment of its own under the folder of the peers, on top of
this Python's packages: all ways run the same torch, and the pins of two peers cannot conflict.
"""

import importlib.util
import site
import subprocess
import sys
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BARE", "FASTAI", "FLOOR", "OURS", "STAGES", "WAYS", "Way", "install"]


@dataclass(frozen=True)
class Way:
    """One row of the table.

    Attributes:
        name: in the table.
        loop: its file in loops/.
        package: what is imported, and installed by pip, for it; none for torch alone.
        trains: whether its accuracy must be that of the others.
    """

    name: str
    loop: str
    package: str = ""
    trains: bool = True

    @property
    def is_here(self) -> bool:
        """Whether this Python can run it."""
        return not self.package or importlib.util.find_spec(self.package) is not None

    def python(self, peers: Path | None) -> Path:
        """The interpreter that runs it: this one if it has the package.

        Raises:
            FileNotFoundError: neither this one nor the folder of the peers has it.
        """
        if self.is_here:
            return Path(sys.executable)
        if peers is None:
            raise FileNotFoundError("not installed, and no --peers DIR was given")
        if not (peers / self.package / "installed").exists():
            raise FileNotFoundError("not installed")
        return peers.absolute() / self.package / "bin" / "python"


OURS = Way("mnist_sgd", "ours")
STAGES = Way("stages", "stages")  # ours with a clock in it: no row of the table
BARE = Way("torch, by hand", "bare")
FLOOR = Way("torch's calls alone", "floor", trains=False)
FASTAI = Way("fastai", "fastai_learner", "fastai")
WAYS = (
    OURS,
    BARE,
    FLOOR,
    FASTAI,
    Way("Lightning", "lightning_trainer", "lightning"),
    Way("skorch", "skorch_net", "skorch"),
)


def install(peers: Path, ways: Iterable[Way]) -> dict[str, str]:
    """Install under a folder what ways need, and is missing both here and there.

    Returns:
        For each way that cannot be installed, pip's last line.
    """
    failed = {}
    for way in ways:
        folder = peers / way.package
        if way.is_here or (folder / "installed").exists():
            continue
        print(f"{folder}: {way.package}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        python = folder / "bin" / "python"
        _share_packages(folder)
        command = [str(python), "-m", "pip", "install", "-q", way.package]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            failed[way.name] = (done.stderr.strip().split("\n") or [""])[-1]
        else:
            (folder / "installed").touch()
    return failed


def _share_packages(folder: Path) -> None:
    """Let an environment see this Python's packages, after its own."""
    (own,) = folder.glob("lib/python*/site-packages")
    lines = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
    (own / "shared.pth").write_text("\n".join(lines) + "\n")
