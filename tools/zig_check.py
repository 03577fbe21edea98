"""Builds the core for systems that are not here, with Zig's Clang and C libraries of each.

    pip install ziglang
    python tools/zig_check.py

For musl it builds tests/cpp too and runs them, for 64-bit ARM under qemu-aarch64 if that is there.
For macOS and Windows it compiles and no more: it finds what a compiler objects to, and proves
nothing of how the code runs. Windows here is MinGW's, not that of Visual C++.
"""

import importlib.util
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from cpp_build import CORE, TESTS, Build, BuildError, run

STRICT = ("-O1", "-Wall", "-Wextra", "-Werror", "-fno-sanitize=undefined")
COMPILED = ("aarch64-macos", "x86_64-macos", "x86_64-windows-gnu")
RUN = ("x86_64-linux-musl", "aarch64-linux-musl")


def main() -> None:
    """Check every target, and exit with 1 if one failed."""
    if importlib.util.find_spec("ziglang") is None:
        print("ziglang is missing: nothing was checked (pip install ziglang)")
        return
    failed = False
    for target in (*COMPILED, *RUN):
        with tempfile.TemporaryDirectory() as folder:
            flags = ("-m", "ziglang", "c++", "-target", target, *STRICT)
            build = Build(sys.executable, flags, Path(folder))
            try:
                failed |= not (check_run if target in RUN else check_compiled)(target, build)
            except BuildError as error:
                print(error)
                failed = True
    sys.exit(failed)


def check_compiled(target: str, build: Build) -> bool:
    """Compile every source of the core."""
    for source in CORE:
        build.compiled(source)
    print(f"{target}: {len(CORE)} sources compile", flush=True)
    return True


def check_run(target: str, build: Build) -> bool:
    """Build tests/cpp and run what this machine can run; whether all passed."""
    emulator = emulator_of(target.split("-")[0])
    # Zig's runtime knows of no feature of an x86 processor, so only the portable kernel is there.
    kernels = not target.startswith("x86_64")
    programs = build.programs(test for test in TESTS if kernels or test.stem != "test_kernels")
    if emulator is None:
        print(f"{target}: {len(programs)} programs build; qemu-aarch64 is missing to run them")
        return True
    passed = True
    for name, program in programs.items():
        done = run(*emulator, program)
        passed &= done.returncode == 0
        print(f"{target}, {name}: {done.stdout.strip()}", flush=True)
    return passed


def emulator_of(machine: str) -> list[str] | None:
    """The command that runs programs of a machine here: none is needed for its own."""
    if machine == platform.machine():
        return []
    for name in (f"qemu-{machine}-static", f"qemu-{machine}"):
        if path := shutil.which(name):
            return [path]
    return None


if __name__ == "__main__":
    main()
