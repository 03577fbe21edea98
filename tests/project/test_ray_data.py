"""The example for Ray Data gives a Predictor's own answers, in order, on two workers."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from PIL import Image

from mnist_sgd_serve import Predictor
from onnx_models import content, linear
from waiting import PATIENCE

EXAMPLE = Path(__file__).parents[2] / "examples" / "ray_data.py"

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


def test_two_workers_give_a_predictors_answers_in_the_order_of_the_paths(tmp_path: Path) -> None:
    model, folder = tmp_path / "model.onnx", tmp_path / "pictures"
    model.write_bytes(content(linear()))
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(60):
        pixels = np.zeros((40, 40), np.uint8)
        pixels[10:30, 15 : 16 + number // 4] = random.integers(100, 256, (20, 1 + number // 4))
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    (folder / "30.png").write_bytes(b"no picture")

    line = [sys.executable, str(EXAMPLE), str(model), str(folder), "--workers", "2"]
    # Of a short name, for sockets, and gone with all that Ray left.
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder_of_ray:
        environment = {"RAY_DISABLE_IMPORT_WARNING": "1", "RAY_TMPDIR": folder_of_ray}
        done = subprocess.run(
            line,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    assert done.returncode == 0, done.stderr
    rows = [json.loads(text) for text in done.stdout.splitlines() if text.startswith("{")]
    assert [row.pop("path") for row in rows] == [str(path) for path in sorted(folder.iterdir())]
    assert "these 10 bytes are not an image" in rows.pop(30)["error"]
    predictor = Predictor(model)
    expected = [predictor.predict(path) for path in sorted(folder.iterdir()) if path.stem != "30"]
    assert rows == [{"label": one.label, "probability": one.probability} for one in expected]
    assert len({row["probability"] for row in rows}) > 50
