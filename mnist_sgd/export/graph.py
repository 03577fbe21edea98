"""The graph in every exported file: uint8 images in, probabilities out.

Normalisation and sigmoid are part of the graph, so a server cannot get them wrong. The arithmetic
is the loader's, in the same order and dtype, so the model sees the values it was trained on.
"""

import math

import torch
from torch import Tensor, nn

from mnist_sgd.models.wrappers import plain_copy

IMAGE_SIZE = (28, 28)
"""Height and width of an image, the only ones in the artifact's format."""


class Classifier(nn.Module):
    """Map uint8 images [B, 28, 28] to probabilities float32 [B, 1] with a trained model.

    It holds a copy of the model, on the CPU, in evaluation mode and without gradients. Of a wrapped
    model, as by `torch.compile`, it copies the one inside.

    Args:
        model: maps `dtype` [B, *input_shape] to logits [B, 1]; it is not changed.
        mean: subtracted from image / 255.
        std: divides the difference; above 0.
        input_shape: shape of one image as the model takes it, (784,) or (1, 28, 28).
        dtype: of the pixels as the model takes them: float32, bfloat16, or uint8 for raw pixels,
            which mean and std do not change.

    Raises:
        ValueError: `input_shape` does not hold the pixels of one image.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        mean: float = 0.0,
        std: float = 1.0,
        input_shape: tuple[int, ...] = (784,),
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if math.prod(input_shape) != math.prod(IMAGE_SIZE):
            raise ValueError(
                f"input_shape must hold the 784 pixels of an image, as (784,) or (1, 28, 28) do; "
                f"got {input_shape}"
            )
        # torch.export's archive warns of weights in another memory format, as the cnn's are.
        self.model = plain_copy(model).cpu().to(memory_format=torch.contiguous_format)
        self.mean = mean
        self.std = std
        self.input_shape = input_shape
        self.dtype = dtype
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        """Return the probabilities float32 [B, 1] of the positive class."""
        return torch.sigmoid(self.logits(image))

    def logits(self, image: Tensor) -> Tensor:
        """Return the logits float32 [B, 1] of uint8 images [B, 28, 28]."""
        logits = self.model(self.pixels(image))
        if not isinstance(logits, Tensor):
            raise TypeError(f"it returns a {type(logits).__name__}, not a tensor of logits [B, 1]")
        return logits if logits.dtype == torch.float32 else logits.to(torch.float32)

    def pixels(self, image: Tensor) -> Tensor:
        """Convert uint8 images [B, 28, 28] as the loader does: to `dtype` [B, *input_shape]."""
        if self.dtype == torch.uint8:
            return image.reshape(-1, *self.input_shape)
        x = image.to(torch.float32) / 255
        if (self.mean, self.std) != (0.0, 1.0):
            x = (x - self.mean) / self.std
        x = x if self.dtype == torch.float32 else x.to(self.dtype)
        return x.reshape(-1, *self.input_shape)


def example_batch() -> Tensor:
    """Two blank images, uint8 [2, 28, 28], to trace with; an axis of 1 would become a constant."""
    return torch.zeros(2, *IMAGE_SIZE, dtype=torch.uint8)
