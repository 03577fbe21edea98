"""Builds the C++ core and the tests that drive it without Python: tests/cpp/test_*.cpp.

A compiler is all that this needs; nothing is written but to the folder that the caller names.
`tests/loader/test_cpp.py`, `tools/sanitize.py` and `tools/cross_check.py` share it.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
CORE = sorted(path for path in (ROOT / "csrc").glob("*.cpp") if path.name != "bindings.cpp")
TESTS = sorted((ROOT / "tests" / "cpp").glob("test_*.cpp"))

_PATIENCE = 300  # seconds before a compiler or a program counts as hung
_LANGUAGE = ("-std=c++17", "-ffp-contract=off", "-pthread")  # as setup.py


def host_compilers() -> list[str]:
    """The commands of this machine's C++ compilers: $CXX, or those there are of g++ and clang++."""
    named = os.environ.get("CXX")
    return [path for path in map(shutil.which, [named] if named else ["g++", "clang++"]) if path]


class BuildError(Exception):
    """A compiler failed; the message is its command and what it said."""


@dataclass(frozen=True)
class Build:
    """One way to build.

    Args:
        compiler: its command.
        flags: for everything that it compiles and links.
        folder: where objects and programs go.
        core_flags: those for the core alone, after the others.
    """

    compiler: str
    flags: tuple[str, ...]
    folder: Path
    core_flags: tuple[str, ...] = ()

    def programs(self, sources: Iterable[Path] = TESTS) -> dict[str, Path]:
        """Build one program of each source and the core, and give them by their sources' stems.

        Raises:
            BuildError: a source does not compile.
        """
        sources = list(sources)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            cores = [pool.submit(self.compiled, source, *self.core_flags) for source in CORE]
            mains = [pool.submit(self.compiled, source) for source in sources]
            core = [future.result() for future in cores]
            linked = pool.map(lambda main: self.linked([main.result(), *core]), mains)
            return {source.stem: program for source, program in zip(sources, linked, strict=True)}

    def compiled(self, source: Path, *flags: str) -> Path:
        """The object file of a source.

        Raises:
            BuildError: it does not compile.
        """
        out = self.folder / f"{source.stem}.o"
        self._run(*_LANGUAGE, *flags, f"-I{ROOT / 'csrc'}", "-c", str(source), "-o", str(out))
        return out

    def linked(self, objects: list[Path], *flags: str) -> Path:
        """The program of some objects, named after the first; a library with the flag -shared.

        Raises:
            BuildError: they do not link.
        """
        out = objects[0].with_suffix("")
        self._run("-pthread", *map(str, objects), *flags, "-o", str(out))
        return out

    def _run(self, *arguments: str) -> None:
        command = [self.compiler, *self.flags, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE)
        if done.returncode:
            raise BuildError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def run(*command: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a program with more environment variables; its output is one text, in `stdout`."""
    return subprocess.run(
        [str(part) for part in command],
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
