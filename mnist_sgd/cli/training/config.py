"""`TrainConfig`: what `mnist-sgd train` is asked to do. Each field of its sections is an option."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from mnist_sgd.cli.options.arguments import JSON_HELP, path, whole_number
from mnist_sgd.cli.options.datasets import SAMPLE, DataConfig
from mnist_sgd.cli.options.fields import add_options, flag, option, section
from mnist_sgd.cli.options.models import ARCHITECTURES, architecture
from mnist_sgd.cli.training.recipes import (
    RECIPES,
    Recipe,
    adjusted,
    defaults_text,
    recipe_of,
    with_enough_steps,
)
from mnist_sgd.report import folder as run_files


@dataclass(frozen=True)
class ModelConfig:
    """The model, and how it is computed."""

    model: str | None = option(
        ARCHITECTURES,
        type=architecture,
        metavar="NAME",
        shown="linear for the sample, cnn_histogram for whole pictures of --data, else cnn",
    )
    seed: int = option(
        "seed of the weights, the order, the augmentation, and random layers such as dropout",
        default=0,
        type=partial(whole_number, least=0, most=2**64 - 1),
        metavar="N",
    )
    device: str = option(
        "train on the processor or on a GPU; with torchrun each process takes a GPU of its own",
        default="cpu",
        choices=("cpu", "cuda"),
    )
    mixed_precision: bool = flag(
        "train in bfloat16 where that is safe; faster for the cnn on a GPU or a processor with "
        "AVX512_BF16",
        "float32",
    )


@dataclass(frozen=True)
class BatchConfig:
    """How images are put into batches, apart from the recipe."""

    drop_last: bool = flag(
        "leave out the last training batch if it is smaller than the others", "train on it"
    )
    threads: int = option(
        "threads that fill batches",
        default=1,
        type=partial(whole_number, most=256),
        metavar="N",
    )


@dataclass(frozen=True)
class MonitorConfig:
    """When the training stops early, which weights are kept, and the logs."""

    early_stopping: int | None = option(
        "stop after N epochs without a lower valid_loss",
        type=whole_number,
        metavar="N",
        shown="run all epochs",
    )
    best: bool = flag(
        "keep the weights of the epoch with the lowest valid_loss", "those of the last epoch"
    )
    csv: Path | None = option(
        "write the table of losses and metrics to this file after each epoch",
        type=path,
        metavar="FILE",
    )
    tensorboard: Path | None = option(
        "write TensorBoard events of each batch and epoch to this folder",
        type=path,
        metavar="DIR",
    )


@dataclass(frozen=True)
class CheckpointConfig:
    """When checkpoints are written, and whether an existing one is resumed."""

    checkpoint_every: int | None = option(
        "write DIR/checkpoint.safetensors after every N batches and after each epoch",
        type=whole_number,
        metavar="N",
        shown="never",
    )
    resume: bool = flag(
        "continue from DIR/checkpoint.safetensors if it exists, else start a new training; without "
        "--checkpoint-every it is written after each epoch"
    )


@dataclass(frozen=True)
class OutputConfig:
    """Where files go."""

    out: Path = option(
        "the folder for the files", default=Path(), type=path, metavar="DIR", shown="this folder"
    )
    name: str | None = option(
        "put all files into runs/NAME, with the settings, the history, charts, a model card and "
        "report.html, a page about the run",
        flag="--run",
        metavar="NAME",
        shown="only the model's files, in --out DIR",
    )
    overwrite: bool = flag(
        "start again if the run exists, or replace a model of other classes in DIR",
        "refuse to",
    )
    json: bool = flag(JSON_HELP)


@dataclass(frozen=True)
class TrainConfig:
    """All that `mnist-sgd train` is asked to do.

    Attributes:
        recipe: the options of `Recipe`, the model's defaults where the user gave none.
        given: what the user gave of the recipe, by field; None stands for nothing.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    recipe: Recipe = RECIPES["linear"]
    batches: BatchConfig = field(default_factory=BatchConfig)
    monitors: MonitorConfig = field(default_factory=MonitorConfig)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_run(self) -> bool:
        """Whether the output folder is that of a run."""
        return self.output.name is not None

    def suited_to(self, images: int, preprocessing: str) -> "TrainConfig":
        """The same for the training images that were loaded: with a model, and enough steps.

        A custom model keeps its batch size: a last batch of one image may be too small for it.

        Args:
            images: number of training images.
            preprocessing: of the images.
        """
        model = self.model_for(preprocessing)
        recipe = self._recipe_for(model)
        if self.data.data is not None:
            batch = {} if model in RECIPES else {"batch_size": recipe.batch_size}
            recipe = with_enough_steps(recipe, images, {**self.given, **batch})
        return replace(self, model=replace(self.model, model=model), recipe=recipe)

    def model_for(self, preprocessing: str = "mnist") -> str:
        """The model's name: the user's choice, else one that suits the images.

        That is the chapter's for the chapter's images, `cnn_histogram` for whole pictures of
        `--data`, and the cnn for characters.
        """
        if self.model.model is not None:
            return self.model.model
        if self.data.data is None:
            return "linear" if self.data.dataset == SAMPLE else "cnn"
        return "cnn" if preprocessing == "mnist" else "cnn_histogram"

    def _recipe_for(self, model: str) -> Recipe:
        """A model's recipe; images of `--data` are shuffled, as folders list a class at a time."""
        recipe = recipe_of(model)
        if self.data.data is not None:
            recipe = replace(recipe, shuffle=True)
        return adjusted(recipe, self.given)

    def arguments(self) -> dict[str, Any]:
        """The options that the user gave, or their defaults, as a run's config.json has them."""
        sections = (self.model, self.batches, self.monitors, self.output, self.checkpoints)
        every = (*sections, self.data)
        return {**self.given} | {
            each.name: getattr(part, each.name) for part in every for each in fields(part)
        }


def add_train_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field of the sections, a group for each section."""
    add_options(parser.add_argument_group("data"), DataConfig)
    add_options(parser.add_argument_group("model"), ModelConfig)
    training = parser.add_argument_group("training")
    add_options(training, Recipe, defaults_text(), unset=True)
    add_options(training, BatchConfig)
    add_options(parser.add_argument_group("early stopping and logs"), MonitorConfig)
    add_options(parser.add_argument_group("checkpoints"), CheckpointConfig)
    add_options(parser.add_argument_group("output"), OutputConfig)


def train_config(args: argparse.Namespace) -> TrainConfig:
    """The arguments of `train` as its config, before the data is loaded.

    Raises:
        ValueError: options contradict each other, or the run's name is not allowed.
    """
    config = TrainConfig(
        model=section(ModelConfig, args),
        data=section(DataConfig, args),
        output=section(OutputConfig, args),
        batches=section(BatchConfig, args),
        monitors=section(MonitorConfig, args),
        checkpoints=section(CheckpointConfig, args),
        given={each.name: getattr(args, each.name) for each in fields(Recipe)},
    )
    output = config.output
    if output.overwrite and config.checkpoints.resume:
        raise ValueError("--overwrite starts again and --resume continues; give only one of them")
    if output.name is not None:
        if output.out != Path():
            raise ValueError("--run NAME puts all files into runs/NAME; leave out --out")
        try:
            folder = run_files.run_path(output.name)
        except run_files.RunError as error:
            raise ValueError(f"--run: {error}") from error
        config = replace(config, output=replace(output, out=folder))
    return replace(config, recipe=config._recipe_for(config.model_for()))
