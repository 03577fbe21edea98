"""How models of threes and sevens answer photographs with troubles, and small digits: a table.

    python tests/support/answers.py MODEL... [--count 80] [--seed 0]

A cell has the numbers of right answers, of pictures refused, of wrong answers, and of those wrong
answers that have a probability above 0.99.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_sgd.data import mnist_sample
from mnist_sgd_serve import BlankImage, Predictor
from small_digits import counted, typed
from troubles import TROUBLES, photographs

Pictures = list[tuple[NDArray[np.uint8], bool]]


@dataclass
class Answers:
    """How many pictures were answered in which way; `sure` of the wrong ones above 0.99."""

    right: int = 0
    refused: int = 0
    wrong: int = 0
    sure: int = 0

    @classmethod
    def of(cls, predictor: Predictor, pictures: Pictures) -> "Answers":
        """Ask a model whose positive class is the three."""
        answers = cls()
        for picture, three in pictures:
            try:
                probability = predictor.predict(picture).probability
            except BlankImage:
                answers.refused += 1
                continue
            of_the_digit = probability if three else 1 - probability
            answers.right += of_the_digit > 0.5
            answers.wrong += of_the_digit <= 0.5
            answers.sure += of_the_digit < 0.01
        return answers

    def __str__(self) -> str:
        return f"{self.right}, {self.refused}, {self.wrong}, {self.sure}"


def sets(count: int, seed: int) -> Iterator[tuple[str, Pictures]]:
    """Give each kind of pictures by its name."""
    for trouble in TROUBLES:
        yield trouble, list(photographs(trouble, count, seed=seed))
    _, valid = mnist_sample()
    rows = np.linspace(0, len(valid) - 1, 4 * count).astype(int)
    yield "8 x 8 pixels", [(counted(valid.images[n]), bool(valid.labels[n])) for n in rows]
    yield "type of 12 pixels", typed(12)


def main() -> None:
    """Print the table, a row at a time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--count", type=int, default=80, help="photographs of each trouble")
    parser.add_argument("--seed", type=int, default=0, help="of the photographs")
    options = parser.parse_args()
    predictors = [Predictor(path) for path in options.models]
    print("| pictures | n |", *(f"{path} |" for path in options.models))
    print("| --- | --- |" + " --- |" * len(predictors))
    for name, pictures in sets(options.count, options.seed):
        cells = [f"{Answers.of(predictor, pictures)} |" for predictor in predictors]
        print(f"| {name} | {len(pictures)} |", *cells, flush=True)


if __name__ == "__main__":
    main()
