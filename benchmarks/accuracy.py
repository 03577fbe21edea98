"""How accurate each model is by its recipe, over seeds, and how long its training takes.

    python benchmarks/accuracy.py [--seeds 10] [--models linear mlp cnn]     # about 5 minutes

Every training is `mnist-sgd train`'s on the bundled digits, 12,396 and 2,038 of them, in this
process: the same recipe, loaders and Learner, with the validation after each epoch. The seconds
are those of the fit, without imports and export. The cnn is trained a second time in fewer epochs.
The trainings take turns, seed by seed. Prints the errors among the validation images and the
goals; exits with 1 if one is missed.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch
from common_parts.goals import Goal, all_met, goals_text
from common_parts.machine import busy, machine_text

from mnist_sgd import ImageSet, Learner, create_model, mnist_sample
from mnist_sgd.cli.training.config import ModelConfig, TrainConfig
from mnist_sgd.cli.training.learner import make_loaders, make_loss, make_optimizer
from mnist_sgd.cli.training.recipes import RECIPES, Recipe
from mnist_sgd.training.distributed import SINGLE_PROCESS

QUICK_EPOCHS = 5
WIDTHS = (9, 8, 9, 10, 9, 13)
FIGURES = ("errors", "seconds", "cpu_seconds")


@dataclass
class Way:
    """A model with its recipe, and for each seed what came of it.

    Attributes:
        errors: validation images that were called wrong.
        seconds: of the fit.
        cpu_seconds: of processor time, of all threads.
    """

    model: str
    recipe: Recipe
    errors: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The model and how long it is trained."""
        return f"{self.model}, {self.recipe.epochs} epochs"

    def train(self, seed: int, sets: tuple[ImageSet, ImageSet]) -> None:
        """Train with a seed, and note the figures."""
        learn = learner(self.model, self.recipe, seed, sets)
        fit = learn.fit_one_cycle if self.recipe.schedule == "one-cycle" else learn.fit
        start, cpu = time.perf_counter(), time.process_time()
        with learn.no_logging():
            fit(self.recipe.epochs, self.recipe.lr)
        self.seconds.append(time.perf_counter() - start)
        self.cpu_seconds.append(time.process_time() - cpu)
        probabilities, targets = learn.get_preds()
        self.errors.append(int(((probabilities > 0.5) != targets).sum()))


def learner(model: str, recipe: Recipe, seed: int, sets: tuple[ImageSet, ImageSet]) -> Learner:
    """What `mnist-sgd train --seed` trains."""
    config = TrainConfig(model=ModelConfig(seed=seed), recipe=recipe)
    dls = make_loaders(config, sets, SINGLE_PROCESS)
    made = create_model(model, seed)
    return Learner(dls, made, make_loss(recipe), make_optimizer(recipe))


def ways(models: list[str]) -> list[Way]:
    """The models by their recipes, and the cnn in fewer epochs."""
    made = [Way(name, RECIPES[name]) for name in models]
    if "cnn" in models:
        made.append(Way("cnn", replace(RECIPES["cnn"], epochs=QUICK_EPOCHS)))
    return made


def goals(trained: list[Way]) -> list[Goal]:
    """The cnn's, of errors and seconds: 99.9 % in 20 s, and ResNet-18's 99.7 % in 6 s."""
    cnns = [way for way in trained if way.model == "cnn"]
    bounds = ((2, 20), (6, 6))
    return [
        Goal(f"{way.name}: {what}", bound, figures, at_most=True)
        for way, (errors, seconds) in zip(cnns, bounds, strict=False)
        for what, bound, figures in (
            ("errors", errors, way.errors),
            ("seconds", seconds, way.seconds),
        )
    ]


def table(trained: list[Way], images: int) -> str:
    """A way a line, medians over the seeds."""
    rows = [("", "errors", "lowest", "highest", "accuracy", "seconds", "cpu seconds")]
    rows += [
        (
            way.name,
            f"{median(way.errors):g}",
            f"{min(way.errors)}",
            f"{max(way.errors)}",
            f"{1 - median(way.errors) / images:.4f}",
            f"{median(way.seconds):.2f}",
            f"{median(way.cpu_seconds):.2f}",
        )
        for way in trained
    ]
    return "\n".join(
        head.ljust(20) + "".join(cell.rjust(width) for cell, width in zip(row, WIDTHS, strict=True))
        for head, *row in rows
    )


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Measure each model's accuracy over seeds.", epilog="See benchmarks/README.md."
    )
    parser.add_argument("--seeds", type=int, default=10, help="0 and the following; default: 10")
    named = ("linear", "mlp", "cnn")
    parser.add_argument("--models", nargs="+", choices=named, default=list(named))
    parser.add_argument("--threads", type=int, default=2, help="of torch; default: 2")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args()


def main() -> int:
    """Train, print, and say whether the goals are met."""
    args = parse()
    torch.set_num_threads(args.threads)
    sets = mnist_sample()
    trained, others = ways(args.models), []
    for seed in range(args.seeds):
        others.append(busy())
        for way in trained:
            way.train(seed, sets)
        print(f"seed {seed + 1} of {args.seeds}", file=sys.stderr)
    said = machine_text(others, f"torch {version('torch')}", f"its threads: {args.threads}")
    judged = goals(trained)
    print(f"medians over {args.seeds} seeds, {len(sets[1]):,} validation images\n")
    print(table(trained, len(sets[1])), end="\n\n")
    if judged:
        print(goals_text("goals, over the seeds", judged), end="\n\n")
    print(said)
    if args.json is not None:
        figures = {way.name: {key: getattr(way, key) for key in FIGURES} for way in trained}
        args.json.write_text(json.dumps({"machine": said, "ways": figures}, indent=1))
    return 0 if all_met(judged) else 1


if __name__ == "__main__":
    sys.exit(main())
