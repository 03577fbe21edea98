"""Every kind of error has a status of HTTP, and a code of gRPC."""

import pytest

from mnist_sgd_serve.http.responses import STATUS
from mnist_sgd_serve.metrics import REASONS, STATUSES
from mnist_sgd_serve.protocol import Kind


def test_every_kind_has_a_status_that_the_metrics_know() -> None:
    assert set(STATUS) == set(Kind)
    assert set(STATUS.values()) <= set(STATUSES) & set(REASONS)


def test_every_kind_has_a_code_of_grpc() -> None:
    pytest.importorskip("grpc")
    from mnist_sgd_serve.rpc.calls import CODES

    assert set(CODES) == set(Kind)
