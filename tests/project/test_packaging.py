"""The sdist and the wheel hold what users need, build outside the tree, ask for a compiler."""

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import yaml

import guides
from waiting import PATIENCE

ROOT = Path(__file__).parents[2]
BUILD = (sys.executable, "-m", "build", "--no-isolation")


def run(
    *command: str, cwd: Path, stdin: str | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        input=stdin,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source tree as the sdist has it, unpacked somewhere else; it is built from a copy."""
    folder = tmp_path_factory.mktemp("sdist")
    source = tmp_path_factory.mktemp("source") / "copy"
    left_out = shutil.ignore_patterns(".git", ".venv*", ".*_cache", "build", "*.egg-info", "*.so")
    shutil.copytree(ROOT, source, ignore=left_out)
    built = run(*BUILD, "--sdist", "--outdir", str(folder), cwd=source)
    assert built.returncode == 0, built.stdout + built.stderr
    (sdist,) = folder.glob("mnist_sgd-*.tar.gz")
    subprocess.run(["tar", "-xzf", sdist, "-C", folder], check=True)  # Python's ways differ
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
    assert (tree / ".github/workflows/wheels.yml").is_file()
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
        "mnist_sgd/report/templates/report.css",
        "mnist_sgd/report/templates/report.html",
        "mnist_sgd/sample/LICENSE",
        "mnist_sgd/sample/train-images-idx3-ubyte.gz",
        "mnist_sgd/sample/digits/three-1.png",
        "mnist_sgd_serve/model/predictor.py",
        "mnist_sgd_serve/page/examples/3-1.png",
        "mnist_sgd_serve/page/examples/LICENSE",
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


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel; the rest it sees in that of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    install = ("-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index")
    done = run(sys.executable, *install, str(wheel), cwd=folder, PYTHONPATH="")
    assert done.returncode == 0, done.stderr
    (packages,) = (folder / "lib").glob("python3*/site-packages")
    needs = [entry for entry in sys.path if Path(entry).name == "site-packages"]
    (packages / "needs.pth").write_text("\n".join(needs))
    return python


def installed(python: Path) -> Path:
    """The package that is installed for an interpreter."""
    (path,) = python.parent.parent.glob("lib/python3*/site-packages/mnist_sgd")
    return path


def test_the_installed_wheel_does_the_main_job_in_an_empty_folder(
    python: Path, tmp_path: Path
) -> None:
    program = str(python.with_name("mnist-sgd"))
    outputs = []
    for arguments in (["train"], ["predict", str(installed(python) / "sample/digits")]):
        done = run(program, *arguments, cwd=tmp_path, PYTHONPATH="")
        assert (done.returncode, done.stderr) == (0, "")
        outputs.append(done.stdout.splitlines())
    assert outputs[0][-2:] == [
        f"next: {program} predict --model model.onnx IMAGE...",
        f"      {program} serve model.onnx",
    ]
    assert [line.split()[1] for line in outputs[1]] == ["7"] * 4 + ["3"] * 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.safetensors"]


# In the root of a clone the source folder mnist_sgd/ comes first on Python's path. It has no
# extension there, and what is not installed must not be run.

WHERE = "import mnist_sgd, mnist_sgd.data, mnist_sgd_serve\n"
WHERE += "print(*(each.__file__ for each in (mnist_sgd, mnist_sgd.data, mnist_sgd_serve)))\n"


def without_extension(tree: Path) -> bool:
    return not list((tree / "mnist_sgd").glob("_core.*.so"))


@pytest.mark.parametrize("how", ["typed", "script", "one line"])
def test_in_the_clones_root_the_installed_package_is_imported(
    how: str, tree: Path, python: Path
) -> None:
    assert without_extension(tree)
    script = tree / "where.py"
    script.write_text(WHERE)
    typed = script.read_text() if how == "typed" else None
    line = {"typed": ["-q", "-i"], "script": ["where.py"], "one line": ["-c", WHERE]}[how]
    done = run(str(python), *line, cwd=tree, stdin=typed, PYTHONPATH="")
    ours = installed(python)
    serving = ours.with_name("mnist_sgd_serve")
    expected = f"{ours}/__init__.py {ours}/data/__init__.py {serving}/__init__.py\n"
    assert (done.returncode, done.stdout) == (0, expected), done.stderr


def test_the_readmes_python_runs_when_it_is_typed_in_the_clones_root(
    tree: Path, python: Path
) -> None:
    code = "\n".join(block.code for block in guides.blocks(tree / "README.md", "python"))
    done = run(str(python), "-q", "-i", cwd=tree, stdin=code, PYTHONPATH="")
    assert "Error" not in done.stderr
    rows = done.stdout.splitlines()
    assert rows[0].startswith("epoch     train_loss")
    assert rows[-1] == "'3'"


def test_modules_run_in_the_clones_root(tree: Path, python: Path) -> None:
    for line, said in (
        (["-m", "mnist_sgd", "predict", "mnist_sgd/sample/digits", "--help"], "usage: mnist-sgd"),
        (["-m", "pytest", "-q", "tests/project/test_public_names.py"], "4 passed"),
    ):
        done = run(str(python), *line, cwd=tree, PYTHONPATH="")
        assert done.returncode == 0, done.stdout + done.stderr
        assert said in done.stdout


def test_a_source_folder_that_is_newer_than_what_is_installed_is_not_mixed_with_it(
    tree: Path, python: Path
) -> None:
    """As after `git pull` without another `pip install .`."""
    newer = tree / "mnist_sgd" / "cli" / "training" / "recipes.py"
    before = newer.read_bytes()
    newer.write_text("raise RuntimeError('it is not installed')")
    try:
        done = run(
            str(python), "-c", "import mnist_sgd.cli.training.recipes", cwd=tree, PYTHONPATH=""
        )
    finally:
        newer.write_bytes(before)
    assert (done.returncode, done.stderr) == (0, "")


def test_where_nothing_is_installed_the_source_folder_says_how_to_build_it(
    tree: Path, tmp_path: Path
) -> None:
    """Two clones, in the current folder and on the path: neither stands for the other."""
    other = tmp_path / "other"
    copytree(tree / "mnist_sgd", other / "mnist_sgd")
    copytree(tree / "csrc", other / "csrc")
    venv.create(tmp_path / "environment", symlinks=True)
    script = "import mnist_sgd; print(mnist_sgd.__file__); import mnist_sgd.loader"
    numpy = str(Path(np.__file__).parents[1])
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "numpy").symlink_to(Path(numpy) / "numpy")
    path = os.pathsep.join([str(other), str(tmp_path / "packages")])
    bare = str(tmp_path / "environment" / "bin" / "python")
    done = run(bare, "-c", script, cwd=tree, PYTHONPATH=path)
    assert done.stdout == f"{tree}/mnist_sgd/__init__.py\n"
    assert done.stderr.splitlines()[-1] == (
        "ImportError: the training side of mnist_sgd needs its C++ extension, and "
        f"{tree}/mnist_sgd is a source folder without one for this Python; in {tree}, "
        "pip install . builds and "
        "installs it, pip install -e . builds it there"
    )


def test_an_extension_that_cannot_be_loaded_is_named(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    (extension,) = tmp_path.glob("mnist_sgd/_core.*.so")
    extension.write_bytes(b"of another machine")
    done = run(
        *(sys.executable, "-c", "import mnist_sgd.loader"), cwd=tmp_path, PYTHONPATH=str(tmp_path)
    )
    assert re.fullmatch(
        r"ImportError: the training side of mnist_sgd needs its C\+\+ extension, and "
        rf"{re.escape(str(extension))} cannot be loaded \(.*\); pip install --force-reinstall "
        r"--no-deps \. in a clone rebuilds it",
        done.stderr.splitlines()[-1],
    )


def test_the_wheel_passes_the_check_that_every_wheel_gets_and_the_tree_does_not(
    wheel: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    check = str(ROOT / "tools" / "check_wheel.py")
    done = run(sys.executable, check, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"Linux \w+, Python [\d.]+, kernels .*portable: as they.*\n", done.stdout)
    tree = tmp_path / "tools" / "check_wheel.py"  # the package beside it is then a source tree's
    tree.parent.mkdir()
    shutil.copy(check, tree)
    done = run(sys.executable, str(tree), cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.endswith("is the source tree, not an installed wheel\n")
    shutil.copy(
        tmp_path / "mnist_sgd/sample/valid-images-idx3-ubyte.gz",
        tmp_path / "mnist_sgd/sample/train-images-idx3-ubyte.gz",
    )
    done = run(sys.executable, check, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1


PYTHONS = ("cp311", "cp312", "cp313", "cp314")
PLATFORMS = {
    ("linux", "x86_64"): ("manylinux_x86_64", "musllinux_x86_64"),
    ("linux", "aarch64"): ("manylinux_aarch64", "musllinux_aarch64"),
    ("macos", "x86_64"): ("macosx_x86_64",),
    ("macos", "arm64"): ("macosx_arm64",),
    ("windows", "AMD64"): ("win_amd64",),
}


@pytest.mark.parametrize(("system", "machine"), PLATFORMS)
def test_cibuildwheel_understands_its_configuration_and_builds_every_wheel(
    system: str, machine: str
) -> None:
    arguments = ("--print-build-identifiers", "--platform", system, "--archs", machine)
    done = run(sys.executable, "-m", "cibuildwheel", *arguments, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    expected = {f"{python}-{name}" for python in PYTHONS for name in PLATFORMS[system, machine]}
    assert set(done.stdout.split()) == expected


def test_the_workflow_has_a_machine_for_every_platform_and_actions_of_a_major_version() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/wheels.yml").read_text())
    jobs = workflow["jobs"]
    built = {entry["platform"] for entry in jobs["wheels"]["strategy"]["matrix"]["include"]}
    assert built == {
        *("linux-x86_64", "linux-aarch64", "macos-x86_64", "macos-arm64", "windows-x86_64")
    }
    steps = [step for job in jobs.values() for step in job["steps"]]
    actions = [step["uses"] for step in steps if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in actions)
    assert "bash .ci/run" in [step.get("run") for step in jobs["tests"]["steps"]]
    assert set(jobs["main-job"]["strategy"]["matrix"]["runner"]) < {
        entry["runner"] for entry in jobs["wheels"]["strategy"]["matrix"]["include"]
    }
    for part in re.findall(r"source/(tests/\w+\.py)", str(jobs["main-job"])):
        assert (ROOT / part).is_file()


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
