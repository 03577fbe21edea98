"""An augmented image is what torchvision makes of the same draw, and the draws never change."""

import math
import re
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from mnist_sgd import Augmentation, _core, mnist_sample

Images = NDArray[np.uint8]

DIGITS = mnist_sample()[1].images
NOISE = np.random.default_rng(1).integers(0, 256, (8, 28, 28), np.uint8)
LARGEST = Augmentation(degrees=180, translate=1, scale=(0.1, 10), shear=60)
USUAL = Augmentation(degrees=10, translate=0.1, scale=(0.9, 1.1), shear=5)

NUMBERS = st.integers(0, 2**64 - 1)
DRAWS = st.fixed_dictionaries(
    {
        "angle": st.floats(-360, 360),
        "translate": st.tuples(st.floats(-40, 40), st.floats(-40, 40)),
        "scale": st.floats(0.1, 10),
        "shear": st.floats(-60, 60),
    }
)

every_kernel = pytest.mark.parametrize("kernel", _core.kernels())


def torchvisions(
    images: Images, angle: float, translate: tuple[float, float], scale: float, shear: float
) -> NDArray[np.float32]:
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import affine

    result: torch.Tensor = affine(
        torch.from_numpy(images.astype(np.float32))[:, None],
        angle=angle,
        translate=list(translate),
        scale=scale,
        shear=[shear, 0.0],
        interpolation=InterpolationMode.BILINEAR,
        fill=None,  # 0 outside; fill=0 would darken twice what lies half outside
    )
    return result[:, 0].numpy()


@every_kernel
def test_no_change_at_all_gives_the_same_bytes(kernel: str) -> None:
    for images in (DIGITS[:64], NOISE):
        assert np.array_equal(_core.affine(images, kernel=kernel), images)
        assert np.array_equal(
            Augmentation().core().apply(images, seed=1, epoch=2, kernel=kernel), images
        )


@every_kernel
def test_a_shift_by_whole_pixels_moves_the_bytes_and_zeros_follow(kernel: str) -> None:
    for x in range(-30, 31):
        for y in (-30, -28, -27, -3, 0, 1, 27, 28, 30):
            moved = _core.affine(NOISE, translate=(x, y), kernel=kernel)
            expected = np.zeros((8, 88, 88), np.uint8)
            expected[:, 30 + y : 58 + y, 30 + x : 58 + x] = NOISE
            assert np.array_equal(moved, expected[:, 30:58, 30:58]), (x, y)


@every_kernel
def test_the_edge_goes_on_outside_of_a_whole_picture(kernel: str) -> None:
    padded = np.pad(NOISE, ((0, 0), (30, 30), (30, 30)), mode="edge")
    for x, y in ((-30, -30), (-28, 3), (-1, 0), (0, -2), (5, 27), (30, 30)):
        moved = _core.affine(NOISE, translate=(x, y), outside="edge", kernel=kernel)
        expected = padded[:, 30 - y : 58 - y, 30 - x : 58 - x]
        assert np.array_equal(moved, expected), (x, y)


@settings(deadline=None)
@given(draw=DRAWS, grey=st.integers(0, 255))
def test_even_paper_stays_even_where_the_edge_goes_on(draw: dict[str, Any], grey: int) -> None:
    paper = np.full((1, 28, 28), grey, np.uint8)
    for kernel in _core.kernels():
        assert np.array_equal(_core.affine(paper, outside="edge", kernel=kernel, **draw), paper)


@every_kernel
def test_quarter_turns_are_exact_and_clockwise(kernel: str) -> None:
    for quarters in range(-4, 5):
        turned = _core.affine(NOISE, angle=90 * quarters, kernel=kernel)
        assert np.array_equal(turned, np.rot90(NOISE, -quarters, (1, 2))), quarters


@every_kernel
def test_half_a_pixel_is_the_mean_of_two_rounded_up(kernel: str) -> None:
    halves = _core.affine(NOISE, translate=(-0.5, 0), kernel=kernel)
    wide = NOISE.astype(np.int64)
    assert np.array_equal(halves[:, :, :-1], (wide[:, :, :-1] + wide[:, :, 1:] + 1) >> 1)
    assert np.array_equal(halves[:, :, -1], (wide[:, :, -1] + 1) >> 1)


@settings(deadline=None)
@given(draw=DRAWS, first=st.integers(0, len(DIGITS) - 8))
def test_digits_come_out_as_torchvisions_to_two_grey_levels(
    draw: dict[str, Any], first: int
) -> None:
    digits = DIGITS[first : first + 8]
    difference = np.abs(_core.affine(digits, **draw) - torchvisions(digits, **draw))
    assert difference.max() <= 2


def test_the_usual_digits_are_torchvisions_to_one_grey_level_but_for_one_pixel_in_a_thousand() -> (
    None
):
    chosen = range(0, len(DIGITS), 4)
    ours = USUAL.apply(DIGITS, seed=0, epoch=0)[chosen]
    draws = [USUAL.core().draw(seed=0, epoch=0, sample=i) for i in chosen]
    theirs = [
        torchvisions(DIGITS[i : i + 1], *draw)[0] for i, draw in zip(chosen, draws, strict=True)
    ]
    difference = np.abs(ours - np.stack(theirs))
    assert np.mean(difference > 1) < 0.001
    assert difference.mean() < 0.25  # what rounding alone costs, where pixels are not 0


@settings(deadline=None)
@given(draw=DRAWS, seed=st.integers(0, 2**32 - 1))
def test_every_kernel_gives_the_same_bytes(draw: dict[str, Any], seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (4, 28, 28), np.uint8)
    for outside in ("black", "edge"):
        options = {"outside": outside, **draw}
        results = {
            _core.affine(images, kernel=name, **options).tobytes() for name in _core.kernels()
        }
        assert len(results) == 1


@settings(deadline=None)
@given(
    seed=NUMBERS,
    epoch=NUMBERS,
    first=st.integers(0, 2**63),
    start=st.integers(0, 15),
    data=st.data(),
)
def test_any_part_of_the_images_is_the_slice_of_the_whole(
    seed: int, epoch: int, first: int, start: int, data: st.DataObject
) -> None:
    stop = data.draw(st.integers(start, 16))
    whole = LARGEST.apply(DIGITS[:16], seed=seed, epoch=epoch, first=first)
    part = LARGEST.apply(DIGITS[start:stop], seed=seed, epoch=epoch, first=first + start)
    assert np.array_equal(part, whole[start:stop])


def test_seeds_epochs_and_samples_all_draw_anew() -> None:
    numbers = [*range(20), 2**32, 2**63, 2**64 - 1]
    core = LARGEST.core()
    draws = {
        core.draw(seed=seed, epoch=epoch, sample=sample)
        for seed in numbers
        for epoch in numbers
        for sample in numbers
    }
    assert len(draws) == len(numbers) ** 3


def columns(
    augmentation: Augmentation, seeds: int, epochs: int, samples: int
) -> NDArray[np.float64]:
    """Every draw in numbers, [seeds * epochs * samples, 5]."""
    core = augmentation.core()
    rows = []
    for number in range(seeds * epochs * samples):
        rest, sample = divmod(number, samples)
        seed, epoch = divmod(rest, epochs)
        angle, shift, scale, shear = core.draw(seed=seed, epoch=epoch, sample=sample)
        rows.append((angle, *shift, scale, shear))
    return np.array(rows)


@pytest.mark.parametrize(
    ("seeds", "epochs", "samples"), [(1, 1, 20_000), (1, 20_000, 1), (20_000, 1, 1), (20, 20, 50)]
)
def test_draws_are_uniform_in_their_ranges_and_independent(
    seeds: int, epochs: int, samples: int
) -> None:
    augmentation = Augmentation(degrees=30, translate=0.25, scale=(0.5, 2), shear=20)
    draws = columns(augmentation, seeds, epochs, samples)
    low = np.array([-30, -7, -7, 0.5, -20])
    high = np.array([30, 7, 7, 2, 20])
    assert np.all((draws >= low) & (draws <= high))
    unit = (draws - low) / (high - low)
    for column in unit.T:
        observed = np.bincount((column * 50).astype(int), minlength=50)
        expected = len(column) / 50
        statistic = float(((observed - expected) ** 2 / expected).sum())
        assert abs(statistic - 49) / math.sqrt(2 * 49) < 5
    after = np.vstack([unit.T, np.roll(unit, 1, axis=0).T])  # and those of the draw before
    correlations = np.corrcoef(after)[np.triu_indices(10, 1)]
    assert np.abs(correlations).max() < 5 / math.sqrt(len(draws))


def test_draws_are_not_those_of_the_order() -> None:
    """Whoever comes first in an epoch is not turned one way."""
    count, core = 2000, Augmentation(degrees=1).core()
    order = _core.order(count, seed=7, epoch=3, start=0, stop=count)
    angles = [core.draw(seed=7, epoch=3, sample=int(sample))[0] for sample in order]
    correlation = np.corrcoef(angles, np.arange(count))[0, 1]
    assert abs(correlation) < 5 / math.sqrt(count)


@every_kernel
def test_version_1_of_the_augmentation_never_changes(kernel: str) -> None:
    """What a saved state means hangs on these bytes: another algorithm needs another version."""
    assert _core.AUGMENTATION_VERSION == 1
    digests = [
        sha256(
            augmentation.core()
            .apply(DIGITS[:500], seed=2**64 - 1, epoch=3, first_sample=5, kernel=kernel)
            .tobytes()
        ).hexdigest()
        for augmentation in (USUAL, LARGEST)
    ]
    assert digests == [
        "8a4543d3c09bd4ec18ef7b24ec20b96322a349b7c22ab5b50ab0a3ce4af056a9",
        "340e421d27b7a2a2a384284e4356bddcbf28796165ddbf996d311baa7ab48322",
    ]


def splitmix(state: int, number: int) -> int:
    z = (state + (number + 1) * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


@settings(deadline=None)
@given(seed=NUMBERS, epoch=NUMBERS, sample=NUMBERS)
def test_the_draws_are_those_that_the_header_describes(seed: int, epoch: int, sample: int) -> None:
    state = seed ^ int.from_bytes(b"augment1", "big")
    for number in (0, epoch, sample):
        state = splitmix(state, number)
    angle, x, y, scale, shear = ((splitmix(state, d) >> 11) / 2**53 for d in range(5))
    assert LARGEST.core().draw(seed=seed, epoch=epoch, sample=sample) == (
        -180 + 360 * angle,
        (-28 + 56 * x, -28 + 56 * y),
        0.1 + (10 - 0.1) * scale,
        -60 + 120 * shear,
    )


@settings(deadline=None)
@given(seed=NUMBERS, epoch=NUMBERS, sample=NUMBERS, share=st.floats(0, 1))
def test_a_share_of_the_images_is_changed_as_without_it(
    seed: int, epoch: int, sample: int, share: float
) -> None:
    """And the others stay as they are: draw 5 tells which."""
    state = seed ^ int.from_bytes(b"augment1", "big")
    for number in (0, epoch, sample):
        state = splitmix(state, number)
    where = {"seed": seed, "epoch": epoch, "sample": sample}
    changed = (splitmix(state, 5) >> 11) / 2**53 < share
    expected = LARGEST.core().draw(**where) if changed else (0.0, (0.0, 0.0), 1.0, 0.0)
    assert replace(LARGEST, share=share).core().draw(**where) == expected


@every_kernel
def test_images_that_are_not_changed_keep_every_pixel(kernel: str) -> None:
    images = np.repeat(NOISE, 50, axis=0)
    core = replace(USUAL, share=0.75).core()
    same = np.all(core.apply(images, seed=0, epoch=0, kernel=kernel) == images, axis=(1, 2))
    assert 70 <= np.count_nonzero(same) <= 130  # of 400


@every_kernel
def test_the_memory_around_the_images_is_neither_read_nor_written(kernel: str) -> None:
    draws = [{"angle": 0.0, "translate": (x, y)} for x in (-0.5, 0.5) for y in (-0.5, 0.5)]
    draws += [{"angle": 45.0, "scale": 0.1}, {"angle": 200.0, "scale": 10.0, "shear": 60.0}]
    around = np.full((3, 28, 28), 255, np.uint8)
    around[1] = NOISE[0]
    for draw in draws:
        alone = _core.affine(NOISE[:1], kernel=kernel, **draw)  # type: ignore[arg-type]
        assert np.array_equal(_core.affine(around[1:2], kernel=kernel, **draw), alone)  # type: ignore[arg-type]
    assert np.all(around[[0, 2]] == 255)


def test_the_images_given_stay_as_they_are() -> None:
    images = NOISE.copy()
    result = LARGEST.apply(images, seed=0, epoch=0)
    assert np.array_equal(images, NOISE)
    assert result.shape == (8, 28, 28)
    assert result.dtype == np.uint8
    assert LARGEST.apply(images[:0], seed=0, epoch=0).shape == (0, 28, 28)


def test_every_range_and_the_version_tell_one_augmentation_from_another() -> None:
    others = [
        Augmentation(),
        Augmentation(degrees=1),
        Augmentation(translate=1),
        Augmentation(shear=1),
        Augmentation(scale=(0.5, 1)),
        Augmentation(scale=(1, 2)),
        Augmentation(outside="edge"),
        Augmentation(share=0.5),
        Augmentation(outside="edge", share=0.5),
    ]
    assert len({other.fingerprint() for other in others}) == len(others)
    assert Augmentation(-0.0, shear=-0.0).fingerprint() == Augmentation().fingerprint()
    assert USUAL.fingerprint() == "593cb2469b37cc3e"


def test_it_is_a_value() -> None:
    import copy
    import pickle

    assert Augmentation(10, 0, (1, 2), 5) == Augmentation(10.0, 0.0, (1.0, 2.0), 5.0)
    assert Augmentation(scale=[0.5, 2]) == Augmentation(scale=(0.5, 2))  # type: ignore[arg-type]
    assert hash(Augmentation(10)) == hash(Augmentation(np.float32(10)))  # type: ignore[arg-type]
    assert pickle.loads(pickle.dumps(USUAL)) == copy.copy(USUAL) == USUAL
    with pytest.raises(AttributeError):
        USUAL.degrees = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"degrees": -1}, "degrees must lie in 0 to 180, got -1"),
        ({"degrees": 180.5}, "degrees must lie in 0 to 180, got 180.5"),
        ({"degrees": math.nan}, "degrees must lie in 0 to 180, got nan"),
        ({"translate": -0.1}, "translate must lie in 0 to 1, got -0.1"),
        ({"translate": 3}, "translate must lie in 0 to 1, got 3"),
        ({"scale": (0.05, 1)}, "the low end of scale must lie in 0.1 to 10, got 0.05"),
        ({"scale": (1, 11)}, "the high end of scale must lie in 0.1 to 10, got 11"),
        ({"scale": (1, math.inf)}, "the high end of scale must lie in 0.1 to 10, got inf"),
        ({"scale": (1.1, 0.9)}, "scale must be (low, high) with low at most high, got (1.1, 0.9)"),
        ({"shear": 61}, "shear must lie in 0 to 60, got 61"),
        ({"shear": -math.inf}, "shear must lie in 0 to 60, got -inf"),
    ],
)
def test_what_is_out_of_range_is_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Augmentation(**given)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"degrees": "10"}, "degrees must be a number, got '10'"),
        ({"translate": (0.1, 0.1)}, "translate must be a number, got (0.1, 0.1)"),
        ({"scale": 1.1}, "scale must be a pair of numbers (low, high), got 1.1"),
        ({"scale": (1,)}, "scale must be a pair of numbers (low, high), got (1,)"),
        ({"scale": "12"}, "scale must be a pair of numbers (low, high), got '12'"),
        ({"scale": (None, 1)}, "the low end of scale must be a number, got None"),
        ({"scale": (1, None)}, "the high end of scale must be a number, got None"),
        ({"shear": None}, "shear must be a number, got None"),
    ],
)
def test_what_is_no_number_is_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
        Augmentation(**given)


def test_other_images_are_refused() -> None:
    for shape in [(784,), (2, 784), (28, 28), (2, 1, 28, 28), (2, 28, 29)]:
        text = f"images must be [N, 28, 28], got {shape}"
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            USUAL.apply(np.zeros(shape, np.uint8), seed=0, epoch=0)
    text = "images must be a C-contiguous array of uint8, got one of float32"
    with pytest.raises(TypeError, match=f"^{text}$"):
        USUAL.apply(np.zeros((2, 28, 28), np.float32), seed=0, epoch=0)


@pytest.mark.parametrize(
    ("draw", "got"),
    [
        ({"scale": 0.001}, "1000"),
        ({"scale": 0.0}, "inf"),
        ({"angle": math.nan}, "nan"),
        ({"angle": math.inf}, "nan"),
        ({"translate": (1e9, 0.0)}, "-1000000000"),
        ({"shear": 89.99}, "5729.577893"),
    ],
)
def test_a_matrix_whose_coordinates_overflow_is_refused(draw: dict[str, Any], got: str) -> None:
    text = f"matrix must have factors in -64 to 64 and offsets in -8192 to 8192, got {got}"
    with pytest.raises(ValueError, match="matrix") as caught:
        _core.affine(NOISE, **draw)
    assert str(caught.value).replace("-nan", "nan") == text  # processors differ in a NaN's sign


def test_the_largest_draws_never_overflow() -> None:
    for angle in range(0, 360, 15):
        for sign in (-1, 1):
            shift = (28.0 * sign, 28.0)
            _core.affine(NOISE, angle=angle, translate=shift, scale=0.1, shear=60.0 * sign)
