"""Fuzzes the parser of IDX headers with libFuzzer, from the kept corpus; a finding fails the run.

    python tools/fuzz_idx.py [--seconds 600]

It needs clang++ with its libFuzzer and runs with AddressSanitizer and UndefinedBehaviorSanitizer.
The corpus is read and not changed; an input that breaks a promise is written to the current folder,
and belongs into tools/make_idx_corpus.py under the name of what it is. The reader of whole files,
gzip and all, is fuzzed by tests/fuzz/fuzz_read_idx.py.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from cpp_build import ROOT, Build, BuildError

FOLDER = ROOT / "tests" / "fuzz"
_FLAGS = ("-O2", "-g", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all")


def main() -> None:
    """Read the command line, build the fuzzer and run it."""
    parser = argparse.ArgumentParser(description="Fuzz the parser of IDX headers.")
    parser.add_argument("--seconds", type=int, default=600, help="how long (600)")
    seconds = parser.parse_args().seconds
    compiler = shutil.which(os.environ.get("CXX", "clang++"))
    if compiler is None:
        parser.exit(2, "clang++ is needed (Debian, Ubuntu: apt-get install clang)\n")
    with tempfile.TemporaryDirectory() as folder:
        build = Build(compiler, _FLAGS, Path(folder))
        try:
            sources = (FOLDER / "fuzz_idx.cpp", ROOT / "csrc" / "idx.cpp")
            fuzzer = build.linked([build.compiled(source) for source in sources])
        except BuildError as error:
            parser.exit(1, f"{error}\n")
        found = Path(folder, "found")
        found.mkdir()
        limits = (f"-max_total_time={seconds}", "-max_len=4096", "-print_final_stats=1")
        command = [fuzzer, found, FOLDER / "corpus", *limits]
        code = subprocess.run([str(part) for part in command], check=False).returncode
    parser.exit(code)


if __name__ == "__main__":
    main()
