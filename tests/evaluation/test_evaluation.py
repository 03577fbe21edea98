"""Figures, curves and calibration are what their definitions say; the undefined is no number."""

import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from mnist_sgd.evaluation import (
    Bin,
    ConfusionMatrix,
    Evaluation,
    evaluate,
    misclassified,
    wilson_interval,
)

Answers = tuple[NDArray[np.float32], NDArray[np.uint8]]

# Few different probabilities make ties; any float32 makes none.
few = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
any_float = st.floats(0, 1, width=32)


@st.composite
def answers(draw: st.DrawFn, both_classes: bool = False) -> Answers:
    """Probabilities and labels of 1 to 30 images."""
    probability = draw(st.sampled_from([few, any_float]))
    rows = draw(st.lists(st.tuples(probability, st.integers(0, 1)), min_size=1, max_size=30))
    if both_classes:
        rows += [(draw(probability), 0), (draw(probability), 1)]
    probabilities, labels = zip(*rows, strict=True)
    return np.array(probabilities, np.float32), np.array(labels, np.uint8)


def test_a_small_case_by_hand() -> None:
    found = evaluate([0.9, 0.8, 0.6, 0.4, 0.3, 0.1], [1, 0, 1, 1, 0, 0], threshold=0.5)
    assert found.counts == ConfusionMatrix(2, 1, 1, 2)
    assert found.counts.matrix == ((2, 1), (1, 2))
    assert found.accuracy == found.precision == found.recall == found.specificity == 2 / 3
    assert found.f1 == 2 / 3
    assert found.roc is not None
    assert found.roc.tpr.tolist() == [0, 1 / 3, 1 / 3, 2 / 3, 1, 1, 1]
    assert found.roc.fpr.tolist() == [0, 0, 1 / 3, 1 / 3, 1 / 3, 2 / 3, 1]
    assert found.roc.thresholds.tolist() == [0.9, 0.8, 0.6, 0.4, 0.3, 0.1, 0]
    assert found.auc == found.roc.auc == 7 / 9  # of the 9 pairs, 7 are in order
    assert found.precision_recall is not None
    assert found.precision_recall.precision.tolist() == [1, 1 / 2, 2 / 3, 3 / 4, 3 / 5, 3 / 6]
    assert found.average_precision == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert found.calibration[0] == Bin(0, 0.1, 1, 0.1, 0)
    assert found.brier_score == pytest.approx((0.01 + 0.64 + 0.16 + 0.36 + 0.09 + 0.01) / 6)


@settings(deadline=None)
@given(answers(), st.floats(0, 1) | few)
def test_the_counts_are_those_of_the_artifacts_rule(data: Answers, threshold: float) -> None:
    """A float32 probability is compared as it is, not with the threshold rounded to float32."""
    probabilities, labels = data
    predicted = [p > threshold for p in probabilities.tolist()]
    table = [[0, 0], [0, 0]]
    for label, guess in zip(labels.tolist(), predicted, strict=True):
        table[label][guess] += 1
    found = evaluate(probabilities, labels, threshold)
    assert found.counts.matrix == (tuple(table[0]), tuple(table[1]))
    assert found.accuracy == sum(p == y for p, y in zip(predicted, labels, strict=True)) / len(
        labels
    )


@settings(deadline=None)
@given(answers(), st.floats(0, 1) | few)
def test_the_misclassified_images_are_those_in_the_confusion_matrix_the_furthest_first(
    data: Answers, threshold: float
) -> None:
    probabilities, labels = data
    found = misclassified(probabilities, labels, threshold).tolist()
    counts = evaluate(probabilities, labels, threshold).counts
    predicted = [p > threshold for p in probabilities.tolist()]
    assert len(found) == counts.false_positive + counts.false_negative
    assert all(predicted[i] != bool(labels[i]) for i in found)
    keys = [(-abs(float(probabilities[i]) - threshold), i) for i in found]
    assert keys == sorted(keys)


def test_a_probability_between_the_threshold_and_its_float32_is_not_rounded_away() -> None:
    threshold = float(np.float32(0.3)) - 1e-12  # the same as 0.3 in float32
    assert evaluate(np.array([0.3], np.float32), [1], threshold).counts.true_positive == 1


@settings(deadline=None)
@given(answers(both_classes=True))
def test_every_point_of_a_curve_is_what_its_threshold_gives(data: Answers) -> None:
    probabilities, labels = data
    found = evaluate(probabilities, labels)
    assert found.roc is not None
    assert found.precision_recall is not None
    for i, threshold in enumerate(found.roc.thresholds):
        predicted = probabilities.astype(np.float64) > threshold
        assert found.roc.tpr[i] == np.mean(predicted[labels == 1])
        assert found.roc.fpr[i] == np.mean(predicted[labels == 0])
        if i:
            assert found.precision_recall.thresholds[i - 1] == threshold
            assert found.precision_recall.precision[i - 1] == np.mean(labels[predicted])
            assert found.precision_recall.recall[i - 1] == found.roc.tpr[i]
    assert (np.diff(found.roc.thresholds) < 0).all()
    assert len(found.roc.thresholds) == len(set(probabilities.tolist())) + 1
    assert (found.roc.fpr[0], found.roc.tpr[0]) == (0, 0)
    assert (found.roc.fpr[-1], found.roc.tpr[-1]) == (1, 1)


@settings(deadline=None)
@given(answers(both_classes=True))
def test_the_area_below_the_roc_curve_is_the_fraction_of_pairs_in_order(data: Answers) -> None:
    probabilities, labels = data
    pairs = list(product(probabilities[labels == 1], probabilities[labels == 0]))
    in_order = sum(1.0 if high > low else 0.5 if high == low else 0.0 for high, low in pairs)
    assert evaluate(probabilities, labels).auc == in_order / len(pairs)


@settings(deadline=None)
@given(answers(both_classes=True))
def test_exchanging_the_classes_exchanges_the_figures(data: Answers) -> None:
    probabilities, labels = data
    exact = probabilities.astype(np.float64)
    one, other = evaluate(exact, labels), evaluate(1 - exact, 1 - labels)
    assert one.auc is not None
    if len(set((1 - exact).tolist())) == len(set(exact.tolist())):  # else rounding made ties
        assert other.auc == one.auc
    assert other.brier_score == pytest.approx(one.brier_score)
    if not (exact == 0.5).any():
        assert (other.recall, other.specificity) == (one.specificity, one.recall)


@settings(deadline=None)
@given(answers())
def test_every_number_is_finite_and_in_its_range(data: Answers) -> None:
    facts = json.loads(json.dumps(evaluate(*data).as_dict(), allow_nan=False))
    for name in ("accuracy", "expected_calibration_error", "brier_score"):
        assert 0 <= facts[name] <= 1
    for name in ("precision", "recall", "specificity", "f1", "auc", "average_precision"):
        assert facts[name] is None or 0 <= facts[name] <= 1
    assert sum(one["count"] for one in facts["calibration"]) == len(data[0])
    for one in facts["calibration"]:
        assert one["low"] <= one["mean_probability"] <= one["high"] + 1e-12
        assert 0 <= one["positive_share"] <= 1


@pytest.mark.parametrize(
    ("labels", "threshold", "undefined"),
    [
        ([1, 1, 1], 0.5, {"specificity", "roc", "auc"}),
        (
            [0, 0, 0],
            0.5,
            {"recall", "roc", "auc", "precision_recall", "average_precision"},
        ),
        ([0, 0, 1], 1.0, {"precision"}),
        (
            [0, 0, 0],
            1.0,
            {"precision", "recall", "f1", "roc", "auc", "precision_recall", "average_precision"},
        ),
        ([0, 1, 1], 0.5, set()),
    ],
)
def test_what_has_nothing_to_be_a_fraction_of_is_none(
    labels: list[int], threshold: float, undefined: set[str]
) -> None:
    facts = evaluate([0.2, 0.6, 0.8], labels, threshold).as_dict()
    assert {name for name, value in facts.items() if value is None} == undefined


def test_equal_probabilities_are_predicted_alike_and_tell_nothing() -> None:
    found = evaluate([0.3] * 4, [1, 0, 1, 0])
    assert found.roc is not None
    assert (found.roc.fpr.tolist(), found.roc.tpr.tolist()) == ([0, 1], [0, 1])
    assert found.roc.thresholds.tolist() == [np.float64(0.3), 0]
    assert (found.auc, found.average_precision) == (0.5, 0.5)
    (only,) = found.calibration
    assert (only.low, only.count, only.mean_probability, only.positive_share) == (0.2, 4, 0.3, 0.5)


def test_below_a_probability_of_zero_the_curves_have_a_threshold_that_no_artifact_can() -> None:
    found = evaluate([0.0, 1.0], [0, 1])
    assert found.roc is not None
    assert found.roc.thresholds.tolist() == [1, 0, -1]


def test_a_perfectly_calibrated_model_has_no_calibration_error() -> None:
    found = evaluate([0.25] * 4 + [1.0] * 2 + [0.0] * 3, [0, 1, 0, 0, 1, 1, 0, 0, 0])
    assert found.expected_calibration_error == 0
    assert found.brier_score == pytest.approx(4 * 0.1875 / 9)
    assert [(one.low, one.high, one.count) for one in found.calibration] == [
        (0, 0.1, 3),
        (0.2, pytest.approx(0.3), 4),
        (0.9, 1, 2),
    ]


@settings(deadline=None)
@given(answers())
def test_the_calibration_error_is_its_definition(data: Answers) -> None:
    probabilities, labels = data[0].astype(np.float64), data[1]
    edges = np.linspace(0, 1, 11)
    expected = 0.0
    for i in range(10):
        inside = (probabilities > edges[i]) & (probabilities <= edges[i + 1])
        inside |= (probabilities == 0) & (i == 0)
        if inside.any():
            gap = abs(probabilities[inside].mean() - labels[inside].mean())
            expected += inside.mean() * gap
    assert evaluate(probabilities, labels).expected_calibration_error == pytest.approx(expected)


@settings(deadline=None)
@given(answers(both_classes=True), few)
def test_the_figures_are_scikit_learns(data: Answers, threshold: float) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    calibration = pytest.importorskip("sklearn.calibration")
    probabilities, labels = data[0].astype(np.float64), data[1]
    found = evaluate(probabilities, labels, threshold)
    predicted = probabilities > threshold
    assert metrics.confusion_matrix(labels, predicted, labels=[0, 1]).tolist() == [
        list(row) for row in found.counts.matrix
    ]
    for name, score in (("precision", metrics.precision_score), ("f1", metrics.f1_score)):
        mine = getattr(found, name)
        assert mine is None or mine == pytest.approx(score(labels, predicted, zero_division=0))
    assert found.recall == pytest.approx(metrics.recall_score(labels, predicted))
    assert found.specificity == pytest.approx(metrics.recall_score(labels, predicted, pos_label=0))
    assert found.auc == pytest.approx(metrics.roc_auc_score(labels, probabilities))
    assert found.average_precision == pytest.approx(
        metrics.average_precision_score(labels, probabilities)
    )
    assert found.brier_score == pytest.approx(metrics.brier_score_loss(labels, probabilities))
    _check_curves(found, metrics, labels, probabilities)
    fraction, mean = calibration.calibration_curve(labels, probabilities, n_bins=10)
    assert [one.positive_share for one in found.calibration] == pytest.approx(fraction.tolist())
    assert [one.mean_probability for one in found.calibration] == pytest.approx(mean.tolist())


def _check_curves(
    found: Evaluation,
    metrics: object,
    labels: NDArray[np.uint8],
    probabilities: NDArray[np.float64],
) -> None:
    """scikit-learn predicts positive at a threshold too, so its thresholds are one later."""
    fpr, tpr, thresholds = metrics.roc_curve(  # type: ignore[attr-defined]
        labels, probabilities, drop_intermediate=False
    )
    assert found.roc is not None
    assert found.roc.fpr.tolist() == pytest.approx(fpr.tolist())
    assert found.roc.tpr.tolist() == pytest.approx(tpr.tolist())
    assert found.roc.thresholds[:-1].tolist() == thresholds[1:].tolist()
    precision, recall, _ = metrics.precision_recall_curve(  # type: ignore[attr-defined]
        labels, probabilities
    )
    assert found.precision_recall is not None
    assert found.precision_recall.precision[::-1].tolist() == pytest.approx(precision[:-1].tolist())
    assert found.precision_recall.recall[::-1].tolist() == pytest.approx(recall[:-1].tolist())


@pytest.mark.parametrize(
    ("probabilities", "labels", "threshold", "message"),
    [
        ([], [], 0.5, "there is nothing to evaluate: at least 1 probability is needed"),
        ([0.5], [0, 1], 0.5, "must have the same shape [N], got [1] and [2]"),
        ([[0.5]], [[1]], 0.5, "must have the same shape [N], got [1, 1] and [1, 1]"),
        ([0.5, 1.5], [0, 1], 0.5, "probabilities must lie in [0, 1], got 1.5"),
        ([0.5, float("nan")], [0, 1], 0.5, "probabilities must lie in [0, 1], got nan"),
        ([0.5, 0.5], [0, 2], 0.5, "labels must be 0 or 1, got 2"),
        ([0.5], [1], 1.5, "threshold must lie in [0, 1], got 1.5"),
        ([0.5], [1], float("nan"), "threshold must lie in [0, 1], got nan"),
    ],
)
def test_what_cannot_be_evaluated_is_said(
    probabilities: list[float], labels: list[int], threshold: float, message: str
) -> None:
    with pytest.raises(ValueError, match=r"\A") as error:
        evaluate(probabilities, labels, threshold)
    assert message in str(error.value)


def test_wilsons_interval_by_hand() -> None:
    """For none or all of n its far end is z^2 / (n + z^2) away, and its near end is exact."""
    z = 1.959963984540054
    for n in (1, 10, 124):
        low, high = wilson_interval(n, n)
        assert (low, high) == pytest.approx((n / (n + z * z), 1))
        assert high == 1
        low, high = wilson_interval(0, n)
        assert (low, high) == pytest.approx((0, z * z / (n + z * z)))
        assert low == 0
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263 and 15 of 148.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)


@given(st.integers(1, 10**6), st.data())
def test_wilsons_interval_is_the_set_of_proportions_that_the_score_test_does_not_reject(
    trials: int, data: st.DataObject
) -> None:
    successes = data.draw(st.integers(0, trials))
    low, high = wilson_interval(successes, trials, z=1.5)
    fraction = successes / trials
    assert 0 <= low <= fraction <= high <= 1
    for end in {low, high} - {0.0, 1.0}:
        assert abs(fraction - end) == pytest.approx(
            1.5 * (end * (1 - end) / trials) ** 0.5, rel=1e-6
        )
    mirrored = wilson_interval(trials - successes, trials, z=1.5)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (-1, 5), (6, 5)])
def test_an_interval_of_no_proportion_is_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match=f"got {successes} of {trials}$"):
        wilson_interval(successes, trials)
