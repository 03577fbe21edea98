"""List the layers of a model with their output shapes and numbers of parameters."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from mnist_sgd.models.wrappers import unwrapped

ENDS_IN_SIGMOID = (
    "the model ends in a sigmoid, and its output goes through another, after which all "
    "probabilities are above 0.5; remove the model's own, and train on logits (mnist_loss, "
    "cross_entropy)"
)

RESHAPING = ("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Alias", "ToCopy")
"""Prefixes of autograd's names for operations that change no value."""


class Table(str):
    """Text of several lines that the interpreter and a notebook show as it is printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Layer:
    """One call of a module.

    Attributes:
        name: its path in the model, as in `state_dict`; empty for the model itself.
        kind: the name of its class.
        output: the shape of its output without the batch; None if that was no tensor.
        parameters: number of its own parameters; those of an earlier layer are not counted again.
    """

    name: str
    kind: str
    output: tuple[int, ...] | None
    parameters: int


def layers(model: nn.Module, input_shape: tuple[int, ...] = (784,)) -> list[Layer]:
    """List the modules that compute, in the order in which they are called for a blank image.

    These are the modules without children or with parameters of their own. The model is called
    once, in evaluation mode and without gradients, and stays unchanged.

    Args:
        model: takes `[B, *input_shape]`, float32 or the dtype of its first parameter; of a wrapped
            one, as by `torch.compile`, the layers of the model inside are listed.
        input_shape: shape of one image.
    """
    model = unwrapped(model)
    called: list[Layer] = []
    seen: set[nn.Parameter] = set()

    def note(name: str, module: nn.Module, inputs: object, output: object) -> None:
        own = set(module.parameters(recurse=False)) - seen
        seen.update(own)
        shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else None
        called.append(Layer(name, type(module).__name__, shape, sum(p.numel() for p in own)))

    hooks = [
        module.register_forward_hook(partial(note, name))
        for name, module in model.named_modules()
        if not list(module.children()) or list(module.parameters(recurse=False))
    ]
    first = next(model.parameters(), torch.empty(0))
    dtype = first.dtype if first.is_floating_point() else torch.float32
    try:
        with evaluating(model):
            model(torch.zeros(1, *input_shape, device=first.device, dtype=dtype))
    finally:
        for hook in hooks:
            hook.remove()
    return called


def ends_in_sigmoid(model: nn.Module, xb: Tensor) -> bool:
    """Whether the last operation of a model is a sigmoid, so that it returns probabilities.

    Args:
        model: any model, wrapped or not.
        xb: a batch. For one of integers the result is False if the model has no trainable weights.
    """
    xb = xb.detach().clone()
    xb.requires_grad_(xb.is_floating_point())
    with evaluating(unwrapped(model)), torch.enable_grad():
        return is_from_sigmoid(unwrapped(model)(xb))


def is_from_sigmoid(predictions: object) -> bool:
    """Whether autograd records a sigmoid as the last operation on these predictions."""
    step = getattr(predictions, "grad_fn", None)
    while step is not None and step.name().startswith(RESHAPING):
        step = step.next_functions[0][0]
    return step is not None and step.name().startswith("Sigmoid")


def summary(model: nn.Module, input_shape: tuple[int, ...] = (784,)) -> str:
    """Format `layers` as a table, with the total number of parameters.

    Args:
        model: takes float32 `[B, *input_shape]`.
        input_shape: shape of one image.
    """
    model = unwrapped(model)
    rows = [("layer", "", "output", "parameters")]
    for each in layers(model, input_shape):
        count = f"{each.parameters:,}" if each.parameters else "-"
        rows.append((each.name, each.kind, _shape(each.output), count))
    parameters = list(model.parameters())
    rows.append(("total", "", "", f"{sum(p.numel() for p in parameters):,}"))
    frozen = sum(p.numel() for p in parameters if not p.requires_grad)
    if frozen:
        rows.append(("of which not trained", "", "", f"{frozen:,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return Table(
        "\n".join(
            f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {output:<{widths[2]}}  {count:>{widths[3]}}"
            for name, kind, output, count in rows
        )
    )


def _shape(output: tuple[int, ...] | None) -> str:
    return "-" if output is None else f"[{', '.join(['B', *map(str, output)])}]"


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Use evaluation mode without gradients, and restore each module's mode afterwards."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in before.items():
            module.training = training
