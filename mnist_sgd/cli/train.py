"""`mnist-sgd train`: the chapter's job, from the images to the files of a model."""

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Never

from mnist_sgd.cli.arguments import Subcommands, add_json_argument, subcommand
from mnist_sgd.cli.datasets import add_dataset_arguments, load_datasets
from mnist_sgd.cli.training.batches import add_batch_arguments, make_loaders
from mnist_sgd.cli.training.checkpoints import add_checkpoint_arguments, checkpointing
from mnist_sgd.cli.training.options import (
    add_training_arguments,
    chosen_loss,
    chosen_model,
    chosen_optimizer,
    chosen_recipe,
    watchers,
)
from mnist_sgd.cli.training.outputs import add_output_arguments, write_files
from mnist_sgd.cli.training.run_folder import add_run_arguments, choose_folder, open_folder
from mnist_sgd.recipes import Recipe

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet
    from mnist_sgd.distributed import Ranks
    from mnist_sgd.learner import Learner
    from mnist_sgd.report.run_log import RunLog

__all__ = ["add_parser", "run"]

EXAMPLES = """\
  mnist-sgd train                                   the chapter's ten epochs of a linear model
  mnist-sgd train --epochs 20 --shuffle --seed 3
  mnist-sgd train --model mlp --run mlp             its network, 40 epochs at 0.1; with a report
  mnist-sgd train --model mlp --epochs 200 --lr 1 --shuffle --augment
  mnist-sgd train --model mlp --lr 1 --schedule one-cycle --momentum 0.9 --shuffle --augment
  mnist-sgd train --model mlp --optimizer adam --lr find --early-stopping 5 --best --csv h.csv
  mnist-sgd train --data photos                     your own: photos/cat/*, photos/dog/*
  mnist-sgd train --data photos --prepare fit --positive cat
  mnist-sgd train --dataset FashionMNIST --classes Sneaker 'Ankle boot' --download
  mnist-sgd train --checkpoint-every 50 --resume    begins, or goes on where it was cut off
  torchrun --nproc-per-node 2 -m mnist_sgd train    the same in two processes
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "train a model; leaves model.onnx and its weights, model.safetensors"
    parser = subcommand(commands, "train", summary, EXAMPLES, run)
    add_training_arguments(parser)
    add_batch_arguments(parser)
    add_output_arguments(parser)
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="of the model; with torchrun each process takes a GPU of its own "
        "(default: %(default)s)",
    )
    add_checkpoint_arguments(parser)
    add_run_arguments(parser)
    add_dataset_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Train, save, export; every file is checked before it takes its name."""
    choose_folder(args)
    args.model = chosen_model(args)
    recipe = chosen_recipe(args)
    datasets = load_datasets(args)

    from mnist_sgd.distributed import joined_ranks
    from mnist_sgd.trial import try_files

    with _leaving_on_sigterm(), joined_ranks(args.device) as ranks:
        learn = _learner(args, recipe, datasets, ranks)
        try_files(learn, args.model)
        log = open_folder(args, ranks)
        if args.json:
            learn.logger = lambda line: None
        _fit(args, recipe, learn, log)
        if ranks.is_first:
            write_files(args, learn, log)
    return 0


@contextmanager
def _leaving_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the command as an exception does, so that no half-written file stays."""

    def leave(number: int, frame: object) -> Never:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _learner(
    args: argparse.Namespace,
    recipe: Recipe,
    datasets: tuple["ImageSet", "ImageSet"],
    ranks: "Ranks",
) -> "Learner":
    from mnist_sgd import Learner, batch_accuracy, create_model

    dls = make_loaders(args, recipe, datasets, ranks)
    options = [args.model, recipe, args.seed, args.checkpoint_every, args.resume]
    options += [args.early_stopping, args.best, args.mixed_precision]
    options += [images.fingerprint() for images in datasets]
    ranks.require_same("arguments and data", repr(options))
    model = create_model(args.model, seed=args.seed)
    return Learner(
        dls,
        model,
        chosen_loss(recipe),
        chosen_optimizer(recipe),
        metrics=batch_accuracy,
        ranks=ranks,
    )


def _fit(args: argparse.Namespace, recipe: Recipe, learn: "Learner", log: "RunLog | None") -> None:
    """Train from the first batch, or from where a checkpoint was taken."""
    lr = _found(learn) if recipe.lr == "find" else recipe.lr
    first, last, resume = checkpointing(args, learn)
    logs = [] if log is None else [log]
    fit = learn.fit_one_cycle if recipe.schedule == "one-cycle" else learn.fit
    fit(recipe.epochs, lr, cbs=[*first, *watchers(args), *logs, *last], resume=resume)
    if learn.ranks.is_first:
        _say_what_was_left_out(args, learn)


def _found(learn: "Learner") -> float:
    """The suggested learning rate; a training that goes on finds it again, from the same start."""
    lr = learn.lr_find().valley
    if learn.ranks.is_first:
        _say(f"the learning rate found is {lr:.3g}")
    return lr


def _say_what_was_left_out(args: argparse.Namespace, learn: "Learner") -> None:
    rows = len(learn.recorder.values)
    if rows < learn.n_epoch:
        _say(f"valid_loss gets no lower: ended after {rows} of {learn.n_epoch} epochs")
    if args.best:
        _say(f"the weights are those of epoch {learn.kept_row}")


def _say(text: str) -> None:
    print(f"mnist-sgd: {text}", file=sys.stderr, flush=True)
