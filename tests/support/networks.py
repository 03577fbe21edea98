"""Models with a state or a behaviour that a plain linear model lacks."""

import torch
from torch import Tensor, nn

__all__ = ["Centred", "compiled", "dropping"]


def dropping(p: float = 0.5) -> nn.Module:
    """A model that draws random numbers and has buffers."""
    layers = nn.Linear(784, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(p), nn.Linear(8, 1)
    return nn.Sequential(*layers)


class Centred(nn.Module):
    """A linear model, of given weights, with a running mean that is in no `state_dict`."""

    run: Tensor

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(784, 1)
        self.register_buffer("run", torch.zeros(784), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.run.mul_(0.9).add_(x.mean(0) * 0.1)
        logits: Tensor = self.layer(x - self.run)
        return logits


def compiled(model: nn.Module) -> nn.Module:
    """The model as `torch.compile` wraps it, without the time that generating code takes."""
    made: nn.Module = torch.compile(model, backend="eager")  # type: ignore[assignment]
    return made
