"""Metrics for Prometheus: a fixed set of series, so that clients cannot create labels.

All workers count in one shared array, with a row each, and each shows the sums: a scrape sees the
whole service whichever worker it reaches, and the counts of a dead worker stay. Nothing is locked,
as every row has one writer.

Source of the text format: "Exposition formats" in Prometheus' documentation, version 0.0.4.
"""

import mmap
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

ROUTES = ("infer", "predict", "metadata", "health", "page", "metrics", "grpc", "other")
"""The values of the label `route`."""

STATUSES = (
    *(200, 206, 304, 400, 401, 403, 404, 405, 408, 413, 415, 416, 422, 431),
    *(499, 500, 501, 503, 504),
)
"""The values of the label `status`; 499 means that the client left before its response."""

REASONS = {
    400: "bad_request",
    401: "unauthorized",
    403: "foreign_site",
    404: "not_found",
    405: "bad_method",
    408: "slow_client",
    413: "too_large",
    415: "unsupported",
    416: "bad_range",
    422: "no_ink",
    431: "head_too_large",
    499: "client_gone",
    500: "failed",
    501: "unknown_coding",
    503: "overloaded",
    504: "deadline",
}
"""The reason of each status that is a failure."""

SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)
IMAGES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0)


class _Layout:
    """The index of each series in a row."""

    def __init__(self) -> None:
        self.size = 0
        self.requests = {(route, status): self._take(1) for route in ROUTES for status in STATUSES}
        self.reloads = {result: self._take(1) for result in ("loaded", "refused")}
        self.waiting = self._take(1)
        self.request_duration = {
            route: self._take(len(SECONDS) + 2) for route in ROUTES if route != "health"
        }
        # Of a histogram: its buckets, the one above, and the sum.
        self.run_seconds = self._take(len(SECONDS) + 2)
        self.run_images = self._take(len(IMAGES) + 2)
        # Of inference requests: how many ended so, and their seconds.
        self.inferences = {outcome: self._take(2) for outcome in ("success", "fail")}
        self.queue_seconds = self._take(1)
        self.compute_seconds = self._take(1)
        self.last_run = self._take(1)
        # Runs and their seconds, by the number of images rounded up to 2 ** n.
        self.batches = [self._take(2) for _ in range(32)]

    def _take(self, count: int) -> int:
        self.size += count
        return self.size - count


LAYOUT = _Layout()


@dataclass(frozen=True)
class Inferences:
    """Figures of all inference requests since the start, of all workers.

    Attributes:
        success: how many got their probabilities, and their seconds from arrival to result.
        fail: how many did not, likewise.
        queue_seconds: that requests waited for their runs.
        compute_seconds: of the runs, counted for each request in a run.
        images: in all runs.
        batches: how many runs there were and their seconds, by the number of images rounded up to
            a power of two.
        last_run: when the last run ended, in seconds since the epoch; 0 if there was none.
    """

    success: tuple[int, float]
    fail: tuple[int, float]
    queue_seconds: float
    compute_seconds: float
    images: int
    batches: Mapping[int, tuple[int, float]]
    last_run: float


def shared_memory(workers: int) -> mmap.mmap:
    """Allocate zeroed memory for so many workers, which forked children share."""
    return mmap.mmap(-1, workers * LAYOUT.size * 8)


class Metrics:
    """Counts in the row of one worker, and formats the sums over all rows.

    Args:
        memory: of `shared_memory`, or another map of the same file.
        worker: the row to count in, from 0.
    """

    def __init__(self, memory: mmap.mmap, worker: int = 0) -> None:
        values = memoryview(memory).cast("d")
        size = LAYOUT.size
        self.rows = [values[at : at + size] for at in range(0, len(values), size)]
        self.row = self.rows[worker]

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request and, but for health checks, its duration; the route is of `ROUTES`."""
        self.row[LAYOUT.requests[route, status]] += 1
        if route != "health":
            self._observe(LAYOUT.request_duration[route], SECONDS, seconds)

    def rejected(self, status: int) -> None:
        """Count a request that did not arrive completely, and so has no duration."""
        self.row[LAYOUT.requests["other", status]] += 1

    def reloaded(self, result: str) -> None:
        """Count a reload of the model that was `loaded` or `refused`."""
        self.row[LAYOUT.reloads[result]] += 1

    def inferred(self, outcome: str, seconds: float) -> None:
        """Count an inference request that ended in `success` or `fail`, and its duration."""
        self._add(LAYOUT.inferences[outcome], seconds)

    def ran(self, requests: int, images: int, seconds: float, queued: float) -> None:
        """Count a run of the model.

        Args:
            requests: in the run.
            images: in the run.
            seconds: that it took.
            queued: how long its requests waited for it, in seconds, all together.
        """
        self._observe(LAYOUT.run_images, IMAGES, images)
        self._observe(LAYOUT.run_seconds, SECONDS, seconds)
        self._add(LAYOUT.batches[(images - 1).bit_length()], seconds)
        row = self.row
        row[LAYOUT.queue_seconds] += queued
        row[LAYOUT.compute_seconds] += requests * seconds
        row[LAYOUT.last_run] = time.time()

    def waiting(self, images: int) -> None:
        """Set the number of images in the queue."""
        self.row[LAYOUT.waiting] = images

    def _add(self, at: int, seconds: float) -> None:
        self.row[at] += 1
        self.row[at + 1] += seconds

    def _observe(self, at: int, bounds: Sequence[float], value: float) -> None:
        row = self.row
        row[at + bisect_left(bounds, value)] += 1
        row[at + len(bounds) + 1] += value

    def inferences(self) -> Inferences:
        """Sum up the inference requests of all workers."""
        total = self._total()

        def pair(at: int) -> tuple[int, float]:
            return int(total[at]), total[at + 1]

        return Inferences(
            success=pair(LAYOUT.inferences["success"]),
            fail=pair(LAYOUT.inferences["fail"]),
            queue_seconds=total[LAYOUT.queue_seconds],
            compute_seconds=total[LAYOUT.compute_seconds],
            images=int(total[LAYOUT.run_images + len(IMAGES) + 1]),
            batches={2**n: pair(at) for n, at in enumerate(LAYOUT.batches) if total[at]},
            last_run=max(row[LAYOUT.last_run] for row in self.rows),
        )

    def _total(self) -> list[float]:
        return [sum(column) for column in zip(*self.rows, strict=True)]

    def text(self, model: str, version: str) -> bytes:
        """Format all metrics in Prometheus' text format."""
        return "".join(f"{line}\n" for line in self._lines(model, version)).encode()

    def _lines(self, model: str, version: str) -> Iterator[str]:
        total = self._total()
        yield from _head("requests_total", "counter", "Requests by route and status.")
        for (route, status), at in LAYOUT.requests.items():
            if total[at]:
                labels = f'route="{route}",status="{status}"'
                yield f"mnist_sgd_requests_total{{{labels}}} {total[at]:.0f}"
        yield from _head("failures_total", "counter", "Failed requests by reason.")
        for status, reason in REASONS.items():
            failures = sum(total[LAYOUT.requests[route, status]] for route in ROUTES)
            yield f'mnist_sgd_failures_total{{reason="{reason}"}} {failures:.0f}'
        yield from _head("model_reloads_total", "counter", "Model reloads by result.")
        for result, at in LAYOUT.reloads.items():
            yield f'mnist_sgd_model_reloads_total{{result="{result}"}} {total[at]:.0f}'
        yield from _head("queue_images", "gauge", "Images that wait for a run of the model.")
        yield f"mnist_sgd_queue_images {total[LAYOUT.waiting]:.0f}"
        yield from _head("model_info", "gauge", "The current model, by the digest of its file.")
        labels = f'model="{_label(model)}",version="{_label(version)}"'
        yield f"mnist_sgd_model_info{{{labels}}} 1"
        yield from _head(
            "request_duration_seconds", "histogram", "Time from request to response, by route."
        )
        for route, at in LAYOUT.request_duration.items():
            name, values = "request_duration_seconds", total[at : at + len(SECONDS) + 2]
            yield from _histogram(f"mnist_sgd_{name}", SECONDS, values, f'route="{route}"')
        for name, what, at, bounds in (
            ("run_seconds", "Duration of a run of the model.", LAYOUT.run_seconds, SECONDS),
            ("run_images", "Images in a run of the model.", LAYOUT.run_images, IMAGES),
        ):
            yield from _head(name, "histogram", what)
            yield from _histogram(f"mnist_sgd_{name}", bounds, total[at : at + len(bounds) + 2])


def _label(value: str) -> str:
    """Escape the value of a label."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _head(name: str, kind: str, what: str) -> Iterator[str]:
    yield f"# HELP mnist_sgd_{name} {what}"
    yield f"# TYPE mnist_sgd_{name} {kind}"


def _histogram(
    name: str, bounds: Sequence[float], values: Sequence[float], label: str = ""
) -> Iterator[str]:
    """Format a histogram, of counts by bucket, the count above them, and the sum."""
    *counts, total = values
    below = list(accumulate(counts))
    labels = f"{{{label}}}" if label else ""
    for bound, count in zip([*map("{:g}".format, bounds), "+Inf"], below, strict=True):
        yield f'{name}_bucket{{{label and label + ","}le="{bound}"}} {count:.0f}'
    yield f"{name}_sum{labels} {total!r}"
    yield f"{name}_count{labels} {below[-1]:.0f}"
