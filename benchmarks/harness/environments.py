"""Virtual environments for the peers, one each, since the pins of two of them can conflict."""

import importlib.util
import re
import site
import subprocess
import sys
import venv
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["install", "install_missing", "interpreter"]


def install(folder: Path, packages: Sequence[str], *, shared: bool) -> str:
    """Install packages in an environment of their own, unless that was done before.

    Args:
        folder: of the environment.
        packages: as pip takes them.
        shared: whether it also sees this Python's packages, after its own.

    Returns:
        Nothing, or why it failed in one line, which is kept in the folder too.
    """
    if (folder / "installed").exists():
        return ""
    print(f"{folder}: {' '.join(packages)}", flush=True)
    venv.create(folder, clear=True, with_pip=True)
    if shared:
        _share_packages(folder)
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *packages]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        reason = _reason(done.stderr)
        (folder / "failed").write_text(reason)
        return reason
    (folder / "installed").touch()
    return ""


def install_missing(peers: Path, packages: Iterable[str]) -> dict[str, str]:
    """Install each package that this Python lacks on top of it, for `interpreter`.

    Returns:
        Why it failed, by package.
    """
    missing = [package for package in packages if not importlib.util.find_spec(package)]
    said = {package: install(peers / package, [package], shared=True) for package in missing}
    return {package: reason for package, reason in said.items() if reason}


def interpreter(peers: Path | None, package: str) -> Path:
    """The Python that has a package: this one, or that of the package's environment.

    Args:
        peers: the folder of the environments, which are named after their packages.
        package: as it is imported; none for what every Python here has.

    Raises:
        FileNotFoundError: neither has it; the message says why if that is known.
    """
    if not package or importlib.util.find_spec(package):
        return Path(sys.executable)
    if peers is None:
        raise FileNotFoundError("not installed, and no --peers DIR was given")
    folder = peers.absolute() / package
    if (folder / "failed").exists():
        raise FileNotFoundError(f"not installed: {(folder / 'failed').read_text()}")
    if not (folder / "installed").exists():
        raise FileNotFoundError("not installed")
    return folder / "bin" / "python"


def _reason(said: str) -> str:
    """What pip says of a failure: the error of the build if there was one, else its last line."""
    lines = [line.strip() for line in said.strip().split("\n")]
    errors = [line for line in lines if re.match(r"[A-Z]\w*(Error|Exception): ", line)]
    return (errors or lines)[-1]


def _share_packages(folder: Path) -> None:
    (own,) = folder.glob("lib/python*/site-packages")
    lines = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
    (own / "shared.pth").write_text("\n".join(lines) + "\n")
