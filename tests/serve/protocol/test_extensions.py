"""Triton's extensions: the configuration, the statistics, the index, and what is refused."""

import pytest

from mnist_sgd_serve.metrics import Inferences
from mnist_sgd_serve.protocol import (
    RequestError,
    model_config,
    model_metadata,
    model_statistics,
    parse_index,
)
from mnist_sgd_serve.protocol.extensions import NotOffered, check_offered, check_repository

SHARED_MEMORY = "shared memory is not offered: send the images in the request"


def test_the_configuration_agrees_with_the_metadata() -> None:
    """But its sizes are without the first, as the largest batch is said."""
    config, metadata = model_config("digits", max_batch_size=8, workers=3), model_metadata("", "1")
    assert config["name"] == "digits"
    assert config["platform"] == metadata["platform"]
    assert config["max_batch_size"] == 8
    assert config["instance_group"] == [{"name": "digits", "kind": "KIND_CPU", "count": 3}]
    for ours, its in (("input", "inputs"), ("output", "outputs")):
        assert config[ours] == [
            {
                "name": one["name"],
                "data_type": f"TYPE_{one['datatype']}",
                "dims": one["shape"][1:],
            }
            for one in metadata[its]
        ]


def test_the_largest_batch_fits_the_field_that_grpc_has_for_it() -> None:
    config = model_config("digits", max_batch_size=2**31, workers=1)
    assert config["max_batch_size"] == 2**31 - 1


def test_the_statistics_are_counts_and_nanoseconds() -> None:
    figures = Inferences(
        success=(3, 0.5),
        fail=(1, 0.25),
        queue_seconds=0.125,
        compute_seconds=0.0625,
        images=9,
        batches={1: (2, 0.03125), 8: (1, 0.0078125)},
        last_run=1.5,
    )
    none = {"count": 0, "ns": 0}
    assert model_statistics("digits", "00ff", figures) == {
        "name": "digits",
        "version": "255",
        "last_inference": 1500,
        "inference_count": 9,
        "execution_count": 3,
        "inference_stats": {
            "success": {"count": 3, "ns": 500_000_000},
            "fail": {"count": 1, "ns": 250_000_000},
            "queue": {"count": 3, "ns": 125_000_000},
            "compute_input": {"count": 3, "ns": 0},
            "compute_infer": {"count": 3, "ns": 62_500_000},
            "compute_output": {"count": 3, "ns": 0},
            "cache_hit": none,
            "cache_miss": none,
        },
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": {"count": runs, "ns": 0},
                "compute_infer": {"count": runs, "ns": nanoseconds},
                "compute_output": {"count": runs, "ns": 0},
            }
            for size, runs, nanoseconds in ((1, 2, 31_250_000), (8, 1, 7_812_500))
        ],
    }


@pytest.mark.parametrize(
    ("body", "ready"),
    [
        (b"", False),
        (b"{}", False),
        (b'{"ready": null, "other": null}', False),
        (b'{"ready": false}', False),
        (b'{"ready": true}', True),
    ],
)
def test_the_index_may_be_of_the_ready_models_alone(body: bytes, ready: bool) -> None:
    assert parse_index(body) is ready


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the JSON cannot be read: "),
        (b"[]", "the request must be a JSON object, got []"),
        (b'{"ready": 1}', "parameter 'ready' must be true or false, got 1"),
        (b'{"all": true}', "the request has no member 'all', it may have: ready"),
    ],
)
def test_a_wrong_request_for_the_index_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(RequestError) as raised:
        parse_index(body)
    assert str(raised.value).startswith(message)


def test_there_is_one_repository_without_a_name() -> None:
    check_repository("")
    with pytest.raises(RequestError, match=r"^the repository 'a' is unknown: the only one has no "):
        check_repository("a")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v2/systemsharedmemory/status", SHARED_MEMORY),
        ("/v2/cudasharedmemory/region/a/register", SHARED_MEMORY),
        (
            "/v2/repository/models/digits/unload",
            "models are not loaded or unloaded by request: the server follows its model file",
        ),
        (
            "/v2/models/digits/trace/setting",
            "tracing is not offered: see /metrics, and --access-log",
        ),
        ("/v2/trace/setting", "tracing is not offered: see /metrics, and --access-log"),
        ("/v2/logging", "the log has no settings but --access-log"),
        (
            "/v2/models/digits/versions/1/generate_stream",
            "streaming is not offered: send each request by itself",
        ),
    ],
)
def test_a_path_of_an_extension_that_is_not_offered_is_refused(path: str, message: str) -> None:
    with pytest.raises(NotOffered) as raised:
        check_offered(path)
    assert str(raised.value) == message


@pytest.mark.parametrize("path", ["/", "/v2", "/v2/models/digits/infer", "/v2/loggings", ""])
def test_other_paths_are_none_of_these(path: str) -> None:
    check_offered(path)
