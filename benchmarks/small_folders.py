"""Six small folders of pictures: `mnist-sgd train --data`, next to a random forest.

    apt-get install gnome-icon-theme mate-icon-theme oxygen-icon-theme FONTS    # see README.md
    npm install emoji-datasource-google emoji-datasource-twitter
    pip install scikit-learn
    python benchmarks/small_folders.py --emoji node_modules [--seeds 5]

For each seed the pictures of a task are shared out anew, four fifths to train with. Then the
command is run as a user would run it, with no option but where files go; it chooses how the
pictures are preprocessed, how long it trains and how it augments. A random forest of 500 trees
learns the same 28 x 28 pixels. Prints the accuracy of both on the validation pictures, what the
command said, and the goals; exits with 1 if one is missed.
"""

import argparse
import io
import json
import re
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from harness.machine import busy, machine_text
from small_folder_tasks import Sources, Task, tasks

from mnist_sgd import load_data
from mnist_sgd.cli import main as command
from mnist_sgd.data import ImageSet
from mnist_sgd_serve import Predictor

TREES = 500
BETTER_IN, MOST_BEHIND = 5, 0.02
"""The goals: in how many tasks ours is at least as good, and how far it may be behind elsewhere."""


@dataclass
class Result:
    """What came of a task.

    Attributes:
        task: the pictures.
        ours: the accuracy of the command's model, for each seed.
        forest: that of the random forest.
        said: what the command said before the first training.
    """

    task: Task
    ours: list[float] = field(default_factory=list)
    forest: list[float] = field(default_factory=list)
    said: str = ""

    @property
    def ahead(self) -> float:
        """By how much ours is better, on average."""
        return mean(self.ours) - mean(self.forest)

    def run(self, seed: int, work: Path) -> None:
        """Train both on one way to share out the pictures."""
        folder = work / self.task.name.replace(" ", "-")
        self.task.write(folder, seed)
        output, said = io.StringIO(), io.StringIO()
        line = ["train", "--data", str(folder), "--out", str(work / f"{folder.name} model")]
        with redirect_stdout(output), redirect_stderr(said):
            code = command(line)
        if code:
            raise RuntimeError(f"{' '.join(line)}: exit code {code}\n{said.getvalue()}")
        self.said = self.said or said.getvalue().replace(f"{work}/", "")
        found = re.search(r"^correct: ([\d,]+) of ([\d,]+)", output.getvalue(), re.MULTILINE)
        if found is None:
            raise RuntimeError(f"{self.task.name}: the command does not say how good it is")
        right, every = (int(text.replace(",", "")) for text in found.groups())
        self.ours.append(right / every)
        model = Predictor(work / f"{folder.name} model" / "model.onnx")
        data = load_data(folder, preprocessing=model.metadata.preprocessing)
        self.forest.append(forest_accuracy(data.train, data.valid, seed))


def forest_accuracy(train: ImageSet, valid: ImageSet, seed: int) -> float:
    """The accuracy of a random forest on the same pixels; refused pictures count as not right."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(TREES, random_state=seed)
    forest.fit(train.images.reshape(len(train), -1), train.labels)
    called = forest.predict(valid.images.reshape(len(valid), -1))
    return int(np.sum(called == valid.labels)) / (len(valid) + valid.refused)


def table(results: list[Result]) -> str:
    """A task a line."""
    lines = [f"{'':16}{'pictures':>10}{'train --data':>14}{'forest':>10}{'ahead':>9}"]
    for one in results:
        count = sum(map(len, one.task.pictures))
        lines.append(
            f"{one.task.name:16}{count:>10,}{mean(one.ours):>14.3f}{mean(one.forest):>10.3f}"
            f"{100 * one.ahead:>+9.1f}"
        )
    return "\n".join(lines)


def goals(results: list[Result]) -> list[tuple[str, bool]]:
    """What it must show, and whether it does."""
    as_good = sum(one.ahead >= 0 for one in results)
    least = min(one.ahead for one in results)
    often = f"at least as good in {as_good} of {len(results)}, goal {BETTER_IN}"
    worst = f"at worst {100 * least:+.1f} points, goal {-100 * MOST_BEHIND:+.0f}"
    return [(often, as_good >= BETTER_IN), (worst, least >= -MOST_BEHIND)]


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Small folders of pictures, next to a random forest.",
        epilog="See benchmarks/README.md.",
    )
    parser.add_argument("--icons", type=Path, default=Path("/usr/share/icons"))
    parser.add_argument("--fonts", type=Path, default=Path("/usr/share/fonts"))
    parser.add_argument("--emoji", type=Path, default=Path("node_modules"))
    parser.add_argument("--seeds", type=int, default=5, help="0 and the following; default: 5")
    parser.add_argument("--only", nargs="+", metavar="TASK", help="some of the tasks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args()


def main() -> int:
    """Measure, print, and say whether the goals are met."""
    args = parse()
    torch.set_num_threads(1)
    every = tasks(Sources(args.icons, args.fonts, args.emoji))
    results = [Result(task) for task in every if args.only is None or task.name in args.only]
    others: list[float] = []
    for seed in range(args.seeds):
        others.append(busy())
        for one in results:
            with tempfile.TemporaryDirectory() as name:
                one.run(seed, Path(name))
            text = f"seed {seed}, {one.task.name}: {one.ours[-1]:.3f}, forest {one.forest[-1]:.3f}"
            print(text, file=sys.stderr, flush=True)
    packages = [f"{name} {version(name)}" for name in ("torch", "scikit-learn")]
    said = machine_text(others, *packages)
    judged = goals(results)
    print(f"accuracy, mean of {args.seeds} ways to share out the pictures\n\n{table(results)}\n")
    print("\n".join(f"{text}: {'met' if met else 'MISSED'}" for text, met in judged), end="\n\n")
    print("\n".join(one.said for one in results))
    print(said)
    if args.json is not None:
        figures = {one.task.name: {"ours": one.ours, "forest": one.forest} for one in results}
        args.json.write_text(json.dumps({"machine": said, "tasks": figures}, indent=1))
    return 0 if all(met for _, met in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
