"""Pictures that the preprocessing refuses have no answer, so they count as not right."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnist_sgd.data import ImageSet
    from mnist_sgd.evaluation import Evaluation

__all__ = ["accuracy", "all_pictures", "count_right", "refused_clause", "refused_text"]


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
    return f"; {refused_clause(data.refused, how=f' (--preprocess {data.preprocessing})')}"


def refused_clause(count: int, total: int | None = None, how: str = "") -> str:
    """How many pictures were refused, and that they count.

    Args:
        count: of the refused pictures, above 0.
        total: of all pictures, if it is to be said.
        how: follows "refused".
    """
    verb, counts = ("was", "counts") if count == 1 else ("were", "count")
    pictures = "picture" if count == 1 and total is None else "pictures"
    all_of = "" if total is None else f" of {total:,}"
    return f"{count:,}{all_of} {pictures} {verb} refused{how} and {counts} as not right"
