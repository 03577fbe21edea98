"""Runs the C++ core under GCC's sanitizers; a finding of any of them fails the run.

    python tools/sanitize.py [address] [thread] [python-address] [python-thread]

- `address`: tests/cpp under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer.
- `thread`: tests/cpp under ThreadSanitizer.
- `python-address`: the extension itself under AddressSanitizer and UndefinedBehaviorSanitizer, by
  the Python tests of the loader and of what it is made of. Leaks are not looked for, since Python
  and torch keep memory to the end; `address` does that.
- `python-thread`: the extension under ThreadSanitizer, by the Python tests of the loader. Python
  and torch are not built with it, but it sees their locks, and every access of the core.

All four without a name. Each sanitizer is first shown a defect that it must find. It needs g++
and, under Python, what the tests need; nothing is written outside a temporary folder. The
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
from dataclasses import dataclass
from pathlib import Path

import pybind11

from cpp_build import CORE, ROOT, TESTS, Build, BuildError, run

_DEFECTS = ROOT / "tests" / "cpp" / "defects.cpp"
_COMMON = ("-O1", "-g1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all")
_WARNINGS = ("-Wall", "-Wextra", "-Werror")
# What the extension is loaded by is not told of the sanitizer: Python, with a defect by its name.
_CALL_DEFECT = (
    "import ctypes, sys; ctypes.CDLL(sys.argv[1]).main(2, (ctypes.c_char_p * 2)(b'', {!r}))"
)

_SUPPRESSIONS = Path(__file__).with_name("tsan.supp")

# A failed allocation ends a sanitized process; and the child of one whose threads allocate may find
# the lock of the sanitizer's allocator held for ever. tests/cpp lets allocations fail under the
# sanitizers, and forks without them.
_NOT_SANITIZED = (
    "test_memory_that_runs_out_is_an_error_and_the_loader_goes_on",
    "test_a_part_of_an_order_costs_no_more_memory_than_the_part",
    "test_threads_that_the_machine_does_not_have_are_an_error_and_no_end",
    "test_a_fork_at_any_batch_goes_on_in_both_processes",
    "test_a_grandchild_goes_on_too",
    "test_a_child_that_only_lets_go_ends",
    "test_memory_that_nobody_holds_is_used_again",  # theirs gives an address out again late
)
# ThreadSanitizer lets no child of a process with threads, torch's too, begin any.
_NO_THREADS_IN_A_CHILD = ("test_ctrl_c_at_any_moment_ends_the_threads_and_the_loader_goes_on",)


@dataclass(frozen=True)
class Sanitizer:
    """A way to build, what to run it with, and what it must find.

    Args:
        flag: the compiler's.
        libraries: the sanitizer's own, loaded before any other where Python is the program.
        environment: for every run.
        defects: what it must say, by the names of the defects in tests/cpp/defects.cpp.
        python_tests: patterns of the files of Python tests that it runs.
        left_out: names of tests in them that it cannot run.
        fixed_addresses: whether memory must always be laid alike.
    """

    flag: str
    libraries: tuple[str, ...]
    environment: dict[str, str]
    defects: dict[str, str]
    python_tests: tuple[str, ...]
    left_out: tuple[str, ...]
    fixed_addresses: bool

    def before(self) -> tuple[str, ...]:
        """The command before a program.

        ThreadSanitizer knows a few layouts of memory, and meets others where addresses are very
        random (vm.mmap_rnd_bits above 28); a container may forbid to have them fixed.
        """
        command = ("setarch", "-R")
        allowed = shutil.which(command[0]) and run(*command, "true").returncode == 0
        return command if self.fixed_addresses and allowed else ()


ADDRESS = Sanitizer(
    flag="-fsanitize=address,undefined",
    # libstdc++ comes with them, for they look for its exceptions when they start.
    libraries=("libasan.so", "libubsan.so", "libstdc++.so"),
    environment={
        "ASAN_OPTIONS": "detect_stack_use_after_return=1:check_initialization_order=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    },
    defects={
        "overflow": "AddressSanitizer: heap-buffer-overflow",
        "leak": "LeakSanitizer: detected memory leaks",
        "undefined": "runtime error: signed integer overflow",
    },
    python_tests=("test_kernels*.py", "test_loader*.py", "test_order*.py"),
    left_out=_NOT_SANITIZED,
    fixed_addresses=False,
)
THREAD = Sanitizer(
    flag="-fsanitize=thread",
    libraries=("libtsan.so",),
    environment={"TSAN_OPTIONS": f"halt_on_error=1:suppressions={_SUPPRESSIONS}"},
    defects={"race": "ThreadSanitizer: data race"},
    python_tests=("test_loader*.py",),
    left_out=_NOT_SANITIZED + _NO_THREADS_IN_A_CHILD,
    fixed_addresses=True,
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
        work, sanitizer = _STEPS[step]
        with tempfile.TemporaryDirectory() as folder:
            try:
                work(compiler, sanitizer, Path(folder))
            except (BuildError, FindingError) as error:
                parser.exit(1, f"{step}: {error}\n")
        print(f"{step}: nothing found, {time.monotonic() - start:.0f} s", flush=True)


def cpp(compiler: str, sanitizer: Sanitizer, folder: Path) -> None:
    """Run tests/cpp under a sanitizer."""
    programs = Build(compiler, (*_COMMON, *_WARNINGS, sanitizer.flag), folder).programs(
        [_DEFECTS, *TESTS]
    )
    defective = programs.pop(_DEFECTS.stem)
    for defect, report in sanitizer.defects.items():
        done = run(*sanitizer.before(), defective, defect, **sanitizer.environment)
        _require_found(defect, report, done)
    for name, program in programs.items():
        done = run(*sanitizer.before(), program, **sanitizer.environment)
        if done.returncode:
            raise FindingError(f"{name} ended with {done.returncode}:\n{done.stdout}")
        print(f"{name}: {done.stdout.splitlines()[-1]}", flush=True)


def python(compiler: str, sanitizer: Sanitizer, folder: Path) -> None:
    """Run Python tests over an extension that is built with a sanitizer."""
    for package in (ROOT / "mnist_sgd", ROOT / "serve" / "mnist_sgd_serve"):
        shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("*.so"))
    includes = (f"-I{pybind11.get_include()}", f"-I{sysconfig.get_path('include')}")
    build = Build(compiler, (*_COMMON, sanitizer.flag, "-fPIC", *includes), folder)
    defects = build.linked([build.compiled(_DEFECTS)], "-shared")
    _build_extension(build, folder / "mnist_sgd")
    environment = _python_environment(compiler, sanitizer, folder)
    interpreter = (*sanitizer.before(), sys.executable)
    for defect, report in sanitizer.defects.items():
        if defect != "leak":
            call = _CALL_DEFECT.format(defect.encode())
            _require_found(defect, report, run(*interpreter, "-c", call, defects, **environment))
    where = run(
        *interpreter, "-c", "from mnist_sgd import _core; print(_core.__file__)", **environment
    )
    if not where.stdout.startswith(str(folder)):
        raise FindingError(f"the sanitized extension is not the one imported: {where.stdout}")
    tests = [
        path for name in sanitizer.python_tests for path in sorted((ROOT / "tests").rglob(name))
    ]
    if not tests:  # pytest would take all there are
        raise FindingError(f"there are no tests {', '.join(sanitizer.python_tests)}")
    chosen = f"not ({' or '.join(sanitizer.left_out)})"
    command = [*interpreter, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", chosen]
    done = subprocess.run([*command, *map(str, tests)], env=os.environ | environment, cwd=ROOT)
    if done.returncode:
        raise FindingError(f"pytest ended with {done.returncode}")


def _require_found(defect: str, report: str, done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode == 0 or report not in done.stdout:
        raise FindingError(
            f"the sanitizer does not find the {defect} in {_DEFECTS}:\n{done.stdout}"
        )


def _build_extension(build: Build, package: Path) -> None:
    bindings = build.compiled(ROOT / "csrc" / "bindings.cpp", "-O0")  # half of the time of -O1
    objects = [bindings, *map(build.compiled, CORE)]
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    build.linked(objects, "-shared").rename(package / f"_core{suffix}")


def _python_environment(compiler: str, sanitizer: Sanitizer, folder: Path) -> dict[str, str]:
    """What makes Python take the sanitized extension, and the sanitizer's code before any other."""
    libraries = [
        run(compiler, f"-print-file-name={name}").stdout.strip() for name in sanitizer.libraries
    ]
    options = dict(sanitizer.environment)
    if "ASAN_OPTIONS" in options:
        options["ASAN_OPTIONS"] += ":detect_leaks=0"
    return options | {
        "LD_PRELOAD": ":".join(str(Path(library).resolve()) for library in libraries),
        "PYTHONPATH": str(folder),
        "PYTHONSAFEPATH": "1",  # python -m pytest would look into the source tree first
    }


_STEPS = {
    "address": (cpp, ADDRESS),
    "thread": (cpp, THREAD),
    "python-address": (python, ADDRESS),
    "python-thread": (python, THREAD),
}

if __name__ == "__main__":
    main()
