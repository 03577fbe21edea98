"""The Learner of a `TrainConfig`: its loaders, loss, optimizer and callbacks."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from mnist_sgd.cli.training.config import MonitorConfig, TrainConfig
from mnist_sgd.cli.training.recipes import AUGMENTATION, Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from mnist_sgd.data import ImageSet
    from mnist_sgd.loader.augmentation import Augmentation
    from mnist_sgd.loader.dataloader import DataLoaders
    from mnist_sgd.training.callbacks.base import Callback
    from mnist_sgd.training.distributed import DistributedContext
    from mnist_sgd.training.learner import Learner


def make_learner(
    config: TrainConfig, datasets: tuple["ImageSet", "ImageSet"], ranks: "DistributedContext"
) -> "Learner":
    """The learner of a config that is suited to its data; all ranks call this together.

    Args:
        config: what the user asked for.
        datasets: for training and for validation.
        ranks: the processes that train together.

    Raises:
        ValueError: the ranks have different options or data, or a model cannot be made.
    """
    import torch

    from mnist_sgd import Learner, MixedPrecision, batch_accuracy, create_model

    dls = make_loaders(config, datasets, ranks)
    model, monitors, checkpoints = config.model, config.monitors, config.checkpoints
    name = config.model_for()
    options = [name, config.recipe, model.seed, checkpoints.checkpoint_every, checkpoints.resume]
    options += [monitors.early_stopping, monitors.best, model.mixed_precision]
    options += [config.batches.drop_last, *(images.fingerprint() for images in datasets)]
    ranks.check_same_on_all_ranks("arguments and data", repr(options))
    made = create_model(name, seed=model.seed)
    torch.manual_seed((model.seed + ranks.rank) % 2**64)  # the weights are equal, dropout is not
    return Learner(
        dls,
        made,
        make_loss(config.recipe),
        make_optimizer(config.recipe),
        metrics=batch_accuracy,
        cbs=MixedPrecision if model.mixed_precision else None,  # lr_find must use it too
        ranks=ranks,
    )


def make_loaders(
    config: TrainConfig, datasets: tuple["ImageSet", "ImageSet"], ranks: "DistributedContext"
) -> "DataLoaders":
    """The batches of this rank, for training and for validation.

    Raises:
        ValueError: `--drop-last` leaves no training batch.
    """
    from mnist_sgd import DataLoader, DataLoaders

    train, valid = datasets
    size, drop_last = config.recipe.batch_size, config.batches.drop_last
    if drop_last and len(train) < size:
        raise ValueError(
            f"--drop-last leaves no batch: there are {len(train)} training images, and a batch has "
            f"{size}; choose a smaller --batch-size"
        )
    make = partial(
        DataLoader,
        batch_size=size,
        num_threads=config.batches.threads,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )
    augment = _augmentation(config, train) if config.recipe.augment else None
    order: dict[str, Any] = {"shuffle": config.recipe.shuffle, "drop_last": drop_last}
    return DataLoaders(make(train, **order, seed=config.model.seed, augment=augment), make(valid))


def _augmentation(config: TrainConfig, train: "ImageSet") -> "Augmentation":
    """The augmentation that suits the images' preprocessing."""
    from mnist_sgd import Augmentation

    own = "sample" if config.data.data is None else "characters"
    return Augmentation(**AUGMENTATION[own if train.preprocessing == "mnist" else "whole"])


def make_loss(recipe: Recipe) -> Callable[["Tensor", "Tensor"], "Tensor"]:
    """The recipe's loss function."""
    from mnist_sgd.training.losses import cross_entropy, mnist_loss

    return {"mnist": mnist_loss, "cross-entropy": cross_entropy}[recipe.loss]


def make_optimizer(recipe: Recipe) -> Callable[..., Any]:
    """The recipe's `opt_func`: it takes parameters and a learning rate."""
    from mnist_sgd.training.optimizers import SGD, adamw

    make: Callable[..., Any] = {"sgd": SGD, "adam": adamw}[recipe.optimizer]
    return partial(make, mom=recipe.momentum, wd=recipe.weight_decay)


def make_callbacks(monitors: MonitorConfig) -> list["Callback"]:
    """The callbacks of the options, each after those whose results it needs."""
    from mnist_sgd import CSVLogger, EarlyStopping, SaveBest, TensorBoard

    cbs: list[Callback] = []
    if monitors.csv:
        cbs.append(CSVLogger(monitors.csv, keep_going=True))
    if monitors.tensorboard:
        cbs.append(TensorBoard(monitors.tensorboard, keep_going=True))
    if monitors.early_stopping:
        cbs.append(EarlyStopping(monitors.early_stopping))
    if monitors.best:
        cbs.append(SaveBest())
    return cbs
