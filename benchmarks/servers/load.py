"""Load on a server, made by wrk, a generator that Debian and others package."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from servers.payloads import Body

__all__ = ["Load", "wrk"]

SCRIPT = Path(__file__).with_name("request.lua")
TIMEOUT = "10s"
"""After which an answer counts as lost; wrk's own two seconds are not enough on a busy machine."""


@dataclass(frozen=True)
class Load:
    """What wrk saw.

    Attributes:
        answers: that were 2xx.
        rate: of these, a second.
        p50: microseconds to the median answer.
        p99: microseconds that 99 of 100 answers stayed below.
        failed: answers that were not 2xx, and connections that broke or timed out.
    """

    answers: int
    rate: float
    p50: float
    p99: float
    failed: int


def wrk(url: str, body: Body, file: Path, *, connections: int, seconds: int) -> Load:
    """Send a body for some seconds, each connection waiting for its answer.

    Args:
        url: of the server, with the path.
        body: the request.
        file: where wrk may read the body; written here.
        connections: that are kept open; one thread of wrk serves all.
        seconds: that it lasts.

    Raises:
        RuntimeError: wrk failed.
    """
    file.write_bytes(body.content)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    command += ["--timeout", TIMEOUT, "-s", str(SCRIPT), url, "--", str(file)]
    command += [f"{name}: {value}" for name, value in body.headers.items()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    _, found, summary = done.stdout.partition("SUMMARY ")
    if done.returncode or not found:
        raise RuntimeError(f"wrk failed: {(done.stderr or done.stdout).strip()[:300]}")
    said = json.loads(summary)
    answers = said["requests"] - said["refused"]
    return Load(
        answers=answers,
        rate=answers / (said["microseconds"] / 1e6),
        p50=said["p50"],
        p99=said["p99"],
        failed=said["refused"] + said["lost"],
    )
