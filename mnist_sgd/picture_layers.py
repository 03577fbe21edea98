"""Layers that show a network the edges and the tones of a picture.

Whole pictures are told apart by more than shapes: flat areas or shaded ones, outlines, the greys
that an artist uses. A few hundred pictures do not suffice to learn such features from pixels.
"""

from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

__all__ = ["Edges", "Sum", "Tones"]

_SOFTENING = 1e-3
"""Added below the root of a difference, whose slope would be infinite at 0."""
_AT_ONCE = 8
"""Tones that are counted together: all at once would take 400 KB for each image."""


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


class Tones(nn.Module):
    """Counts how much of an image has each tone, wherever it is.

    Float `[B, 1, H, W]` in 0 to 1 to `[B, count]`: the roots of the tones' shares of the pixels,
    scaled so that they are about 1 where all shares are equal. A pixel between two tones counts for
    both, the more for the nearer one.

    Args:
        count: how many tones there are, evenly spaced from 0 to 1.
    """

    tones: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.register_buffer("tones", torch.linspace(0, 1, count), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Count the tones."""
        pixels = images.flatten(1).unsqueeze(1)
        shares = [
            (1 - (pixels - self.tones[first : first + _AT_ONCE, None]).abs() * (self.count - 1))
            .relu()
            .mean(2)
            for first in range(0, self.count, _AT_ONCE)
        ]
        return (torch.cat(shares, dim=1) * self.count + _SOFTENING).sqrt()

    def extra_repr(self) -> str:
        """The number of tones, for the layer's text."""
        return str(self.count)


class Sum(nn.ModuleList):
    """Gives the sum of what several modules make of the same images."""

    def forward(self, images: Tensor) -> Tensor:
        """Ask each of them."""
        total: Tensor = reduce(torch.add, (module(images) for module in self))
        return total
