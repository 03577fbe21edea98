"""What a model is made of: its layers, the shapes of what they give, their parameters."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from mnist_sgd.models.wrappers import unwrapped

__all__ = [
    "ENDS_IN_SIGMOID",
    "Layer",
    "ends_in_sigmoid",
    "evaluating",
    "is_from_sigmoid",
    "layers",
    "summary",
]

ENDS_IN_SIGMOID = (
    "the model ends in a sigmoid, and what makes probabilities of its logits applies another, "
    "after which all are above 0.5; leave the model's own out, and train on logits (mnist_loss, "
    "cross_entropy)"
)

RESHAPING = ("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Alias", "ToCopy")
"""How autograd's names of operations begin that change no value."""


@dataclass(frozen=True)
class Layer:
    """A module as it was called.

    Attributes:
        name: its path in the model, as in `state_dict`; empty for the model itself.
        kind: the name of its class.
        output: the shape of what it gave, without the batch; None if that was no tensor.
        parameters: how many numbers are its own; 0 where it was called before.
    """

    name: str
    kind: str
    output: tuple[int, ...] | None
    parameters: int


def layers(model: nn.Module, input_shape: tuple[int, ...] = (784,)) -> list[Layer]:
    """The modules that compute, in the order in which they are called for a blank image.

    These are the ones without modules inside or with parameters of their own. The model is called
    once, in evaluation mode and without gradients, and is afterwards as it was.

    Args:
        model: takes `[B, *input_shape]`, float32 or the dtype of its first parameter; of a wrapped
            one, as by `torch.compile`, the layers of the model inside are listed.
        input_shape: of one image.
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
    """Whether the last step of a model is a sigmoid, so that it gives probabilities.

    Args:
        model: of a wrapped one, as by `torch.compile`, the model inside is asked.
        xb: a batch; if its numbers are integers, a model without trainable weights says no.
    """
    xb = xb.detach().clone()
    xb.requires_grad_(xb.is_floating_point())
    with evaluating(unwrapped(model)), torch.enable_grad():
        return is_from_sigmoid(unwrapped(model)(xb))


def is_from_sigmoid(predictions: object) -> bool:
    """Whether the last step of what gave these predictions was a sigmoid, as autograd knows it."""
    step = getattr(predictions, "grad_fn", None)
    while step is not None and step.name().startswith(RESHAPING):
        step = step.next_functions[0][0]
    return step is not None and step.name().startswith("Sigmoid")


def summary(model: nn.Module, input_shape: tuple[int, ...] = (784,)) -> str:
    """A table of `layers`, a line each, and the number of all parameters.

    Args:
        model: takes float32 `[B, *input_shape]`.
        input_shape: of one image.
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
    return "\n".join(
        f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {output:<{widths[2]}}  {count:>{widths[3]}}"
        for name, kind, output, count in rows
    )


def _shape(output: tuple[int, ...] | None) -> str:
    return "-" if output is None else f"[{', '.join(['B', *map(str, output)])}]"


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put all modules in evaluation mode, without gradients, and each back in its own."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in before.items():
            module.training = training
