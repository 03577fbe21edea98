"""Pictures that the preparation refuses have no answer, so they count as not right."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet
    from mnist_sgd.evaluation import Evaluation

__all__ = ["accuracy", "all_pictures", "count_right", "refused_text"]


def all_pictures(data: "ImageSet") -> int:
    """How many pictures belong to a set, the refused ones included."""
    return len(data) + data.refused


def count_right(evaluation: "Evaluation") -> int:
    """How many images are classified correctly."""
    return evaluation.counts.true_negative + evaluation.counts.true_positive


def accuracy(evaluation: "Evaluation", data: "ImageSet") -> float:
    """The share of correct answers among all pictures of a set, in [0, 1]."""
    return count_right(evaluation) / all_pictures(data)


def refused_text(data: "ImageSet") -> str:
    """What the line with the accuracy adds; nothing if no picture was refused."""
    if not data.refused:
        return ""
    one = data.refused == 1
    return (
        f"; {data.refused:,} {'picture was' if one else 'pictures were'} refused "
        f"(--prepare {data.preparation}) and {'counts' if one else 'count'} as not right"
    )
