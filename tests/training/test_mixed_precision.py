"""MixedPrecision is on while the model trains on a batch, and at no other moment."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch

import learners
from mnist_sgd import (
    Callback,
    CancelBatch,
    DataLoaders,
    Learner,
    MixedPrecision,
    create_model,
    cross_entropy,
    first,
)


def learner(model: torch.nn.Module | None = None, loss_func: Any = cross_entropy) -> Learner:
    model = model or create_model("mlp", 0)
    return learners.learner(model, loss_func=loss_func, metrics=None)


def weights(learn: Learner) -> list[list[float]]:
    return [p.flatten().tolist() for p in learn.model.parameters()]


class Seen(Callback):
    """Notes the dtype of the model's first layer."""

    def __init__(self, learn: Learner) -> None:
        self.dtypes: set[tuple[str, torch.dtype]] = set()
        learn.model.get_submodule("0").register_forward_hook(self.note)

    def note(self, module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        self.dtypes.add(("training" if module.training else "validation", output.dtype))


class Computing(Callback):
    """Notes the dtype of a product outside the model, wherever autocast could be on."""

    order = 20

    def __init__(self) -> None:
        self.dtypes: set[torch.dtype] = set()

    def note(self) -> None:
        self.dtypes.add((torch.ones(2, 2) @ torch.ones(2, 2)).dtype)

    def before_batch(self, learn: Learner) -> None:
        self.note()
        if learn.training and learn.batch == len(learn.dls.train):  # type: ignore[arg-type]
            raise CancelBatch

    def after_pred(self, learn: Learner) -> None:
        self.note()

    def after_train(self, learn: Learner) -> None:
        self.note()


def test_nothing_but_the_model_computes_in_bfloat16() -> None:
    computing = Computing()
    learner().fit(1, 0.01, cbs=[MixedPrecision(), computing])
    assert computing.dtypes == {torch.float32}


class Validates(Callback):
    """Validates within a training batch, after MixedPrecision has seen it."""

    order = 20

    def before_batch(self, learn: Learner) -> None:
        if learn.training and learn.batch < 3:
            learn.validate([first(learn.dls.valid)])


def test_a_validation_within_a_batch_changes_neither_precision() -> None:
    plain, validating = learner(), learner()
    seen = Seen(validating)
    plain.fit(1, 0.01, cbs=MixedPrecision())
    validating.fit(1, 0.01, cbs=[MixedPrecision(), Validates(), seen])
    assert {dtype for part, dtype in seen.dtypes if part == "training"} == {torch.bfloat16}
    assert {dtype for part, dtype in seen.dtypes if part == "validation"} == {torch.float32}
    assert weights(plain) == weights(validating)


class BadCleanup(Callback):
    def cleanup_fit(self, learn: Learner) -> None:
        raise OSError("no space left")


class Broken(Callback):
    order = 20

    def after_pred(self, learn: Learner) -> None:
        raise KeyError("broken")


class Interrupts(Callback):
    """Raises between MixedPrecision's start of a batch and the model's answer."""

    order = 20

    def before_batch(self, learn: Learner) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("broken", [Broken, Interrupts, "model"])
def test_no_error_leaves_the_process_in_bfloat16(broken: Any) -> None:
    learn = learner()
    if broken == "model":
        learn.model = torch.nn.Sequential(learn.model, torch.nn.Linear(3, 1))
    cbs = [BadCleanup(), MixedPrecision(), *([] if broken == "model" else [broken()])]
    with pytest.raises(OSError, match="no space left"):
        learn.fit(1, 0.01, cbs=cbs)
    assert not torch.is_autocast_enabled("cpu")


class Both(torch.nn.Module):
    """Returns its logits inside another structure."""

    def __init__(self, make: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.inside, self.make = torch.nn.Linear(784, 1), make

    def forward(self, x: torch.Tensor) -> Any:
        return self.make(self.inside(x))


class Named(NamedTuple):
    logits: torch.Tensor
    name: str


@pytest.mark.parametrize(
    ("make", "logits"),
    [
        (lambda x: (x, [x]), lambda pred: pred[1][0]),
        (lambda x: {"logits": x}, lambda pred: pred["logits"]),
        (lambda x: Named(x, "a"), lambda pred: pred.logits),
    ],
)
def test_mixed_precision_converts_every_output_of_a_model_to_float32(
    make: Any, logits: Any
) -> None:
    dtypes = set()

    def loss(pred: Any, targets: torch.Tensor) -> torch.Tensor:
        dtypes.add(logits(pred).dtype)
        return cross_entropy(logits(pred), targets)

    learner(Both(make), loss).fit(1, 0.1, cbs=MixedPrecision())
    assert dtypes == {torch.float32}


def test_mixed_precision_leaves_a_float64_model_in_float64() -> None:
    x, y = torch.rand(8, 784).double(), torch.ones(8, 1)
    dtypes = set()

    def loss(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        dtypes.add(predictions.dtype)
        return cross_entropy(predictions, targets)

    learn = Learner(DataLoaders([(x, y)], [(x, y)]), torch.nn.Linear(784, 1).double(), loss)
    with learn.no_logging():
        learn.fit(1, 0.1, cbs=MixedPrecision())
    assert dtypes == {torch.float64}
