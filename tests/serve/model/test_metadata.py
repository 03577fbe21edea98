import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from mnist_sgd_serve.model.metadata import IMAGE_PROPERTIES, Metadata, MetadataError

METADATA = Metadata(
    classes=("7", "3"),
    threshold=0.25,
    mean=0.1307,
    std=0.3081,
    model="linear",
    metrics={"accuracy": 0.9785},
    data={"name": "mnist_sample", "train": "1234"},
    versions={"torch": "2.15.0"},
    licence="CC-BY-SA-3.0",
)

names = st.text(min_size=1, max_size=9)
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    metadata=st.builds(
        Metadata,
        classes=st.tuples(names, names).filter(lambda pair: pair[0] != pair[1]),
        threshold=st.floats(0, 1),
        mean=finite,
        std=finite.filter(lambda std: std > 0),
        paper=st.none() | st.integers(0, 255),
        model=st.text(max_size=9),
        metrics=st.dictionaries(names, finite, max_size=3),
        data=st.dictionaries(names, names, max_size=3),
        versions=st.dictionaries(names, names, max_size=3),
        licence=st.text(max_size=9),
    )
)
def test_what_is_written_is_read_back(metadata: Metadata) -> None:
    properties = metadata.to_properties()
    assert Metadata.from_properties(properties) == metadata
    assert properties.items() >= IMAGE_PROPERTIES.items()


def test_properties_of_others_are_passed_over() -> None:
    properties = METADATA.to_properties() | {"author": "someone"}
    assert Metadata.from_properties(properties) == METADATA


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("classes", ("3", "3"), r"classes must be two different names, got \['3', '3'\]"),
        ("classes", ("", "3"), r"classes must be two different names, got \['', '3'\]"),
        ("classes", (3, 7), r"classes must be two different names, got \[3, 7\]"),
        ("classes", ("1", "2", "3"), r"classes must be two different names, got \['1', '2', '3'"),
        ("dtype", "float16", r"dtype must be one of float32, bfloat16, uint8, got 'float16'"),
        ("dtype", ["uint8"], r"dtype must be one of float32, bfloat16, uint8, got \['uint8'\]"),
        ("threshold", 1.5, r"threshold must lie in \[0, 1\], got 1.5"),
        ("threshold", float("nan"), r"threshold must lie in \[0, 1\], got nan"),
        ("image_size", (32, 32), r"image_size must be \[28, 28\], got \[32, 32\]"),
        ("mean", float("inf"), r"mean must be finite, got inf"),
        ("std", 0.0, r"std must be finite and above 0, got 0.0"),
        ("std", float("inf"), r"std must be finite and above 0, got inf"),
        (
            "classes",
            ("\udcff", "3"),
            r"classes must be two different names, got \['\\udcff', '3'\]",
        ),
        ("paper", 256, r"paper must be a grey, 0 to 255, got 256"),
        ("paper", -1, r"paper must be a grey, 0 to 255, got -1"),
        ("preparation", "crop", r"preprocessing must be mnist, fit or stretch, got 'crop'"),
    ],
)
def test_a_value_outside_its_range_is_refused(field: str, value: Any, message: str) -> None:
    with pytest.raises(MetadataError, match=f"^{message}"):
        Metadata(**{"classes": ("7", "3"), field: value})


@pytest.mark.parametrize("key", [key for key in METADATA.to_properties() if "mnist_sgd." in key])
def test_a_property_that_is_missing_is_named(key: str) -> None:
    properties = METADATA.to_properties()
    del properties[key]
    what = (
        "it has no mnist_sgd metadata" if key.endswith("format") else f"its metadata lacks '{key}'"
    )
    with pytest.raises(MetadataError, match=f"^{what}$"):
        Metadata.from_properties(properties)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", "2" * 99, r"its format is '2{20}', this version reads '1'"),
        ("classes", "3 and 7", r"its metadata cannot be read: Extra data"),
        ("classes", '"37"', r"its classes must be a JSON list"),
        ("classes", '[["3"], "7"]', r"classes must be two different names"),
        ("metrics", "[]", r"its metrics must be a JSON object"),
        ("metrics", '{"loss": NaN}', r"its metadata cannot be read: NaN is no JSON number"),
        ("data", "[" * 100_000, r"its metadata cannot be read: maximum recursion"),
        ("paper", "white", r"its metadata cannot be read: invalid literal"),
        ("paper", "300", r"paper must be a grey, 0 to 255, got 300"),
        ("threshold", "half", r"its metadata cannot be read: could not convert"),
        ("normalization", '{"mean": 0}', r"its metadata lacks 'std'"),
        ("normalization", '{"mean": [], "std": 1}', r"its metadata cannot be read: float\(\)"),
        ("normalization", '{"mean": 1%s, "std": 1}' % ("0" * 400), r".*: int too large"),
    ],
)
def test_a_property_that_is_wrong_is_refused(key: str, value: str, message: str) -> None:
    properties = METADATA.to_properties() | {f"mnist_sgd.{key}": value}
    with pytest.raises(MetadataError, match=f"^{message}"):
        Metadata.from_properties(properties)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8"])
def test_the_dtype_of_the_pixels_stands_with_their_normalisation(dtype: str) -> None:
    metadata = replace(METADATA, mean=0.0, std=1.0, dtype=dtype)
    properties = metadata.to_properties()
    assert Metadata.from_properties(properties) == metadata
    usual = {"divisor": 1 if dtype == "uint8" else 255, "mean": 0.0, "std": 1.0}
    more = {} if dtype == "float32" else {"dtype": dtype}  # as in files of earlier versions
    assert json.loads(properties["mnist_sgd.normalization"]) == usual | more


def test_pixels_that_are_not_normalised_have_no_mean_and_deviation() -> None:
    with pytest.raises(
        MetadataError, match=r"^pixels of dtype uint8 have mean 0 and std 1, got 0.1307 and 0.3081$"
    ):
        replace(METADATA, dtype="uint8")


def test_the_paper_is_a_property_that_a_file_may_lack() -> None:
    """As the files of earlier versions do, and those of the preprocessing `mnist`."""
    assert "mnist_sgd.paper" not in METADATA.to_properties()
    assert Metadata.from_properties(METADATA.to_properties()).paper is None
    known = Metadata(classes=("7", "3"), preprocessing="fit", paper=0).to_properties()
    assert known["mnist_sgd.paper"] == "0"
    assert Metadata.from_properties(known).paper == 0


def test_the_label_of_a_probability_at_the_threshold_is_the_negative_class() -> None:
    assert METADATA.positive == "3"
    assert [METADATA.label(p) for p in (0.0, 0.25, 0.2500001, 1.0)] == ["7", "7", "3", "3"]


def test_the_properties_are_strings_that_other_tools_can_read() -> None:
    properties = METADATA.to_properties()
    assert json.loads(properties["mnist_sgd.classes"]) == ["7", "3"]
    assert json.loads(properties["mnist_sgd.metrics"]) == {"accuracy": 0.9785}
    assert properties["Image.BitmapPixelFormat"] == "Gray8"
    assert all(isinstance(value, str) for value in properties.values())
