"""Runs tests/cpp as 64-bit ARM code, so that the NEON kernel is tested on a machine without one.

    python tools/cross_check.py

It compiles with aarch64-linux-gnu-g++, statically, and runs under qemu-aarch64. Where one of them
is missing, or the machine is ARM itself and the ordinary tests do it, it says so and does nothing.
"""

import platform
import shutil
import sys
import tempfile
from pathlib import Path

from cpp_build import TESTS, Build, BuildError, run

_COMPILER = "aarch64-linux-gnu-g++"
_EMULATORS = ("qemu-aarch64-static", "qemu-aarch64")


def main() -> None:
    """Compile, run, and exit with 1 if a test failed."""
    compiler = shutil.which(_COMPILER)
    emulator = next((path for path in map(shutil.which, _EMULATORS) if path), None)
    if platform.machine() == "aarch64":
        print("this machine is 64-bit ARM: tests/loader/test_cpp.py runs the NEON kernel")
    elif compiler is None or emulator is None:
        print(
            f"{_COMPILER} and qemu-aarch64 are needed, and one is missing: nothing was checked "
            "(Debian, Ubuntu: apt-get install g++-aarch64-linux-gnu qemu-user-static)"
        )
    else:
        sys.exit(check(compiler, emulator))


def check(compiler: str, emulator: str) -> int:
    """Run each program under the emulator; 0 if all passed, else 1."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        build = Build(compiler, ("-O1", "-static"), Path(folder), core_flags=("-O3",))
        try:
            programs = build.programs(TESTS)
        except BuildError as error:
            print(error)
            return 1
        for name, program in programs.items():
            done = run(emulator, program)
            failed += done.returncode != 0
            print(f"{name}: {done.stdout.strip()}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    main()
