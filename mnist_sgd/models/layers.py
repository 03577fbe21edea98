"""Layers for the edges and the grey levels of a picture.

Whole pictures differ in more than shapes: flat or shaded areas, outlines, the greys that an artist
uses. A few hundred pictures are too few to learn such features from pixels.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

SOFTENING = 1e-3
"""Added under a square root, whose slope at 0 would be infinite."""


class Edges(nn.Module):
    """Append two channels: how much each pixel differs from the next in its row and its column.

    Float `[B, 1, H, W]` to `[B, 3, H, W]`: the images and the square roots of the absolute
    differences. The root makes faint edges count.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Append the edges."""
        along = pad(images[..., 1:] - images[..., :-1], (0, 1))
        down = pad(images[..., 1:, :] - images[..., :-1, :], (0, 0, 0, 1))
        return torch.cat([images, self._root(along), self._root(down)], dim=1)

    def _root(self, differences: Tensor) -> Tensor:
        return (differences.abs() + SOFTENING).sqrt()


class Histogram(nn.Module):
    """Compute a differentiable histogram of an image's grey levels.

    Float `[B, 1, H, W]` in 0 to 1 to `[B, bins]`: the square roots of the fractions of pixels in
    each bin, scaled so that they are about 1 if all fractions are equal. Every second pixel of
    every second row counts. A pixel between two bins is interpolated, so that there is a gradient.

    Args:
        bins: number of grey levels, evenly spaced from 0 to 1; at least 2.
    """

    below: Tensor

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins
        steps = torch.arange(float(bins - 1)).reshape(1, bins - 1, 1, 1)
        self.register_buffer("below", steps, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the histogram."""
        # Differences of sums over all pixels need float32, whatever the model's dtype.
        steps = images[..., ::2, ::2].float() * (self.bins - 1) - self.below.float()
        above = steps.clamp(0, 1).mean((2, 3))  # the fraction above each level but the last
        every = torch.ones_like(above[:, :1])
        fractions = torch.cat([every, above], dim=1) - torch.cat([above, 0 * every], dim=1)
        return (fractions * self.bins + SOFTENING).sqrt().to(images.dtype)

    def extra_repr(self) -> str:
        """The number of bins, for the layer's `repr`."""
        return str(self.bins)


class Sum(nn.ModuleList):
    """Sum the outputs of several modules for the same input."""

    def forward(self, images: Tensor) -> Tensor:
        """Add the outputs."""
        first, *others = self
        total: Tensor = first(images)
        for module in others:
            total = total + module(images)
        return total
