"""Runs the C++ core under GCC's sanitizers; a finding of any of them fails the run.

    python tools/sanitize.py [address] [thread] [extension]

- `address`: tests/cpp with AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer.
- `thread`: tests/cpp with ThreadSanitizer.
- `extension`: the extension itself with AddressSanitizer and UndefinedBehaviorSanitizer, under the
  Python tests of the loader and of what it is made of. Leaks are not looked for there, since Python
  and torch keep memory to the end; `address` does that.

All three without a name. Each sanitizer is first shown a defect that it must find. It needs g++
and, for `extension`, what the tests need; nothing is written outside a temporary folder. The
environment variable CXX names another g++.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pybind11

from cpp_build import CORE, ROOT, TESTS, Build, BuildError, run

_DEFECTS = ROOT / "tests" / "cpp" / "defects.cpp"
# GCC's own header of AVX-512 draws -Wmaybe-uninitialized (GCC bug 105593).
_WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-maybe-uninitialized")
_COMMON = ("-O1", "-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all", *_WARNINGS)
_ADDRESS = (*_COMMON, "-fsanitize=address,undefined")
_THREAD = (*_COMMON, "-fsanitize=thread")
_OPTIONS = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:check_initialization_order=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1",
}

_PYTHON_TESTS = ("test_idx*.py", "test_kernels*.py", "test_loader*.py", "test_order*.py")
# Not under AddressSanitizer: a failed allocation ends the process there, and the lock of its
# allocator may be held for ever in the child of a process whose threads allocate. tests/cpp lets
# allocations fail and forks.
_NOT_SANITIZED = (
    "test_memory_that_runs_out_is_an_error_and_the_loader_goes_on",
    "test_threads_that_the_machine_does_not_have_are_an_error_and_no_end",
    "test_a_fork_at_any_batch_goes_on_in_both_processes",
    "test_a_grandchild_goes_on_too",
    "test_a_child_that_only_lets_go_ends",
)


class FindingError(Exception):
    """A sanitizer or a test said something; the message is what."""


def main() -> None:
    """Read the command line and run what it names."""
    parser = argparse.ArgumentParser(description="Run the C++ core under sanitizers.")
    parser.add_argument(
        "steps", nargs="*", metavar="STEP", help=f"{', '.join(_STEPS)}; all without"
    )
    steps = parser.parse_args().steps or list(_STEPS)
    if unknown := [step for step in steps if step not in _STEPS]:
        parser.error(f"there is no step {unknown[0]!r}; there are: {', '.join(_STEPS)}")
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        parser.exit(
            2, "g++ is needed (Debian, Ubuntu: apt-get install g++), or CXX that names one\n"
        )
    for step in steps:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                _STEPS[step](compiler, Path(folder))
            except (BuildError, FindingError) as error:
                parser.exit(1, f"{step}: {error}\n")
        print(f"{step}: nothing found, {time.monotonic() - start:.0f} s", flush=True)


def address(compiler: str, folder: Path) -> None:
    """Run tests/cpp under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer."""
    build = Build(compiler, _ADDRESS, folder)
    defects = {
        "overflow": "AddressSanitizer: heap-buffer-overflow",
        "leak": "LeakSanitizer: detected memory leaks",
        "undefined": "runtime error: signed integer overflow",
    }
    _run_all(build, defects)


def thread(compiler: str, folder: Path) -> None:
    """Run tests/cpp under ThreadSanitizer."""
    build = Build(compiler, _THREAD, folder)
    _run_all(build, {"race": "ThreadSanitizer: data race"}, _at_fixed_addresses())


def _at_fixed_addresses() -> Sequence[str]:
    """The command before a program that lays its memory always alike, where the system allows it.

    ThreadSanitizer knows a few layouts and, where addresses are very random, meets others
    (vm.mmap_rnd_bits above 28).
    """
    command = ("setarch", "-R")
    allowed = shutil.which(command[0]) and run(*command, "true").returncode == 0
    return command if allowed else ()


def _run_all(build: Build, defects: dict[str, str], before: Sequence[str] = ()) -> None:
    programs = build.programs([_DEFECTS, *TESTS])
    defective = programs.pop(_DEFECTS.stem)
    for defect, report in defects.items():
        done = run(*before, defective, defect, **_OPTIONS)
        if done.returncode == 0 or report not in done.stdout:
            raise FindingError(
                f"the sanitizer does not find the {defect} in {_DEFECTS}:\n{done.stdout}"
            )
    for name, program in programs.items():
        done = run(*before, program, **_OPTIONS)
        if done.returncode:
            raise FindingError(f"{name} ended with {done.returncode}:\n{done.stdout}")
        print(f"{name}: {done.stdout.splitlines()[-1]}", flush=True)


def extension(compiler: str, folder: Path) -> None:
    """Run the Python tests of the loader over an extension that is sanitized."""
    for package in (ROOT / "mnist_sgd", ROOT / "serve" / "mnist_sgd_serve"):
        shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("*.so"))
    _build_extension(compiler, folder)
    environment = os.environ | _python_environment(compiler, folder)
    found = subprocess.run(
        [sys.executable, "-c", "from mnist_sgd import _core; print(_core.__file__)"],
        env=environment,
        capture_output=True,
        text=True,
    )
    if not found.stdout.startswith(str(folder)):
        raise FindingError(
            f"the sanitized extension is not the one imported:\n{found.stdout}{found.stderr}"
        )
    tests = [path for pattern in _PYTHON_TESTS for path in sorted((ROOT / "tests").glob(pattern))]
    deselected = " or ".join(_NOT_SANITIZED)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-k", f"not ({deselected})", *map(str, tests)], env=environment, cwd=ROOT
    )
    if done.returncode:
        raise FindingError(f"pytest ended with {done.returncode}")


def _build_extension(compiler: str, folder: Path) -> None:
    includes = (f"-I{pybind11.get_include()}", f"-I{sysconfig.get_path('include')}")
    flags = (*_ADDRESS, "-fPIC", "-fvisibility=hidden", *includes)
    build = Build(compiler, flags, folder)
    objects = [build.compiled(source) for source in (ROOT / "csrc" / "bindings.cpp", *CORE)]
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    build.linked(objects, "-shared").rename(folder / "mnist_sgd" / f"_core{suffix}")


def _python_environment(compiler: str, folder: Path) -> dict[str, str]:
    """What makes Python take the sanitized extension, and the sanitizers' code before any other.

    libstdc++ must be loaded with them: they look for its exceptions when they start.
    """
    libraries = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so", "libstdc++.so")
    ]
    return {
        "LD_PRELOAD": ":".join(str(Path(library).resolve()) for library in libraries),
        "PYTHONPATH": str(folder),
        "PYTHONSAFEPATH": "1",  # python -m pytest would look into the source tree first
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


_STEPS: dict[str, Callable[[str, Path], None]] = {
    "address": address,
    "thread": thread,
    "extension": extension,
}

if __name__ == "__main__":
    main()
