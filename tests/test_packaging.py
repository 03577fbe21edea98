"""The sdist and the wheel hold what users need, build outside the tree, ask for a compiler."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BUILD = (sys.executable, "-m", "build", "--no-isolation")


def run(*command: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"PYTHONSAFEPATH": ""} | env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source tree as the sdist has it, unpacked somewhere else."""
    folder = tmp_path_factory.mktemp("sdist")
    built = run(*BUILD, "--sdist", "--outdir", str(folder), cwd=ROOT)
    assert built.returncode == 0, built.stdout + built.stderr
    (sdist,) = folder.glob("mnist_sgd-*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = [path for path in folder.iterdir() if path.is_dir()]
    return unpacked


@pytest.fixture(scope="module")
def wheel(tree: Path) -> Path:
    built = run(*BUILD, "--wheel", "--outdir", str(tree.parent), cwd=tree)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = tree.parent.glob("mnist_sgd-*.whl")
    return path


def test_the_sdist_holds_all_sources(tree: Path) -> None:
    for name in ("pyproject.toml", "setup.py", "LICENSE", "README.md", "tools/make_sample.py"):
        assert (tree / name).is_file()
    for folder in ("csrc", "mnist_sgd", "serve", "tests"):
        given = {
            path.relative_to(ROOT)
            for path in (ROOT / folder).rglob("*")
            if path.suffix
            in {".py", ".pyi", ".css", ".cpp", ".hpp", ".gz", ".png", ".typed", ".txt"}
            or path.parent.name == "corpus"
        }
        packed = {path.relative_to(tree) for path in (tree / folder).rglob("*")}
        assert given <= packed


def test_the_wheel_of_the_sdist_holds_code_types_and_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {
        "mnist_sgd/_core.pyi",
        "mnist_sgd/py.typed",
        "mnist_sgd/report/report.css",
        "mnist_sgd/sample/LICENSE",
        "mnist_sgd/sample/train-images-idx3-ubyte.gz",
        "mnist_sgd/sample/digits/three-1.png",
        "mnist_sgd_serve/predictor.py",
        "mnist_sgd_serve/py.typed",
    } <= names
    assert not [name for name in names if name.startswith(("csrc", "tests", "tools", "serve/"))]
    assert sum(name.startswith("mnist_sgd/_core.") for name in names) == 2
    assert wheel.stat().st_size < 4e6


def test_the_wheel_works_outside_the_tree(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    script = (
        "import mnist_sgd, mnist_sgd_serve\n"
        "train, _ = mnist_sgd.mnist_sample()\n"
        "xb, yb = mnist_sgd.first(mnist_sgd.DataLoader(train, 256))\n"
        "print(mnist_sgd.__file__, mnist_sgd_serve.__file__, len(train), tuple(xb.shape))\n"
    )
    done = run(sys.executable, "-c", script, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    here = f"{tmp_path}/mnist_sgd/__init__.py {tmp_path}/mnist_sgd_serve/__init__.py"
    assert done.stdout == f"{here} 12396 (256, 784)\n", done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads the ELF file with readelf")
def test_the_extension_needs_no_library_but_those_of_the_compiler(
    wheel: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".so")]
        archive.extract(name, tmp_path)
    dynamic = run("readelf", "-d", str(tmp_path / name), cwd=tmp_path).stdout
    needed = {line.split("[")[1][:-1] for line in dynamic.splitlines() if "(NEEDED)" in line}
    assert "libc.so.6" in needed or any("musl" in library for library in needed)
    allowed = ("libstdc++.", "libm.", "libgcc_s.", "libc.", "libpthread.", "ld-linux", "libc.musl")
    assert {library for library in needed if not library.startswith(allowed)} == set()


def test_a_missing_compiler_is_said_in_a_sentence(tree: Path) -> None:
    shutil.rmtree(tree / "build", ignore_errors=True)  # what an earlier test compiled
    out = str(tree.parent / "none")
    built = run(*BUILD, "--wheel", "--outdir", out, cwd=tree, CC="no-cc", CXX="no-cxx")
    assert built.returncode != 0
    said = built.stdout + built.stderr
    assert "error: building the C++ extension failed: " in said
    assert "mnist-sgd needs a C++17 compiler and Python's headers. Install them (Debian" in said
    assert "apt-get install g++ python3-dev" in said
