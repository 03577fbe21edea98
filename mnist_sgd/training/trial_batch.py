"""Try a fit's model, loss and metrics on one image, before the fit prints anything.

Only what surely has no side effect is called: layers of torch and of this package, in evaluation
mode, and the losses and metrics of both. Custom code may draw random numbers or count its calls, so
that its errors come with the first batch.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, nll_loss

from mnist_sgd.data import ImageSet
from mnist_sgd.loader.dataloader import DataLoader
from mnist_sgd.loader.items import ItemLoader
from mnist_sgd.models.summary import evaluating
from mnist_sgd.models.wrappers import unwrapped
from mnist_sgd.training.batch_errors import (
    raise_explained,
    raise_explained_forward,
    takes_logits,
)
from mnist_sgd.training.callbacks.base import Callback, defines
from mnist_sgd.training.recorder import metric_name

_OURS = ("mnist_sgd.", "torch.nn.modules.")

_OF_CLASSES, _FUNCTIONAL = (nn.CrossEntropyLoss, nn.NLLLoss), (cross_entropy, nll_loss)


def check_trial(learn: Any) -> None:
    """Refuse a model or a loss that cannot be trained on the batches.

    Only batches of this package's loader are tried, and only without callbacks that may change
    them.

    Args:
        learn: at the beginning of a fit. Nothing changes: neither random states, nor the statistics
            of batch norms, nor the position of a loader.

    Raises:
        RuntimeError: the model cannot take the batches.
        TypeError: the loss takes one output per class, or a dtype is wrong.
        ValueError: the loss or a metric cannot take the model's output.
    """
    batch = _sample(learn.dls.train)
    if batch is None or any(map(_may_change, learn.active_cbs)):
        return
    xb, yb = (each.to(learn.ranks.device) for each in batch)
    loss_func, model = learn.loss_func, unwrapped(learn.model)
    if yb.shape[1:] == (1,) and (type(loss_func) in _OF_CLASSES or loss_func in _FUNCTIONAL):
        raise TypeError(
            f"{metric_name(loss_func)} takes one output per class, and for two classes the model "
            "has a single one, [B, 1]: give loss_func=mnist_sgd.cross_entropy"
        )
    if not all(map(_is_plain, model.modules())):
        return
    with evaluating(model):
        try:
            pred = model(xb)
        except (RuntimeError, ValueError) as error:
            error.add_note(f"the batches are {_shape(xb, learn.dls.train)}")
            raise_explained_forward(error, model, xb)
        for function in filter(_is_known, (loss_func, *learn.metrics)):
            try:
                function(pred, yb)
            except Exception as error:
                raise_explained(error, function, pred, yb)


def _sample(batches: object) -> tuple[Tensor, Tensor] | None:
    """Return a batch of the first item, twice, of this package's loader; None for other batches."""
    if type(batches) is not DataLoader:
        return None
    if isinstance(batches._core, ItemLoader):
        x, y = batches._core.items.x, batches._core.items.y
    else:
        data: ImageSet = batches.dataset
        x, y = batches.normalize(data.images[:1]), torch.tensor([[int(data.labels[0])]])
    return torch.cat([x, x]), torch.cat([y, y])  # one alone has no batch statistics


def _shape(xb: Tensor, loader: DataLoader) -> str:
    """Describe the shape of batches; of images, how to get another one."""
    advice = ""
    if isinstance(loader.dataset, ImageSet):
        flatten, shape = (False, "[B, 1, 28, 28]") if xb.ndim == 2 else (True, "[B, 784]")
        advice = f"; DataLoader(flatten={flatten}) makes them {shape}"
    return f"[{', '.join(['B', *map(str, xb.shape[1:])])}]{advice}"


def _is_plain(module: nn.Module) -> bool:
    """Whether calling a module in evaluation mode has no side effect."""
    hooks = module._forward_hooks or module._forward_pre_hooks
    return type(module).__module__.startswith(_OURS) and not hooks and "forward" not in vars(module)


def _is_known(function: Any) -> bool:
    """Whether a loss or a metric is this package's or torch's own, and so without side effects."""
    compiled = hasattr(function, "_torchdynamo_orig_callable")
    return (
        takes_logits(function)
        and not compiled
        and (not isinstance(function, nn.Module) or _is_plain(function))
    )


def _may_change(callback: Callback) -> bool:
    """Whether a callback may change the model, the batch or the predictions."""
    return not type(callback).__module__.startswith("mnist_sgd.") or any(
        defines(callback, event) for event in ("before_batch", "after_pred")
    )
