"""Pictures that the preprocessing refuses have no prediction, so they count as errors."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet
    from mnist_sgd.evaluation import Evaluation


def all_pictures(data: "ImageSet") -> int:
    """Count the pictures of a set, refused ones included."""
    return len(data) + data.refused


def count_right(evaluation: "Evaluation") -> int:
    """Count the images classified correctly."""
    return evaluation.counts.true_negative + evaluation.counts.true_positive


def accuracy(evaluation: "Evaluation", data: "ImageSet") -> float:
    """The fraction of all pictures of a set that are classified correctly, in [0, 1]."""
    return count_right(evaluation) / all_pictures(data)


def refused_text(data: "ImageSet") -> str:
    """Note on refused pictures for the line with the accuracy; empty if there are none."""
    if not data.refused:
        return ""
    return f"; {refused_clause(data.refused, how=f' (--preprocess {data.preprocessing})')}"


def refused_clause(count: int, total: int | None = None, how: str = "") -> str:
    """Say how many pictures were refused, and that they count.

    Args:
        count: number of refused pictures, above 0.
        total: number of all pictures, if it should be mentioned.
        how: text after "refused".
    """
    verb, counts = ("was", "counts") if count == 1 else ("were", "count")
    pictures = "picture" if count == 1 and total is None else "pictures"
    all_of = "" if total is None else f" of {total:,}"
    return f"{count:,}{all_of} {pictures} {verb} refused{how} and {counts} as not right"
