"""Fuzzes `read_idx` with Atheris, which follows what the Python code does with a file.

    python -m venv .venv-fuzz && .venv-fuzz/bin/pip install . atheris
    PYTHONPATH=tests/support .venv-fuzz/bin/python tests/fuzz/fuzz_read_idx.py \
        FOUND tests/fuzz/corpus -max_total_time=600 -max_len=4096

FOUND is a folder for new inputs; the corpus is only read. The rest are libFuzzer's options.
"""

import os
import sys
import tracemalloc
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mnist_sgd.data", "gzip", "_compression"]):
    from any_file import check_any_file


def main() -> None:
    """Hand the command line to Atheris and fuzz until its time is over."""
    tracemalloc.start()
    in_memory = Path(f"/proc/self/fd/{os.memfd_create('file')}")
    atheris.Setup(sys.argv, lambda content: check_any_file(in_memory, content))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
