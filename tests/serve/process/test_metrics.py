"""What Prometheus reads: its text format, sums over workers, and no series made by clients."""

import re
import time

import pytest
from hypothesis import given, strategies as st

from mnist_sgd_serve.metrics import REASONS, ROUTES, STATUSES, Metrics, shared_memory

SAMPLE = re.compile(
    r'([a-z_]+)(?:\{([a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*)\})? '
    r"([0-9.e+-]+)"
)


def read(metrics: Metrics, model: str = "digits") -> dict[str, float]:
    """The samples by name and labels; every line must be a sample or a comment."""
    samples = {}
    for line in metrics.text(model, "1").decode().split("\n")[:-1]:
        if not line.startswith(("# HELP mnist_sgd_", "# TYPE mnist_sgd_")):
            match = SAMPLE.fullmatch(line)
            assert match, line
            name, labels, value = match.groups()
            samples[f"{name}{{{labels}}}" if labels else name] = float(value)
    return samples


def test_every_series_has_its_help_and_type_before_it() -> None:
    metrics = Metrics(shared_memory(1))
    metrics.answered("infer", 200, 0.001)
    described = []
    for line in metrics.text("digits", "1").decode().splitlines():
        if line.startswith("# TYPE "):
            described.append(line.split(" ")[2])
        elif not line.startswith("#"):
            assert line.startswith(described[-1])
    assert len(described) == len(set(described)) == 8


def test_requests_are_counted_by_route_and_status() -> None:
    metrics = Metrics(shared_memory(1))
    for _ in range(3):
        metrics.answered("infer", 200, 0.001)
    metrics.answered("predict", 415, 0.001)
    metrics.rejected(431)
    samples = read(metrics)
    assert samples['mnist_sgd_requests_total{route="infer",status="200"}'] == 3
    assert samples['mnist_sgd_requests_total{route="predict",status="415"}'] == 1
    assert samples['mnist_sgd_requests_total{route="other",status="431"}'] == 1
    assert samples['mnist_sgd_failures_total{reason="unsupported"}'] == 1
    assert samples['mnist_sgd_failures_total{reason="head_too_large"}'] == 1
    durations = "mnist_sgd_request_duration_seconds_count"
    assert samples[f'{durations}{{route="infer"}}'] == 3
    assert samples[f'{durations}{{route="predict"}}'] == 1
    assert samples[f'{durations}{{route="other"}}'] == 0  # not what never came


def test_every_status_that_is_a_failure_has_its_reason() -> None:
    assert {status for status in STATUSES if status >= 400} == set(REASONS)
    metrics = Metrics(shared_memory(1))
    for route in ROUTES:
        for status in STATUSES:
            metrics.answered(route, status, 0.0)
    samples = read(metrics)
    for reason in REASONS.values():
        assert samples[f'mnist_sgd_failures_total{{reason="{reason}"}}'] == len(ROUTES)


@pytest.mark.parametrize(("route", "status"), [("/etc/passwd", 200), ("infer", 299)])
def test_nothing_that_a_client_chooses_becomes_a_series(route: str, status: int) -> None:
    with pytest.raises(KeyError):
        Metrics(shared_memory(1)).answered(route, status, 0.0)


@given(st.lists(st.floats(0, 1000), max_size=30))
def test_a_histogram_counts_what_is_at_most_each_bound(seconds: list[float]) -> None:
    metrics = Metrics(shared_memory(1))
    for one in seconds:
        metrics.answered("infer", 200, one)
    samples = read(metrics)
    start = 'mnist_sgd_request_duration_seconds_bucket{route="infer",le="'
    buckets = {name[len(start) : -2]: v for name, v in samples.items() if name.startswith(start)}
    for bound, count in buckets.items():
        assert count == sum(one <= float(bound) for one in seconds)
    assert list(buckets)[-1] == "+Inf"
    assert samples['mnist_sgd_request_duration_seconds_count{route="infer"}'] == len(seconds)
    assert samples['mnist_sgd_request_duration_seconds_sum{route="infer"}'] == pytest.approx(
        sum(seconds)
    )


def test_every_worker_shows_the_sums_of_all() -> None:
    memory = shared_memory(3)
    workers = [Metrics(memory, number) for number in range(3)]
    for worker in workers:
        worker.answered("infer", 200, 0.001)
        worker.ran(1, 5, 0.001, 0.0)
        worker.waiting(7)
        worker.reloaded("loaded")
    workers[0].waiting(2)
    for worker in workers:
        samples = read(worker)
        assert samples['mnist_sgd_requests_total{route="infer",status="200"}'] == 3
        assert samples["mnist_sgd_run_images_sum"] == 15
        assert samples['mnist_sgd_run_images_bucket{le="4"}'] == 0
        assert samples['mnist_sgd_run_images_bucket{le="8"}'] == 3
        assert samples["mnist_sgd_queue_images"] == 16
        assert samples['mnist_sgd_model_reloads_total{result="loaded"}'] == 3
        assert samples['mnist_sgd_model_reloads_total{result="refused"}'] == 0


def test_the_figures_of_inference_are_sums_over_workers() -> None:
    memory = shared_memory(2)
    first, second = (Metrics(memory, number) for number in range(2))
    assert first.inferences().last_run == 0
    before = time.time()
    first.ran(3, 5, 0.5, 0.25)
    first.ran(1, 8, 0.25, 0.0)
    second.ran(1, 1, 0.125, 0.5)
    for outcome, seconds in (("success", 2.0), ("success", 1.0), ("fail", 4.0)):
        second.inferred(outcome, seconds)
    figures = first.inferences()
    assert figures == second.inferences()
    assert (figures.success, figures.fail) == ((2, 3.0), (1, 4.0))
    assert (figures.queue_seconds, figures.compute_seconds) == (0.75, 3 * 0.5 + 0.25 + 0.125)
    assert figures.images == 14
    assert figures.batches == {1: (1, 0.125), 8: (2, 0.75)}
    assert before <= figures.last_run <= time.time()


@given(st.integers(1, 2**31))
def test_runs_are_counted_by_the_next_power_of_two(images: int) -> None:
    metrics = Metrics(shared_memory(1))
    metrics.ran(1, images, 0.0, 0.0)
    (size,) = metrics.inferences().batches
    assert size // 2 < images <= size


def test_a_model_may_have_any_name() -> None:
    samples = read(Metrics(shared_memory(1)), 'a "name"\\ \n of two lines')
    assert 'mnist_sgd_model_info{model="a \\"name\\"\\\\ \\n of two lines",version="1"}' in samples
