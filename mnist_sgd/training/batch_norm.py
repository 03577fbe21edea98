"""Refuse batches on which batch norm cannot train: those with one value per channel.

A last batch of one image is such a batch for a batch norm after a linear layer, and so is a rank's
part of one image. This is checked before the first batch.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mnist_sgd.loader.dataloader import DataLoader
from mnist_sgd.training.distributed import DistributedContext

ADVICE = "leave that batch out (drop_last=True; train --drop-last) or take another batch size"
TORCHS = "Expected more than 1 value per channel when training"


def check_batch_norm(model: nn.Module, batches: object, ranks: DistributedContext) -> None:
    """Check that no training batch has a single image on a rank, if a batch norm cannot take it.

    Args:
        model: in training mode. If there is such a batch, the model is called on a blank image, in
            evaluation mode, to see what its batch norms get.
        batches: of training; nothing is known in advance of another package's.
        ranks: among which each batch is divided.

    Raises:
        ValueError: there is such a batch; the message says which, and what to do.
    """
    if not isinstance(batches, DataLoader):
        return
    found = _lone_image(batches, ranks.world_size)
    norms = {module: name for name, module in model.named_modules() if _takes_variance(module)}
    if found and norms:
        layer = _fed_single_values(model, norms, batches, ranks.device)
        if layer is not None:
            which, advice = found
            raise ValueError(
                f"{which}, and batch norm (layer {layer!r}) needs more than one value of each "
                f"channel in training: {advice}"
            )


@contextmanager
def explaining_batch_norm() -> Iterator[None]:
    """Add advice to torch's error for a batch that is too small for a batch norm.

    Raises:
        ValueError: instead of torch's.
    """
    try:
        yield
    except ValueError as error:
        if not str(error).startswith(TORCHS):
            raise
        raise ValueError(
            f"a training batch has too few images for batch norm, which needs more than one value "
            f"of each channel in training: {ADVICE} ({error})"
        ) from error


def _takes_variance(module: nn.Module) -> bool:
    """Whether a module needs more than one value; a SyncBatchNorm takes those of all ranks."""
    return (
        isinstance(module, _BatchNorm)
        and module.training
        and not isinstance(module, nn.SyncBatchNorm)
    )


def _lone_image(loader: DataLoader, world_size: int) -> tuple[str, str] | None:
    """Return which batch has one image on a rank, and what to do; None if there is none."""
    images, size = len(loader.dataset), loader.batch_size
    last = 0 if loader.drop_last else images % size
    if images >= size and size < 2 * world_size:
        which, advice = "each training batch", "take a larger batch size"
    elif 0 < last < 2 * world_size:
        which, advice = "the last training batch", ADVICE
    else:
        return None
    sizes = f"({images:,} images in batches of {size})"
    if world_size == 1:
        return f"{which} has 1 image {sizes}", advice
    return f"one of {world_size} processes gets 1 image of {which} {sizes}", advice


def _fed_single_values(
    model: nn.Module, norms: dict[nn.Module, str], loader: DataLoader, device: torch.device
) -> str | None:
    """Return the first batch norm that gets one value per channel from one image."""
    fed: list[str] = []

    def look(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        shape = inputs[0].shape
        if shape[0] * prod(shape[2:]) == 1:
            fed.append(norms[module])

    modes = [(module, module.training) for module in model.modules()]
    hooks = [module.register_forward_pre_hook(look) for module in norms]
    random_devices = [] if device.type == "cpu" else [device]
    try:
        model.eval()
        # An error here says nothing of batches in training mode.
        with suppress(Exception), torch.no_grad(), torch.random.fork_rng(random_devices):
            model(torch.zeros(1, *loader.sample_shape, dtype=loader.dtype, device=device))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
    return next(iter(fed), None)
