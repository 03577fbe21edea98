"""`mnist-sgd train`: the chapter's job, from the images to the files of a model."""

import argparse
from functools import partial
from typing import TYPE_CHECKING

from mnist_sgd.cli.options.arguments import Subcommands, subcommand
from mnist_sgd.cli.options.datasets import load_datasets
from mnist_sgd.cli.terminal import say
from mnist_sgd.cli.training.announcement import announce
from mnist_sgd.cli.training.checkpoints import advising, checkpoint_callbacks
from mnist_sgd.cli.training.checks import (
    check_earlier_model,
    check_early_stopping,
    check_places,
    check_run_folder,
    check_settings,
    first_refusal,
    refuse_together,
)
from mnist_sgd.cli.training.config import TrainConfig, add_train_options, train_config
from mnist_sgd.cli.training.ending import recording_end
from mnist_sgd.cli.training.learner import make_callbacks, make_learner
from mnist_sgd.cli.training.logs import reporting_lost_logs
from mnist_sgd.cli.training.outputs import write_files
from mnist_sgd.cli.training.run_folder import create_output_folder, only_training
from mnist_sgd.cli.training.signals import leaving_on_signals
from mnist_sgd.cli.training.terminal import Table, status
from mnist_sgd.cli.training.threads import CoreUse, choose_threads
from mnist_sgd.report.folder import CHECKPOINT

if TYPE_CHECKING:
    from mnist_sgd.report.run_log import RunLog
    from mnist_sgd.report.stop_request import StopOnRequest
    from mnist_sgd.training.callbacks.base import Callback
    from mnist_sgd.training.learner import Learner

USAGE = "%(prog)s [--data DIR] [--model NAME] [--run NAME] [--epochs N] [OPTION]..."

EXAMPLES = """\
  mnist-sgd train                                   the chapter's ten epochs of a linear model
  mnist-sgd train --epochs 20 --shuffle --seed 3
  mnist-sgd train --model mlp --run mlp             its network, 40 epochs at 0.1; with a report
  mnist-sgd train --model mlp --epochs 200 --lr 1 --shuffle --augment
  mnist-sgd train --model mlp --lr 1 --schedule one-cycle --momentum 0.9 --shuffle --augment
  mnist-sgd train --model mlp --optimizer adam --lr find --early-stopping 5 --best --csv h.csv
  mnist-sgd train --data photos                     your own pictures, photos/cat and photos/dog
  mnist-sgd train --data photos --preprocess fit --positive cat
  mnist-sgd train --dataset FashionMNIST --classes Sneaker 'Ankle boot' --download
  mnist-sgd train --checkpoint-every 50 --resume    start, or continue after an interruption
  torchrun --nproc-per-node 2 -m mnist_sgd train    the same in two processes
"""


def add_parser(commands: Subcommands) -> None:
    """Add the subcommand."""
    summary = "train a model; write model.onnx and its weights, model.safetensors"
    add_train_options(subcommand(commands, "train", summary, EXAMPLES, run, USAGE))


def run(args: argparse.Namespace) -> int:
    """Train, save, export; every file is checked before it takes its name."""
    config = train_config(args)
    check_settings(config)
    table = Table()
    with leaving_on_signals(config):
        code = _run(config, table)
    if table.exit_code:
        say(f"all files are written, but not the whole table: {table.error}")
    return max(table.exit_code, code)


def _run(config: TrainConfig, table: Table) -> int:
    """Do all that takes time; what can be known before the first batch is checked before it.

    Returns:
        An exit code: 0, or 2 if a log could not be written.
    """
    import mnist_sgd._extension  # noqa: F401 - if it is missing, fail before the data is read

    refusal = first_refusal(partial(check_places, config))
    data = load_datasets(config.data)
    config = config.suited_to(len(data.train), data.train.preprocessing)
    refusal = refusal or first_refusal(
        partial(check_early_stopping, config),
        partial(check_earlier_model, config, data.train.classes),
        partial(check_run_folder, config),
    )
    if not refusal:
        announce(config, data)
    cores = CoreUse()
    with status("loading torch"):
        from mnist_sgd.export.trial import try_files
        from mnist_sgd.training.distributed import init_distributed
        from mnist_sgd.training.loop import print_nothing

    choose_threads(config, cores, config.output.out / CHECKPOINT)
    with init_distributed(config.model.device) as ranks:
        refuse_together(refusal, ranks)
        learn = make_learner(config, (data.train, data.valid), ranks)
        try_files(learn, config.model_for())
        with only_training(config.output.out, ranks):
            log = create_output_folder(config, ranks)
            if ranks.is_main_process:
                learn.logger = print_nothing if config.output.json else table
            callbacks = make_callbacks(config.monitors)
            watching, stop = _watching(log)
            with recording_end(log, stop), reporting_lost_logs(callbacks, log) as lost:
                _fit(config, learn, [*callbacks, *watching], stop)
                if ranks.is_main_process:
                    write_files(config.output, learn, log)
    return lost.exit_code


def _watching(log: "RunLog | None") -> "tuple[list[Callback], StopOnRequest | None]":
    """The callbacks of a run, and among them the one that ends it on request."""
    if log is None:
        return [], None
    from mnist_sgd.report.progress_log import ProgressLog
    from mnist_sgd.report.stop_request import StopOnRequest

    stop = StopOnRequest(log.folder)
    return [log, ProgressLog(log.folder), stop], stop


def _fit(
    config: TrainConfig,
    learn: "Learner",
    callbacks: "list[Callback]",
    stop: "StopOnRequest | None",
) -> None:
    """Train from the first batch, or from a checkpoint."""
    recipe = config.recipe
    lr = _find_lr(learn) if recipe.lr == "find" else recipe.lr
    first, last, resume = checkpoint_callbacks(config, learn)
    fit = learn.fit_one_cycle if recipe.schedule == "one-cycle" else learn.fit
    with advising(config):
        fit(recipe.epochs, lr, cbs=[*first, *callbacks, *last], resume=resume)
    rows = len(learn.recorder.values)
    if stop is not None and stop.stopped:
        say(f"stopped on request in epoch {rows} of {learn.n_epoch}")
    elif rows < learn.n_epoch:
        say(f"valid_loss stopped improving: ended after {rows} of {learn.n_epoch} epochs")
    if config.monitors.best and learn.kept_row >= 0:
        say(f"kept the weights of epoch {learn.kept_row}")
    elif config.monitors.best:
        say("valid_loss is not a number in any epoch: kept the weights of the last one")


def _find_lr(learn: "Learner") -> float:
    """The suggested learning rate; a resumed training finds the same one again."""
    lr = learn.lr_find().valley
    say(f"found the learning rate {lr:.3g}")
    return lr
