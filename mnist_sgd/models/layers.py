"""Layers that show a network the edges and the grey levels of a picture.

Whole pictures are told apart by more than shapes: flat areas or shaded ones, outlines, the greys
that an artist uses. A few hundred pictures do not suffice to learn such features from pixels.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

__all__ = ["Edges", "Histogram", "Sum"]

_SOFTENING = 1e-3
"""Added below the root of a difference, whose slope would be infinite at 0."""


class Edges(nn.Module):
    """Adds how much each pixel differs from the next one in its row, and in its column.

    Float `[B, 1, H, W]` to `[B, 3, H, W]`: the images and the roots of the two differences. The
    root makes faint edges count, whichever side is the darker one.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Add the edges."""
        along = pad(images[..., 1:] - images[..., :-1], (0, 1))
        down = pad(images[..., 1:, :] - images[..., :-1, :], (0, 0, 0, 1))
        return torch.cat([images, self._root(along), self._root(down)], dim=1)

    def _root(self, differences: Tensor) -> Tensor:
        return (differences.abs() + _SOFTENING).sqrt()


class Histogram(nn.Module):
    """Counts how many pixels of an image have each grey level, wherever they are.

    Float `[B, 1, H, W]` in 0 to 1 to `[B, bins]`: the roots of the shares of every second pixel of
    every second row, scaled so that they are about 1 where all shares are equal. A pixel between
    the levels of two bins counts for both, the more for the nearer one: so there is a gradient.

    Args:
        bins: how many grey levels are told apart, evenly spaced from 0 to 1.
    """

    below: Tensor

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins
        steps = torch.arange(float(bins - 1)).reshape(1, bins - 1, 1, 1)
        self.register_buffer("below", steps, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Count the grey levels."""
        # Sums over all pixels and differences of these need float32, whatever the model's dtype.
        steps = images[..., ::2, ::2].float() * (self.bins - 1) - self.below.float()
        above = steps.clamp(0, 1).mean((2, 3))  # the share above each level, but for the last: 0
        every = torch.ones_like(above[:, :1])
        shares = torch.cat([every, above], dim=1) - torch.cat([above, 0 * every], dim=1)
        return (shares * self.bins + _SOFTENING).sqrt().to(images.dtype)

    def extra_repr(self) -> str:
        """The number of bins, for the layer's text."""
        return str(self.bins)


class Sum(nn.ModuleList):
    """Gives the sum of what several modules make of the same images."""

    def forward(self, images: Tensor) -> Tensor:
        """Ask each of them."""
        first, *others = self
        total: Tensor = first(images)
        for module in others:
            total = total + module(images)
        return total
