"""The sdist and the wheel hold what users need, build outside the tree, ask for a compiler."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

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
    """The source tree as the sdist has it, unpacked somewhere else; it is built from a copy."""
    folder = tmp_path_factory.mktemp("sdist")
    source = tmp_path_factory.mktemp("source") / "copy"
    left_out = shutil.ignore_patterns(".git", ".venv*", ".*_cache", "build", "*.egg-info", "*.so")
    shutil.copytree(ROOT, source, ignore=left_out)
    built = run(*BUILD, "--sdist", "--outdir", str(folder), cwd=source)
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


def test_the_installed_wheel_does_the_main_job_in_an_empty_folder(
    wheel: Path, tmp_path: Path
) -> None:
    """In an environment of its own, which sees what it needs in that of the tests."""
    venv.create(tmp_path / "env", symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    install = ("-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index")
    done = run(sys.executable, *install, str(wheel), cwd=tmp_path, PYTHONPATH="")
    assert done.returncode == 0, done.stderr
    (packages,) = (tmp_path / "env" / "lib").glob("python3*/site-packages")
    (packages / "needs.pth").write_text(sysconfig.get_paths()["purelib"])
    empty = tmp_path / "empty"
    empty.mkdir()
    program = str(python.with_name("mnist-sgd"))
    outputs = []
    for arguments in (["train"], ["predict", str(packages / "mnist_sgd/sample/digits")]):
        done = run(program, *arguments, cwd=empty, PYTHONPATH="")
        assert (done.returncode, done.stderr) == (0, "")
        outputs.append(done.stdout.splitlines())
    assert outputs[0][-1] == "next: mnist-sgd predict --model model.onnx IMAGE..."
    assert [line.split()[1] for line in outputs[1]] == ["7"] * 4 + ["3"] * 4
    assert sorted(path.name for path in empty.iterdir()) == ["model.onnx", "model.safetensors"]


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
