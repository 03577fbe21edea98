"""A machine without torch and without a compiler installs the package, evaluates and serves.

Its environment is made of links to the distributions that serve/requirements.txt asks for, and
theirs, so that nothing is downloaded and nothing else can be imported there.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from shutil import copy, copytree, ignore_patterns

import pytest
from packaging.requirements import Requirement

from mnist_sgd.data import sample_digits
from mnist_sgd_serve.command import add_arguments
from mnist_sgd_serve.supervisor import GRACE_SECONDS
from server import Server
from waiting import PATIENCE

ROOT = Path(__file__).parents[2]
MISSING = "pip install . without MNIST_SGD_WITHOUT_EXTENSION installs"


def without_compilers(folder: Path) -> dict[str, str]:
    """An environment in which no program is found by name, and that knows no source tree."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"PATH": str(folder), "CC": "no-cc", "CXX": "no-cxx"}


def closure(requirements: list[str]) -> set[str]:
    """The names of the distributions that requirements lead to."""
    found: set[str] = set()
    left = [Requirement(text) for text in requirements]
    while left:
        one = left.pop()
        if one.name in found or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        found.add(one.name)
        left += map(Requirement, distribution(one.name).requires or [])
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as `MNIST_SGD_WITHOUT_EXTENSION=1 pip install --no-deps .` builds it."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in"):
        (tree / name).write_bytes((ROOT / name).read_bytes())
    for name in ("mnist_sgd", "serve"):
        copytree(ROOT / name, tree / name, ignore=ignore_patterns("*.so", "__pycache__"))
    built = f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"
    (tree / "mnist_sgd" / built).write_bytes(b"what an editable install has left there")
    environment = without_compilers(tree) | {"MNIST_SGD_WITHOUT_EXTENSION": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tree / "out"],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tree / "out").iterdir()
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of the machine that only serves."""
    folder = tmp_path_factory.mktemp("machine")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    lines = (ROOT / "serve" / "requirements.txt").read_text().splitlines()
    for name in closure([line for line in lines if line and not line.startswith("#")]):
        given = distribution(name)
        for top in {file.parts[0] for file in given.files or []} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(given.locate_file(top))))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    return folder / "bin" / "python"


def run(python: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *arguments],
        cwd=python.parent,
        env=without_compilers(python.parent),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_the_wheel_without_the_extension_fits_every_machine(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so")]


def test_neither_torch_nor_the_extension_nor_onnx_is_there(python: Path) -> None:
    for name in ("torch", "torchvision", "onnx", "mnist_sgd._core"):
        done = run(python, "-c", f"import {name}")
        assert done.returncode == 1
        assert "ModuleNotFoundError" in done.stderr or "cannot import name" in done.stderr


def test_predict_works(python: Path, model: Path) -> None:
    digit = sample_digits()[0]
    done = run(python, "-m", "mnist_sgd", "predict", digit, "--model", model, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["file"] == str(digit)


def test_evaluate_and_pack_work(python: Path, model: Path, tmp_path: Path) -> None:
    for digit in sample_digits():
        folder = tmp_path / "pictures" / ("3" if digit.name.startswith("three") else "7")
        folder.mkdir(parents=True, exist_ok=True)
        copy(digit, folder)
    packed = tmp_path / "packed"
    done = run(python, "-m", "mnist_sgd", "pack", tmp_path / "pictures", packed)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{packed}: 8 images, 4 of 3, 4 of 7\n")
    pictures = (tmp_path / "pictures", packed)
    for data in ([], *(["--data", str(source), "--all"] for source in pictures)):
        done = run(python, "-m", "mnist_sgd", "evaluate", model, *data, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["images"] == (8 if data else 2038)


@contextmanager
def serving(python: Path, *command: str | Path) -> Iterator[Server]:
    """A server of that machine, from a command line but for the port and the host."""
    free = ["--port", "0", "--host", "127.0.0.1", "--shutdown-delay", "0"]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [python, *command, *free],
            stdout=output,
            stderr=output,
            cwd=python.parent,
            env=without_compilers(python.parent),
        )
        try:
            server = Server(process, output)
            server.wait_until_ready()
            yield server
            assert server.stop() == 0, server.log
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("program", [("mnist_sgd_serve",), ("mnist_sgd", "serve")])
def test_serve_works(program: tuple[str, ...], python: Path, model: Path) -> None:
    with serving(python, "-m", *program, model) as server:
        picture = sample_digits()[0].read_bytes()
        assert server.post("/predict", picture).json["label"] in ("3", "7")


@pytest.mark.parametrize(
    "script",
    [
        "import mnist_sgd.loader.dataloader",
        "from mnist_sgd import DataLoader",
        "from mnist_sgd import Augmentation",
    ],
)
def test_the_training_side_says_in_a_sentence_what_is_missing(script: str, python: Path) -> None:
    done = run(python, "-c", script)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert " needs " in last
    assert MISSING in last


def test_train_says_so_in_one_line(python: Path) -> None:
    done = run(python, "-m", "mnist_sgd", "train")
    assert done.returncode == 2
    assert done.stderr.startswith("mnist-sgd: the training side of mnist_sgd needs its C++ ext")
    assert MISSING in done.stderr
    assert done.stderr.count("\n") == 1


# The files of deploy/ name what there is. No container is built here.

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
SERVICE = (ROOT / "deploy" / "inferenceservice.yaml").read_text()


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, in order, with continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line]


def parsed(command: list[str]) -> argparse.Namespace:
    """What the command line of a container says; it must be that of the installed command."""
    assert command[:2] == ["/opt/venv/bin/mnist-sgd", "serve"]
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser)
    return parser.parse_args(command[2:])


def test_the_image_copies_files_that_exist_and_builds_without_a_compiler() -> None:
    parts = instructions()
    assert [name for name, _ in parts].count("FROM") == 2
    for name, text in parts:
        if name == "COPY" and not text.startswith("--from"):
            for source in text.split()[:-1]:
                assert (ROOT / source).exists(), source
    commands = " ".join(text for name, text in parts if name == "RUN")
    assert "apt" not in commands
    assert "MNIST_SGD_WITHOUT_EXTENSION=1 /opt/venv/bin/pip install" in commands
    assert "--no-deps /src" in commands


def test_the_image_runs_the_server_as_an_ordinary_user_and_asks_for_its_health(
    python: Path, model: Path
) -> None:
    last = dict(instructions())  # of each instruction the last one
    assert int(last["USER"].split(":")[0]) > 0
    command = json.loads(last["ENTRYPOINT"]) + json.loads(last["CMD"])
    args = parsed(command)
    assert (args.host, str(args.port)) == ("0.0.0.0", last["EXPOSE"])
    assert args.model.is_relative_to(last["WORKDIR"])
    probe = json.loads(last["HEALTHCHECK"].partition(" CMD ")[2])
    assert probe[:2] == ["/opt/venv/bin/python", "-c"]
    (url,) = re.findall(r"http://\S+?(?=')", probe[2])
    assert url == f"http://127.0.0.1:{args.port}/v2/health/ready"
    compile(probe[2], "HEALTHCHECK", "exec")
    with serving(python, "-m", "mnist_sgd", "serve", model, *command[3:]) as server:
        script = probe[2].replace(f"http://127.0.0.1:{args.port}", server.address)
        done = run(python, "-c", script)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_example_for_kserve_fits_the_image_and_the_server(python: Path, model: Path) -> None:
    yaml = pytest.importorskip("yaml")
    service = yaml.safe_load(SERVICE)
    predictor = service["spec"]["predictor"]
    (container,) = predictor["containers"]
    command = container["command"] + container["args"]
    args = parsed(command)
    assert args.model == Path("/mnt/models/model.onnx")
    assert args.host == "0.0.0.0"
    assert predictor["terminationGracePeriodSeconds"] > args.shutdown_delay + GRACE_SECONDS
    (port,) = container["ports"]
    assert port["containerPort"] == args.port
    (user, _) = dict(instructions())["USER"].split(":")
    assert container["securityContext"]["runAsUser"] == int(user)
    with serving(python, "-m", "mnist_sgd", "serve", model, *command[3:]) as server:
        for probe in ("readinessProbe", "livenessProbe"):
            asked = container[probe]["httpGet"]
            assert asked["port"] == args.port
            assert server.get(asked["path"]).status == 200
        name = service["metadata"]["name"]  # KServe's clients ask for the model by it
        assert server.get(f"/v2/models/{name}/ready").json == {"name": name, "ready": True}
