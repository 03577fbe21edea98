"""Checks what a reader types in the root of a clone after README's first command.

    python tools/check_clone.py             what README's first command makes possible
    python tools/check_clone.py --tests     what needs the extra `test`: pytest, Sphinx

Run it in the clone's root, with any Python. README's Python blocks are typed line by line into
`.venv/bin/python`, in their order; the first one runs as a script, too, and the command runs as a
module, alone and under torchrun. All of it must use what is installed, not the source folder.
"""

import re
import subprocess
import sys
from pathlib import Path

PYTHON = ".venv/bin/python"
SCRIPT = Path("chapter.py")
"""Made in the root and removed at the end."""


def main() -> None:
    """Run each command, and end with code 1 at the first that fails."""
    if not Path(PYTHON).exists():
        sys.exit(f"check_clone: there is no {PYTHON} here; run README's first command first")
    if sys.argv[1:] == ["--tests"]:
        check(PYTHON, "-m", "pytest", "-q", "tests/project/test_public_names.py")
        (command,) = re.findall(r"^python (-m sphinx .*)$", read("docs/README.md"), re.MULTILINE)
        check(PYTHON, *command.split())
        return
    blocks = re.findall(r"^```python\n(.*?)^```$", read("README.md"), re.MULTILINE | re.DOTALL)
    type_in("\n".join(blocks))
    check(PYTHON, "-m", "mnist_sgd", "predict", "mnist_sgd/sample/digits")
    ranks = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    check(PYTHON, *ranks, "-m", "mnist_sgd", "train", "--epochs", "1")
    try:
        SCRIPT.write_text(blocks[0])
        check(PYTHON, str(SCRIPT))
    finally:
        SCRIPT.unlink()


def read(path: str) -> str:
    """The text of a file of the clone."""
    return Path(path).read_text(encoding="utf-8")


def type_in(code: str) -> None:
    """Give lines to the interactive interpreter, which reads them one by one as typed ones."""
    print(f"+ {PYTHON}, with README's Python blocks", flush=True)
    done = subprocess.run([PYTHON, "-q", "-i"], input=code, capture_output=True, text=True)
    print(done.stdout, end="", flush=True)
    if done.returncode or "Error" in done.stderr or "Traceback" in done.stderr:
        sys.exit(f"check_clone: README's Python does not run when typed:\n{done.stderr}")


def check(*command: str) -> None:
    """Run a command, whose output is shown."""
    print("+", *command, flush=True)
    done = subprocess.run(command)
    if done.returncode:
        sys.exit(f"check_clone: it ended with code {done.returncode}: {' '.join(command)}")


if __name__ == "__main__":
    main()
