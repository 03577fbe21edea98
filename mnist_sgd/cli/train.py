"""`mnist-sgd train`: the chapter's job, from the images to the files of a model."""

import argparse
from functools import partial
from typing import TYPE_CHECKING

from mnist_sgd.cli.options.arguments import Subcommands, add_json_argument, subcommand
from mnist_sgd.cli.options.datasets import add_dataset_arguments, load_datasets
from mnist_sgd.cli.options.pictures import say
from mnist_sgd.cli.training.announcement import announce
from mnist_sgd.cli.training.batches import add_batch_arguments, make_loaders
from mnist_sgd.cli.training.checkpoints import add_checkpoint_arguments, advising, checkpointing
from mnist_sgd.cli.training.earlier_model import check_earlier_model
from mnist_sgd.cli.training.logs import telling_of_lost_logs
from mnist_sgd.cli.training.options import (
    add_training_arguments,
    chosen_loss,
    chosen_model,
    chosen_optimizer,
    chosen_recipe,
    suited_recipe,
    watchers,
)
from mnist_sgd.cli.training.outputs import add_output_arguments, write_files
from mnist_sgd.cli.training.places import check_places
from mnist_sgd.cli.training.recipes import Recipe
from mnist_sgd.cli.training.refusals import first_refusal, refuse_together
from mnist_sgd.cli.training.run_folder import (
    add_run_arguments,
    check_folder,
    choose_folder,
    only_training,
    open_folder,
)
from mnist_sgd.cli.training.settings import check_early_stopping, check_settings
from mnist_sgd.cli.training.signals import leaving_on_signals
from mnist_sgd.cli.training.status import status
from mnist_sgd.cli.training.table import Table

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet
    from mnist_sgd.training.callbacks.base import Callback
    from mnist_sgd.training.distributed import DistributedContext
    from mnist_sgd.training.learner import Learner

__all__ = ["add_parser", "run"]

EXAMPLES = """\
  mnist-sgd train                                   the chapter's ten epochs of a linear model
  mnist-sgd train --epochs 20 --shuffle --seed 3
  mnist-sgd train --model mlp --run mlp             its network, 40 epochs at 0.1; with a report
  mnist-sgd train --model mlp --epochs 200 --lr 1 --shuffle --augment
  mnist-sgd train --model mlp --lr 1 --schedule one-cycle --momentum 0.9 --shuffle --augment
  mnist-sgd train --model mlp --optimizer adam --lr find --early-stopping 5 --best --csv h.csv
  mnist-sgd train --data photos                     your own: photos/cat/*, photos/dog/*
  mnist-sgd train --data photos --preprocess fit --positive cat
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
    check_settings(args, chosen_recipe(args))
    table = Table()
    with leaving_on_signals(args):
        lost = _run(args, table)
    return max(_exit_code(table), lost)


def _run(args: argparse.Namespace, table: Table) -> int:
    """Do all that takes time: what can be known before the first batch is checked before it.

    Returns:
        An exit code: 0, or 2 if a log could not be written.
    """
    import mnist_sgd._extension  # noqa: F401 - if it is missing, fail before the data is read

    refusal = first_refusal(partial(check_places, args))
    data = load_datasets(args)
    args.model = chosen_model(args, data.train.preprocessing)
    recipe = suited_recipe(args, len(data.train))
    refusal = refusal or first_refusal(
        partial(check_early_stopping, args, recipe),
        partial(check_earlier_model, args, data.train.classes),
        partial(check_folder, args),
    )
    if not refusal:
        announce(args, recipe, data)
    with status("loading torch"):
        from mnist_sgd.export.trial import try_files
        from mnist_sgd.training.distributed import init_distributed
        from mnist_sgd.training.loop import print_nothing

    with init_distributed(args.device) as ranks:
        refuse_together(refusal, ranks)
        learn = _learner(args, recipe, (data.train, data.valid), ranks)
        try_files(learn, args.model)
        with only_training(args, ranks):
            log = open_folder(args, ranks)
            if ranks.is_main_process:
                learn.logger = print_nothing if args.json else table
            watching = watchers(args)
            with telling_of_lost_logs(watching, log) as lost:
                _fit(args, recipe, learn, [*watching, *([] if log is None else [log])])
                if ranks.is_main_process:
                    write_files(args, learn, log)
    return lost.exit_code


def _exit_code(table: Table) -> int:
    """Say if somebody misses lines of the table."""
    if table.exit_code:
        say(f"the files are written, but not the whole table: {table.error}")
    return table.exit_code


def _learner(
    args: argparse.Namespace,
    recipe: Recipe,
    datasets: tuple["ImageSet", "ImageSet"],
    ranks: "DistributedContext",
) -> "Learner":
    import torch

    from mnist_sgd import Learner, MixedPrecision, batch_accuracy, create_model

    dls = make_loaders(args, recipe, datasets, ranks)
    options = [args.model, recipe, args.seed, args.checkpoint_every, args.resume]
    options += [args.early_stopping, args.best, args.mixed_precision, args.drop_last]
    options += [images.fingerprint() for images in datasets]
    ranks.check_same_on_all_ranks("arguments and data", repr(options))
    model = create_model(args.model, seed=args.seed)
    torch.manual_seed((args.seed + ranks.rank) % 2**64)  # the weights are equal, dropout is not
    return Learner(
        dls,
        model,
        chosen_loss(recipe),
        chosen_optimizer(recipe),
        metrics=batch_accuracy,
        cbs=MixedPrecision if args.mixed_precision else None,  # also in the search for a rate
        ranks=ranks,
    )


def _fit(
    args: argparse.Namespace, recipe: Recipe, learn: "Learner", watching: list["Callback"]
) -> None:
    """Train from the first batch, or from where a checkpoint was taken."""
    lr = _found(learn) if recipe.lr == "find" else recipe.lr
    first, last, resume = checkpointing(args, learn)
    fit = learn.fit_one_cycle if recipe.schedule == "one-cycle" else learn.fit
    with advising(args, resume):
        fit(recipe.epochs, lr, cbs=[*first, *watching, *last], resume=resume)
    if learn.ranks.is_main_process:
        _say_what_was_left_out(args, learn)


def _found(learn: "Learner") -> float:
    """The suggested learning rate; a training that goes on finds it again, from the same start."""
    lr = learn.lr_find().valley
    if learn.ranks.is_main_process:
        say(f"the learning rate found is {lr:.3g}")
    return lr


def _say_what_was_left_out(args: argparse.Namespace, learn: "Learner") -> None:
    rows = len(learn.recorder.values)
    if rows < learn.n_epoch:
        say(f"valid_loss gets no lower: ended after {rows} of {learn.n_epoch} epochs")
    if args.best and learn.kept_row >= 0:
        say(f"the weights are those of epoch {learn.kept_row}")
    elif args.best:
        say("no epoch has a valid_loss that is a number: the weights are those of the last one")
