"""What loading data gives: a training and a validation set, and what is to be said of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnist_sgd.data.imageset import ImageSet

if TYPE_CHECKING:
    from mnist_sgd.data.pictures.preprocessing_choice import Choice


@dataclass(frozen=True)
class LoadedData:
    """A training and a validation set.

    Attributes:
        train: the training set.
        valid: the validation set.
        notes: warnings about the data, one sentence each.
        choice: why the preprocessing was chosen; None if the user chose it.
    """

    train: ImageSet
    valid: ImageSet
    notes: tuple[str, ...] = ()
    choice: "Choice | None" = None
