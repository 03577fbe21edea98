"""What a learner gets right and wrong, in pictures: fastai's interpretation of a classifier.

interp = ClassificationInterpretation.from_learner(learn)
interp.plot_confusion_matrix()
interp.plot_top_losses(9)
"""

from collections.abc import Iterable
from typing import Any, Self, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnist_sgd.data import ImageSet
from mnist_sgd.loader.batch_images import class_names, images_of, titles_of
from mnist_sgd.loader.dataloader import Batch, DataLoader, first
from mnist_sgd.report.image_grid import Layout, draw_images, most_images
from mnist_sgd.report.palette import NEGATIVE
from mnist_sgd.report.plot_style import drawn_name, plot_style
from mnist_sgd.training.batch_errors import check_same_shape


class ClassificationInterpretation:
    """A model's predictions of a set of images, and the loss of each: fastai's class.

    Args:
        learn: the learner.
        ds_idx: 0 for its training, 1 for its validation batches.
        dl: a `DataLoader` of an `ImageSet`, instead of these.

    Attributes:
        vocab: the class names in label order.
        preds: probabilities of the positive class, `[N]`.
        targs: the labels, `[N]`.
        decoded: the predicted labels, `[N]`, at a threshold of 0.5.
        losses: the learner's loss of each image by itself, `[N]`.

    Raises:
        TypeError: the images are not from this package's `DataLoader` of an `ImageSet`.
        ValueError: the model has several outputs.
    """

    def __init__(self, learn: Any, ds_idx: int = 1, dl: DataLoader | None = None) -> None:
        batches: Any = learn._batches(ds_idx if dl is None else dl)
        self.vocab = class_names(batches)
        if type(batches) is not DataLoader:
            raise TypeError(
                "an interpretation needs a mnist_sgd.DataLoader, whose images have an order, got "
                f"{type(batches).__module__}.{type(batches).__qualname__}"
            )
        logits, targets = learn.get_preds(batches, act=None)
        check_same_shape("ClassificationInterpretation", logits, targets)
        device = learn.ranks.device  # a loss may have parameters there
        pairs = zip(logits.to(device).split(1), targets.to(device).split(1), strict=True)
        with torch.no_grad():
            losses = [learn.loss_func(*pair).mean().cpu() for pair in pairs]
        self.preds, self.targs = logits.sigmoid().flatten(), targets.flatten()
        self.decoded = (self.preds > 0.5).long()
        self.losses = torch.stack(losses)
        self._images: NDArray[np.uint8] = batches.dataset.images

    @classmethod
    def from_learner(cls, learn: Any, ds_idx: int = 1, dl: DataLoader | None = None) -> Self:
        """Predict the images; the arguments are those of the class."""
        return cls(learn, ds_idx, dl)

    def top_losses(self, k: int | None = None, largest: bool = True) -> tuple[Tensor, Tensor]:
        """Return the `k` largest or smallest losses and the indices of their images, each `[k]`.

        Args:
            k: how many, at most as many as there are images; None for all.
            largest: whether the largest come first, else the smallest.
        """
        count = len(self.losses)
        losses, indices = self.losses.topk(count if k is None else min(k, count), largest=largest)
        return losses, indices

    def confusion_matrix(self) -> NDArray[np.int64]:
        """Return the counts, int64 `[2, 2]`: actual classes in rows, predicted ones in columns."""
        places = 2 * self.targs.long() + self.decoded
        return torch.bincount(places, minlength=4).reshape(2, 2).numpy()

    def most_confused(self, min_val: int = 1) -> list[tuple[str, str, int]]:
        """List (actual, predicted, count) of the misclassified images, the most frequent first.

        Args:
            min_val: the least count that is listed.
        """
        counts = self.confusion_matrix()
        pairs = [(self.vocab[i], self.vocab[1 - i], int(counts[i, 1 - i])) for i in (0, 1)]
        return sorted((one for one in pairs if one[2] >= min_val), key=lambda one: -one[2])

    def plot_confusion_matrix(
        self, normalize: bool = False, title: str = "Confusion matrix", **figure: Any
    ) -> None:
        """Draw the confusion matrix as a new figure of pyplot.

        Args:
            normalize: show fractions of the actual class instead of counts.
            title: heading.
            figure: arguments of `pyplot.figure`, such as `figsize` and `dpi`.

        Raises:
            ImportError: matplotlib is missing.
        """
        counts = self.confusion_matrix()
        shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
        names = [drawn_name(name) for name in self.vocab]
        with plot_style():
            from matplotlib import pyplot
            from matplotlib.colors import LinearSegmentedColormap

            cmap = LinearSegmentedColormap.from_list("counts", ["#ffffff", NEGATIVE.light])
            _, axes = pyplot.subplots(**{"figsize": (4, 4)} | figure)
            axes.imshow(shares, cmap=cmap, vmin=0, vmax=1)
            axes.grid(visible=False)
            axes.set(title=title, xlabel="Predicted", ylabel="Actual")
            axes.set_xticks((0, 1), names)
            axes.set_yticks((0, 1), names, rotation=90, va="center")
            for (row, column), count in np.ndenumerate(counts):
                share = shares[row, column]
                text = f"{share:.2f}" if normalize else f"{count:,}"
                colour = "white" if share > 0.5 else "black"
                axes.text(column, row, text, ha="center", va="center", color=colour)

    def plot_top_losses(self, k: int, largest: bool = True, **layout: Unpack[Layout]) -> None:
        """Draw the `k` images of the largest losses, see `top_losses`, as a new figure of pyplot.

        A title has the predicted class, the actual one, the loss, and the probability of the
        predicted class.

        Args:
            k: how many, at most as many as there are images.
            largest: whether the largest come first, else the smallest.
            layout: as of `DataLoaders.show_batch`.

        Raises:
            ImportError: matplotlib is missing.
        """
        losses, indices = self.top_losses(k, largest)
        titles = []
        for loss, i in zip(losses.tolist(), indices.tolist(), strict=True):
            predicted, probability = int(self.decoded[i]), float(self.preds[i])
            confidence = probability if predicted else 1 - probability
            names = f"{self.vocab[predicted]}/{self.vocab[int(self.targs[i])]}"
            titles.append(f"{names}\n{loss:.2f}/{confidence:.2f}")
        images = self._images[indices.numpy()]
        draw_images(images, titles, layout, heading="Prediction/Actual/Loss/Probability")


def show_results(learn: Any, batches: Iterable[Batch], max_n: int, layout: Layout) -> None:
    """Draw images with their actual and their predicted class, see `Learner.show_results`."""
    max_n = most_images(max_n, layout)
    if isinstance(batches, DataLoader) and isinstance(batches.dataset, ImageSet):
        count = min(max_n, len(batches.dataset))
        rows = np.arange(count) * len(batches.dataset) // max(count, 1)
        xb = batches.normalize(batches.dataset.images[rows])
        yb = torch.tensor(batches.dataset.labels[rows].reshape(-1, 1))
    else:
        xb, yb = (each[:max_n] for each in first(batches))
    probabilities, targets = learn.get_preds([(xb, yb)])
    check_same_shape("show_results", probabilities, targets)
    actual = titles_of(targets, batches)
    predicted = titles_of((probabilities > 0.5).long(), batches)
    draw_images(
        images_of(xb, batches),
        [f"{one}\n{other}" for one, other in zip(actual, predicted, strict=True)],
        layout,
        right=[one == other for one, other in zip(actual, predicted, strict=True)],
        heading="Actual/Predicted",
    )
