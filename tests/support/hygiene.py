"""What a module of tests must leave as it was, and the random numbers that each test begins with.

A test that changes the process changes the tests after it: they then pass or fail by the order in
which they run. `conftest.py` brings these checks into every run.
"""

import contextlib
import gc
import os
import random
import resource
import signal
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from waiting import PATIENCE

__all__ = ["process_stays_as_it_was", "pytest_runtest_setup", "root_stays_as_it_was"]

ROOT = Path(__file__).parents[2]

SEED = 20_240_229
"""None of the seeds that tests give to models: two models must not be equal by accident."""

MADE_BY_TOOLS = (".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", "build", "dist")
OF_PYTEST = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION")
ONCE = (
    "KMP_DUPLICATE_LIB_OK",
    "KMP_INIT_AT_FORK",
    "ORT_DISABLE_TELEMETRY",
    "TORCHINDUCTOR_CACHE_DIR",
)
"""Environment variables that scikit-learn, this package and torch set for good when first used."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Begin every test with the same global random numbers; torch starts with others each time."""
    random.seed(SEED)
    for name, seed in (("numpy.random", "seed"), ("torch", "manual_seed")):
        if name in sys.modules:
            getattr(sys.modules[name], seed)(SEED)


@pytest.fixture(scope="module", autouse=True)
def process_stays_as_it_was() -> Iterator[None]:
    """Compare the process after a module of tests with what it was before."""
    before = state()
    yield
    wait_for_children()
    changed = differences(before, state())
    assert not changed, "\n".join(["the tests of this module left changed:", *changed])


@pytest.fixture(scope="session", autouse=True)
def root_stays_as_it_was() -> Iterator[None]:
    """Compare what lies in the repository's root after all tests with what lay there before."""
    before = root()
    yield
    new = sorted(root() - before)
    assert not new, f"the tests left these in {ROOT}: {new}"


def state() -> dict[str, Any]:
    """What tests share, as far as it is loaded: nothing is imported for this."""
    found: dict[str, Any] = {
        "environment": {
            name: value
            for name, value in os.environ.items()
            if name not in OF_PYTEST and name not in ONCE
        },
        "current folder": os.getcwd(),
        "sys.path": search_path(),
        "signal handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "limits": [
            resource.getrlimit(limit)
            for limit in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)
        ],
        "garbage collection": gc.isenabled(),
        "tracemalloc": tracemalloc.is_tracing(),
        "child processes": children(),
    }
    if numpy := sys.modules.get("numpy"):
        found["numpy's errors"] = numpy.geterr()
    if torch := sys.modules.get("torch"):
        found["torch"] = {
            "threads": torch.get_num_threads(),
            "default dtype": torch.get_default_dtype(),
            "gradients": torch.is_grad_enabled(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "process group": torch.distributed.is_initialized(),
        }
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        found["open figures"] = pyplot.get_fignums()
    if matplotlib := sys.modules.get("matplotlib"):
        found["matplotlib's settings"] = {
            name: value for name, value in dict.items(matplotlib.rcParams) if name != "backend"
        }
    return found


def search_path() -> list[str]:
    """sys.path without what setuptools, and torch 2.6, add for good when torch first compiles."""
    instantiator = sys.modules.get("torch.distributed.nn.jit.instantiator")
    templates = getattr(instantiator, "INSTANTIATED_TEMPLATE_DIR_PATH", None)
    vendored = os.path.join("setuptools", "_vendor")
    return [path for path in sys.path if path != templates and not path.endswith(vendored)]


def differences(before: dict[str, Any], after: dict[str, Any], of: str = "") -> list[str]:
    """A line for each value of both that differs, named by the keys that lead to it."""
    lines = []
    keys = before.keys() | after.keys() if of else before.keys() & after.keys()
    for key in sorted(keys, key=str):
        one, other, name = before.get(key), after.get(key), f"{of}{key}"
        if isinstance(one, dict) and isinstance(other, dict):
            lines += differences(one, other, f"{name}: ")
        elif one != other:
            lines.append(f"{name}: {one!r} became {other!r}")
    return lines


def children() -> dict[int, str]:
    """The command lines of this process's children, but for multiprocessing's own helpers."""
    pids = []
    for task in Path("/proc/self/task").glob("*/children"):
        # A thread may end between the listing and the reading.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            pids += [int(pid) for pid in task.read_text().split()]
    lines = {pid: command_line(pid) for pid in pids}
    return {pid: line for pid, line in lines.items() if "from multiprocessing." not in line}


def command_line(pid: int) -> str:
    try:
        content = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return "ended"
    return content.replace(b"\0", b" ").decode(errors="replace") or "ended"


def wait_for_children() -> None:
    """Give children that were told to end the time to do so."""
    end = time.monotonic() + PATIENCE
    while children() and time.monotonic() < end:
        time.sleep(0.01)


def root() -> set[str]:
    """What lies in the root of the repository, without what tools keep or build there."""
    return {
        name
        for name in os.listdir(ROOT)
        if name not in MADE_BY_TOOLS and not name.endswith(".egg-info")
    }
