"""What the chapter prints lies among what our code prints from 400 random starts.

`tests/chapter/printed.json` has the figures of two printed runs of the chapter, and
`tests/chapter/bands.json` what `tools/make_chapter_bands.py` found in 400 trainings of ours. To do
those again takes minutes, so that one test compares the two files, and two others run the code.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from chapter_figures import TRAININGS, chapter_figures
from mnist_sgd import DataLoader, mnist_sample

FOLDER = Path(__file__).parents[1] / "chapter"
PRINTED: dict[str, Any] = json.loads((FOLDER / "printed.json").read_text())
BANDS: dict[str, Any] = json.loads((FOLDER / "bands.json").read_text())

AFTER_EPOCHS = {
    "by_hand": 21,
    "basic_optim": 20,
    "sgd": 20,
    "train_loss": 10,
    "valid_loss": 10,
    "batch_accuracy": 10,
}


Loaders = tuple[DataLoader, DataLoader]


@pytest.fixture(scope="module")
def loaders() -> Loaders:
    train, valid = mnist_sample()
    return DataLoader(train, batch_size=256), DataLoader(valid, batch_size=256)


@pytest.mark.parametrize("run", PRINTED)
def test_a_run_of_the_chapter_prints_91_accuracies_and_losses(run: str) -> None:
    assert {name: len(PRINTED[run][name]) for name in AFTER_EPOCHS} == AFTER_EPOCHS
    assert sum(AFTER_EPOCHS.values()) == 91


@pytest.mark.parametrize("run", PRINTED)
def test_the_chapters_91_figures_lie_in_the_99_percent_band_of_400_starts(run: str) -> None:
    """Which says little of by_hand: 6 of the 400 hardly learn, so its bands go down to 0.48."""
    assert BANDS["starts"] == 400
    assert BANDS["quantiles"] == {"low": 0.005, "median": 0.5, "high": 0.995}
    outside = {
        (name, epoch): figure
        for name in ("before", *AFTER_EPOCHS)
        for epoch, (figure, low, high) in enumerate(
            zip(
                PRINTED[run][name],
                BANDS["bands"][name]["low"],
                BANDS["bands"][name]["high"],
                strict=True,
            )
        )
        if not low <= figure <= high
    }
    assert outside == {}


@pytest.mark.parametrize("training", TRAININGS)
@pytest.mark.parametrize("run", PRINTED)
def test_from_the_nearest_of_the_400_starts_our_code_goes_the_chapters_way(
    run: str, training: str, loaders: Loaders
) -> None:
    """All along, to 0.01: most starts are 0.05 or more away somewhere."""
    figures = chapter_figures(BANDS["nearest"][run][training], *loaders, trainings=[training])
    for name in TRAININGS[training]:
        assert figures[name] == pytest.approx(PRINTED[run][name], abs=0.01), name


@pytest.mark.parametrize("seed", BANDS["figures_of"])
def test_the_bands_are_of_this_code(seed: str, loaders: Loaders) -> None:
    """On the processor that made them the figures are equal; another one may round otherwise."""
    kept = BANDS["figures_of"][seed]
    again = chapter_figures(int(seed), *loaders)
    assert again.keys() == kept.keys()
    for name, figures in again.items():
        assert figures == pytest.approx(kept[name], abs=6e-4), name  # an image, at most
