"""How pictures are prepared, and why, in words."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnist_sgd.data.pictures.choice import Choice

__all__ = ["OTHERWISE", "prepared_text"]

PREPARED = {
    "mnist": "prepared as drawn characters (--prepare mnist)",
    "fit": "shown whole, in their proportions (--prepare fit)",
    "stretch": "shown whole, stretched to a square (--prepare stretch)",
}

OTHERWISE = {
    "mnist": "for whole pictures: --prepare fit",
    "fit": "for drawn characters: --prepare mnist",
}


def prepared_text(preparation: str, choice: "Choice | None" = None) -> str:
    """How pictures are prepared; if it was chosen by the pictures, also why and how to change it.

    Args:
        preparation: mnist, fit or stretch.
        choice: of the preparation; None where the user or a model says it.
    """
    how = PREPARED[preparation]
    return how if choice is None else f"{how}: {choice}; {OTHERWISE[preparation]}"
