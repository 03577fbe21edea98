"""A threshold is chosen for a target precision or recall, and an artifact stores it exactly."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings, strategies as st

import onnx_models
from mnist_sgd.evaluation import ThresholdError, evaluate, threshold_for
from mnist_sgd.evaluation.set_threshold import with_threshold, write_threshold
from mnist_sgd.export import export_model, versions
from mnist_sgd.models.builtin import create_model
from mnist_sgd_serve import ArtifactError, Metadata, MetadataError, Predictor

GOOD = onnx_models.content(onnx_models.linear())

probabilities_any = st.floats(0, 1, width=32)
probabilities_few = st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0])
rows_of = st.sampled_from([probabilities_any, probabilities_few]).flatmap(
    lambda probability: st.lists(
        st.tuples(probability, st.integers(0, 1)), min_size=1, max_size=30
    ).filter(lambda rows: any(label for _, label in rows))
)


@settings(deadline=None)
@given(
    rows=rows_of,
    figure=st.sampled_from(["precision", "recall"]),
    wanted=st.floats(0.01, 1) | st.sampled_from([0.5, 2 / 3, 0.75, 1.0]),
)
def test_no_other_threshold_that_reaches_the_wish_is_better(
    rows: list[tuple[float, int]], figure: Literal["precision", "recall"], wanted: float
) -> None:
    """Against every threshold that makes a difference, tried one after another."""
    probabilities, labels = (np.array(column) for column in zip(*rows, strict=True))
    other = "recall" if figure == "precision" else "precision"
    tried = [
        evaluate(probabilities, labels, threshold) for threshold in {0.0, *probabilities.tolist()}
    ]
    reached = [one for one in tried if (getattr(one, figure) or 0) >= wanted]
    if not reached:
        with pytest.raises(ThresholdError, match=f"^no threshold reaches a {figure} of {wanted}"):
            threshold_for(probabilities, labels, **{figure: wanted})
        return
    threshold = threshold_for(probabilities, labels, **{figure: wanted})
    chosen = evaluate(probabilities, labels, threshold)
    assert getattr(chosen, figure) >= wanted
    assert getattr(chosen, other) == max(getattr(one, other) for one in reached)
    as_good = [one for one in reached if getattr(one, other) == getattr(chosen, other)]
    assert getattr(chosen, figure) == max(getattr(one, figure) for one in as_good)


@settings(deadline=None)
@given(rows=rows_of, recall=st.floats(0.01, 1))
def test_the_chosen_threshold_is_kept_exactly_by_the_metadata(
    rows: list[tuple[float, int]], recall: float
) -> None:
    """And each probability is on its side of it with room, if there is any."""
    probabilities, labels = (np.array(column) for column in zip(*rows, strict=True))
    try:
        threshold = threshold_for(probabilities, labels, recall=recall)
    except ThresholdError:
        return
    metadata = Metadata(classes=("7", "3"), threshold=threshold)
    read = Metadata.from_properties(metadata.to_properties())
    assert read.threshold == threshold
    called = [read.label(p) == "3" for p in probabilities.tolist()]
    assert called == (probabilities > threshold).tolist()
    above = probabilities[probabilities > threshold].min()
    below = max([0.0, *probabilities[probabilities <= threshold]])
    assert below <= threshold < above
    room = (above - below) / 4
    assert above - threshold >= room * 0.999
    assert threshold - below >= room * 0.999


@pytest.mark.parametrize(
    ("low", "high", "threshold"),
    [(0.1, 0.9, 0.5), (0.2, 0.32, 0.26), (0.98, 0.981, 0.9805), (0.0, 3.2e-9, 2e-9)],
)
def test_a_threshold_has_no_more_digits_than_it_needs(
    low: float, high: float, threshold: float
) -> None:
    assert threshold_for([low, high], [0, 1], precision=1.0) == threshold


def test_a_wish_that_no_threshold_reaches_says_what_the_best_is() -> None:
    with pytest.raises(ThresholdError) as error:
        threshold_for([0.9, 0.8, 0.7], [0, 1, 1], precision=0.9)
    said = "no threshold reaches a precision of 0.9 on these images; the best is 0.666667"
    assert str(error.value) == said
    with pytest.raises(ThresholdError) as error:
        threshold_for([0.0, 0.8], [1, 1], recall=0.9)  # nothing lies below 0
    assert str(error.value) == (
        "no threshold reaches a recall of 0.9 on these images; the best is 0.5"
    )
    with pytest.raises(ThresholdError, match=r"; none predicts any image positive$"):
        threshold_for([0.0, 0.0], [1, 0], recall=0.5)


@pytest.mark.parametrize(
    ("labels", "wishes", "message"),
    [
        ([0, 1], {}, "give exactly one of precision and recall, got 0 of them"),
        ([0, 1], {"precision": 1, "recall": 1}, "precision and recall, got 2 of them"),
        ([0, 1], {"precision": 0.0}, "precision must be above 0 and at most 1, got 0.0"),
        ([0, 1], {"recall": 1.1}, "recall must be above 0 and at most 1, got 1.1"),
        ([0, 1], {"recall": float("nan")}, "recall must be above 0 and at most 1, got nan"),
        ([0, 0], {"recall": 0.5}, "a recall needs positive images, and there are none"),
        ([0], {"recall": 0.5}, r"must have the same shape \[N\], got \[2\] and \[1\]"),
    ],
)
def test_a_wish_that_is_none_is_refused(
    labels: list[int], wishes: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        threshold_for([0.2, 0.8], labels, **wishes)


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_a_threshold_that_is_written_later_gives_the_bytes_of_the_export(
    name: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 28, 28), np.uint8)
    metadata = Metadata(
        classes=("seven", "über 3"),
        model=name,
        metrics={"batch_accuracy": 0.1, "images": 3},
        data={"a": "1", "b": "2"},
        versions=versions(),
        licence="Apache-2.0",
    )
    model = create_model(name, seed=0)
    with torch.no_grad():
        files = []
        for threshold in (0.5, 0.123456789012345):
            files.append(tmp_path / f"{threshold}.onnx")
            export_model(
                model, files[-1], metadata=replace(metadata, threshold=threshold), images=images
            )
    first, second = (file.read_bytes() for file in files)
    assert first != second
    assert with_threshold(first, 0.123456789012345) == second
    assert with_threshold(second, 0.5) == first
    assert with_threshold(first, 0.5) == first


def test_a_written_threshold_changes_one_property_and_nothing_else() -> None:
    properties = onnx_models.METADATA.to_properties() | {"author": "someone"}
    content = onnx_models.content(onnx_models.linear(properties=properties))
    before, after = (onnx.load_model_from_string(c) for c in (content, with_threshold(content, 1)))
    assert before.graph == after.graph
    changed = {
        one.key: other.value
        for one, other in zip(before.metadata_props, after.metadata_props, strict=True)
        if one != other
    }
    assert changed == {"mnist_sgd.threshold": "1.0"}
    del before.metadata_props[:], after.metadata_props[:]
    assert before == after


@settings(deadline=None)
@given(threshold=st.floats(0, 1))
def test_the_predictor_follows_the_written_threshold_to_the_last_bit(threshold: float) -> None:
    written = with_threshold(GOOD, threshold)
    assert Predictor(written).metadata == replace(onnx_models.METADATA, threshold=threshold)


def test_a_probability_at_the_written_threshold_is_the_negative_class() -> None:
    images = np.full((1, 28, 28), 90, np.uint8)
    picture = np.zeros((28, 28), np.uint8)
    picture[4:24, 10:18] = 200
    probability = Predictor(GOOD).predict(picture).probability
    assert float(Predictor(GOOD).probabilities(images)[0]) != probability
    for threshold, label in (
        (probability, "7"),
        (np.nextafter(probability, 0), "3"),
        (np.nextafter(probability, 1), "7"),
    ):
        assert Predictor(with_threshold(GOOD, float(threshold))).predict(picture).label == label


def test_what_is_no_artifact_and_a_threshold_that_is_none_are_refused() -> None:
    with pytest.raises(ArtifactError, match="the model is not a usable artifact"):
        with_threshold(b"not a model", 0.5)
    with pytest.raises(MetadataError, match=r"threshold must lie in \[0, 1\], got 1.5"):
        with_threshold(GOOD, 1.5)


def test_only_the_same_model_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "strict.onnx"
    assert write_threshold(GOOD, 0.8, path) == len(path.read_bytes())
    assert path.read_bytes() == with_threshold(GOOD, 0.8)
    write_threshold(GOOD, 0.9, path)
    assert path.read_bytes() == with_threshold(GOOD, 0.9)
    another = onnx_models.content(onnx_models.linear(bias=1.0))
    for there in (another, b"notes", b""):
        path.write_bytes(there)
        with pytest.raises(FileExistsError) as error:
            write_threshold(GOOD, 0.8, path)
        assert str(error.value) == (
            f"{path}: another file is there, and only the same model is replaced; choose another "
            "name or remove it"
        )
        assert path.read_bytes() == there
    nowhere = tmp_path / "none" / "m.onnx"
    with pytest.raises(FileNotFoundError, match="does not exist; make it first"):
        write_threshold(GOOD, 0.8, nowhere)
    assert [file.name for file in tmp_path.iterdir()] == ["strict.onnx"]
