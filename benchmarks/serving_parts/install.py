"""Installs the peers, each in a virtual environment of its own, since their pins conflict."""

import subprocess
import venv
from collections.abc import Iterable
from pathlib import Path

from serving_parts.servers import Server

__all__ = ["install"]


def install(peers: Path, servers: Iterable[Server]) -> dict[str, str]:
    """Install what servers need and is missing, under a folder.

    Returns:
        For each peer that cannot be installed, pip's last line.
    """
    failed = {}
    for server in servers:
        folder = peers / server.folder
        if not server.folder or (folder / "installed").exists():
            continue
        print(f"{folder}: {' '.join(server.packages)}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *server.packages]
        done = subprocess.run(pip, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            failed[server.name] = (done.stderr.strip().split("\n") or [""])[-1]
        else:
            (folder / "installed").touch()
    return failed
