"""How pictures are preprocessed, and why, in words."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnist_sgd.data.pictures.preprocessing_choice import Choice

__all__ = ["OTHERWISE", "preprocessed_text"]

PREPROCESSED = {
    "mnist": "preprocessed as drawn characters (--preprocess mnist)",
    "fit": "shown whole, in their proportions (--preprocess fit)",
    "stretch": "shown whole, stretched to a square (--preprocess stretch)",
}

OTHERWISE = {
    "mnist": "for whole pictures: --preprocess fit",
    "fit": "for drawn characters: --preprocess mnist",
}


def preprocessed_text(preprocessing: str, choice: "Choice | None" = None) -> str:
    """How pictures are preprocessed; if the pictures decided it, also why and how to change it.

    Args:
        preprocessing: mnist, fit or stretch.
        choice: of the preprocessing; None where the user or a model says it.
    """
    how = PREPROCESSED[preprocessing]
    return how if choice is None else f"{how}: {choice}; {OTHERWISE[preprocessing]}"
