"""What cannot be trained or predicted is refused with what was given and what to do."""

import re
from collections.abc import Callable, Iterable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import TensorDataset

from image_sets import random_set
from mnist_sgd import (
    SGD,
    Callback,
    DataLoader,
    DataLoaders,
    ImageSet,
    Learner,
    MixedPrecision,
    adamw,
    batch_accuracy,
    create_model,
    cross_entropy,
    mnist_loss,
)

IMAGES = random_set(24)


def loaders(**options: Any) -> DataLoaders:
    return DataLoaders(*(DataLoader(IMAGES, 8, **options) for _ in range(2)))


def items(dtype: torch.dtype) -> DataLoaders:
    x = torch.tensor(IMAGES.images).reshape(-1, 784).to(dtype)
    y = torch.tensor(IMAGES.labels).long()[:, None]
    if dtype == torch.uint8:
        return loaders(dtype=dtype)
    return DataLoaders(*(DataLoader(TensorDataset(x, y), 8) for _ in range(2)))


def learner(
    dls: DataLoaders | None = None, model: nn.Module | None = None, **kinds: Any
) -> Learner:
    model = model or create_model("linear", 0)
    learn = Learner(dls or loaders(), model, **{"loss_func": cross_entropy, **kinds})
    learn.logger, learn.bar = lambda line: None, False
    return learn


def refused(kind: type[Exception], call: Callable[[], Any]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


# --- batches of another dtype than the model


class Pictures(nn.Module):
    """Raises the same error in the words of a convolution or another layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.LazyLinear(1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.layer(x.reshape(-1, 1, 28, 28)).flatten(1))
        return out


LAYERS: list[nn.Module] = [
    nn.Identity(),
    nn.Conv2d(1, 2, 3),
    nn.ConvTranspose2d(1, 2, 3),
    nn.BatchNorm2d(1),
    nn.GroupNorm(1, 1),
    nn.PReLU(),
]

TO_FLOAT = "give a DataLoader of images dtype=torch.float32, convert the items in the data set, as "
MISMATCHES = {
    torch.uint8: f"{TO_FLOAT}x.float() / 255, or let the model's forward convert its input so",
    torch.float64: f"{TO_FLOAT}x.float(), or convert the model, as model.double()",
    torch.bfloat16: f"{TO_FLOAT}x.float(), or convert the model, as model.bfloat16()",
    torch.int64: f"{TO_FLOAT}x.float(), or let the model's forward convert its input so",
}


@pytest.mark.parametrize("dtype", MISMATCHES, ids=str)
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_batches_of_another_dtype_than_the_model_are_named_with_it(
    dtype: torch.dtype, layer: nn.Module
) -> None:
    model = Pictures(layer)
    with torch.no_grad():
        model.eval()(torch.zeros(2, 784))  # now the lazy head has weights
    learn = learner(items(dtype), model)
    name = str(dtype).removeprefix("torch.")
    expected = f"the batches are {name} and the model's weights float32: {MISMATCHES[dtype]}"
    for call in (lambda: learn.fit(1), learn.validate, learn.get_preds):
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value) == expected
        assert isinstance(caught.value.__cause__, RuntimeError)


def test_models_of_other_dtypes_than_their_batches_are_named() -> None:
    half = learner(model=nn.Linear(784, 1).half())
    assert refused(TypeError, half.validate) == (
        "the batches are float32 and the model's weights float16: convert the items in the data "
        "set, as x.half(), or convert the model, as model.float()"
    )
    short = learner(model=nn.Linear(784, 1).bfloat16())
    assert refused(TypeError, lambda: short.predict(IMAGES.images[0])) == (
        "the batches are float32 and the model's weights bfloat16: give a DataLoader of images "
        "dtype=torch.bfloat16, convert the items in the data set, as x.bfloat16(), or convert the "
        "model, as model.float()"
    )


def test_a_wrong_dtype_is_named_under_mixed_precision_too() -> None:
    learn = learner(loaders(dtype=torch.uint8))
    assert refused(TypeError, lambda: learn.fit(1, cbs=MixedPrecision())) == (
        f"the batches are uint8 and the model's weights float32: {MISMATCHES[torch.uint8]}"
    )


def test_other_errors_of_a_model_are_passed_on_unchanged() -> None:
    wrong_size = learner(model=nn.Linear(700, 1))
    with pytest.raises(RuntimeError, match=r"mat1 and mat2 shapes cannot be multiplied"):
        wrong_size.fit(1)

    class Within(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) @ torch.ones(1, 1, dtype=torch.float64)

    with pytest.raises(RuntimeError, match=r"^expected m1 and m2 to have the same dtype"):
        learner(model=Within(784, 1)).fit(1)  # the batches have the dtype of the weights


# --- optimizers


class Chapters:
    """The optimizer that the chapter writes by hand."""

    def __init__(self, params: Iterable[Any], lr: float) -> None:
        self.params, self.lr = list(params), lr

    def step(self) -> None:
        for p in self.params:
            p.data -= p.grad.data * self.lr

    def zero_grad(self) -> None:
        for p in self.params:
            p.grad = None


class WithoutRate(Chapters):
    def __init__(self, params: Iterable[Any], lr: float) -> None:
        super().__init__(params, lr)
        self.param_groups = [{"params": self.params}]


OPTIMIZERS: list[tuple[Any, str]] = [
    (
        torch.optim.LBFGS,
        "LBFGS cannot be used here, as its step() needs arguments (missing a required argument: "
        "'closure'): an optimizer that computes the loss again by a closure, such as "
        "torch.optim.LBFGS, needs a loop of its own; take SGD, adamw or torch.optim.AdamW",
    ),
    (
        Chapters,
        "opt_func must make an optimizer with param_groups, in whose 'lr' the Learner sets the "
        "learning rate, got Chapters: derive it from torch.optim.Optimizer, or take "
        "mnist_sgd.BasicOptim, the chapter's",
    ),
    (
        WithoutRate,
        "opt_func must make an optimizer with param_groups, in whose 'lr' the Learner sets the "
        "learning rate, got WithoutRate: derive it from torch.optim.Optimizer, or take "
        "mnist_sgd.BasicOptim, the chapter's",
    ),
    (
        lambda params, lr: None,
        "opt_func must make an optimizer with param_groups, in whose 'lr' the Learner sets the "
        "learning rate, got NoneType: derive it from torch.optim.Optimizer, or take "
        "mnist_sgd.BasicOptim, the chapter's",
    ),
    (
        lambda params, lr: SimpleNamespace(param_groups=[{"params": list(params), "lr": lr}]),
        "opt_func must make an optimizer with step() and zero_grad(), got SimpleNamespace",
    ),
    (
        lambda params, lr: SGD(["weight"], lr),
        "SGD takes parameters, as model.parameters() gives them, or groups of them; got str",
    ),
]


@pytest.mark.parametrize(("opt_func", "text"), OPTIMIZERS)
def test_an_optimizer_that_the_loop_cannot_use_is_refused_before_any_batch(
    opt_func: Any, text: str
) -> None:
    learn = learner(opt_func=opt_func)
    assert refused(TypeError, lambda: learn.fit(1, lr=0.1)) == text
    learn.opt_func = SGD
    learn.fit(1, lr=0.1)
    assert len(learn.recorder.values) == 1


def test_an_assigned_optimizer_that_cannot_be_used_is_refused_too() -> None:
    learn = learner()
    learn.opt = Chapters(learn.model.parameters(), 0.1)
    assert refused(TypeError, lambda: learn.fit(1)) == OPTIMIZERS[1][1]

    class Assigns(Callback):
        def before_epoch(self, learn: Learner) -> None:
            learn.opt = torch.optim.LBFGS(learn.model.parameters())

    learn = learner()
    assert refused(TypeError, lambda: learn.fit(1, cbs=Assigns())) == OPTIMIZERS[0][1]


def test_an_optimizer_of_other_parameters_than_it_was_given_is_refused_by_name() -> None:
    other = create_model("linear", 1)
    learn = learner(opt_func=lambda params, lr: SGD(other.parameters(), lr))
    expected = (
        "opt_func made an optimizer of other parameters than it was given, so the model would not "
        "change: let it use its first argument, as lambda params, lr: SGD(params, lr) does"
    )
    for _ in range(2):
        assert refused(ValueError, lambda: learn.fit(1)) == expected
    learn.opt_func = SGD
    learn.fit(1)


@pytest.mark.parametrize("make", [SGD, adamw, torch.optim.SGD])
def test_named_parameters_train_like_unnamed_ones(make: Callable[..., Any]) -> None:
    plain, named = learner(opt_func=make), learner()
    named.opt_func = lambda params, lr: make(named.model.named_parameters(), lr=lr)
    for learn in (plain, named):
        learn.fit(2, lr=0.1)
    assert named.recorder.values == plain.recorder.values


# --- losses without a gradient


def not_reduced(predictions: Tensor, targets: Tensor) -> Tensor:
    return (predictions - targets) ** 2


def compares(predictions: Tensor, targets: Tensor) -> Tensor:
    return ((predictions > 0) != targets).float().mean()


def number(predictions: Tensor, targets: Tensor) -> Any:
    return float((predictions - targets).detach().abs().mean())


@pytest.mark.parametrize(
    ("loss", "kind", "text"),
    [
        (
            not_reduced,
            ValueError,
            "not_reduced must return a scalar, the mean loss of a batch, got float32 [8, 1]; give "
            "its mean()",
        ),
        (
            compares,
            ValueError,
            "the loss of compares has no gradient: it must be computed from the model's "
            "predictions by differentiable operations, which comparisons, rounding, item() and "
            "detach() are not",
        ),
        (
            number,
            TypeError,
            "number must return a tensor, the mean loss of a batch, got float",
        ),
    ],
)
def test_a_loss_without_a_gradient_is_named(loss: Any, kind: type[Exception], text: str) -> None:
    class Looks(Callback):
        def after_loss(self, learn: Learner) -> None:
            assert learn.loss is not None

    for cbs in ([], [Looks()]):
        learn = learner(loss_func=loss, cbs=cbs)
        assert refused(kind, partial(learn.fit, 1)) == text


def test_a_model_that_is_all_frozen_is_refused() -> None:
    expected = (
        "the model has no parameter that is trained: all are frozen, or there is none; "
        "requires_grad_(True) on a layer lets it learn"
    )
    learn = learner()
    learn.model.requires_grad_(False)
    assert refused(ValueError, lambda: learn.fit(1)) == expected
    learn.model.requires_grad_(True)
    learn.fit(1)
    assert refused(ValueError, lambda: learner(model=nn.Flatten()).fit(1)) != expected


# --- schedules


GIVES = (
    "a schedule must give a learning rate and a momentum, None for a momentum that stays, as in "
    "(0.1, None); falling at the progress 0 gives "
)
RANGES = (
    "a schedule must give a finite learning rate, 0 or more, and a momentum in [0, 1); falling at "
    "the progress 0 gives "
)


@pytest.mark.parametrize(
    ("gives", "kind", "text"),
    [
        (0.1, TypeError, f"{GIVES}0.1"),
        (None, TypeError, f"{GIVES}None"),
        ((0.1,), TypeError, f"{GIVES}(0.1,)"),
        ((None, 0.9), TypeError, f"{GIVES}(None, 0.9)"),
        ((float("nan"), None), ValueError, f"{RANGES}(nan, None)"),
        ((-0.1, None), ValueError, f"{RANGES}(-0.1, None)"),
        ((0.1, 1.5), ValueError, f"{RANGES}(0.1, 1.5)"),
    ],
)
def test_a_schedule_that_gives_no_rate_and_momentum_is_named(
    gives: Any, kind: type[Exception], text: str
) -> None:
    def falling(progress: float) -> Any:
        return gives

    falling.__qualname__ = "falling"
    assert refused(kind, lambda: learner().fit(1, schedule=falling)) == text


# --- several outputs


class Both(nn.Module):
    """Returns its logits and its input."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Linear(784, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.inside(x), x


class First(Callback):
    def after_pred(self, learn: Learner) -> None:
        learn.pred = learn.pred[0]


def test_predictions_of_several_tensors_say_how_to_choose_one() -> None:
    learn = learner(model=Both())
    expected = (
        "predictions must be a tensor of logits [B, 1], got a tuple: of several outputs of a model "
        "choose one in a callback's after_pred, as learn.pred = learn.pred[0] does"
    )
    assert refused(TypeError, lambda: learn.fit(1)) == expected  # by the loss
    learn.loss_func = lambda predictions, targets: cross_entropy(predictions[0], targets)
    learn.fit(1)
    for call in (learn.get_preds, lambda: learn.predict(IMAGES.images[0])):
        assert refused(TypeError, call) == expected
    learn.loss_func = cross_entropy
    assert len(learn.get_preds(cbs=First())[0]) == len(IMAGES)


def test_predict_refuses_a_model_of_two_outputs() -> None:
    learn = learner(model=nn.Linear(784, 2), loss_func=lambda p, t: p.mean())
    assert refused(ValueError, lambda: learn.predict(IMAGES.images[0])) == (
        "predict needs a model of one output, logits [B, 1]: for one image this one gives [1, 2]; "
        "get_preds gives all of them"
    )
    assert learn.get_preds()[0].shape == (24, 2)


# --- sets with other class names


def named(*classes: str) -> DataLoader:
    return DataLoader(ImageSet(IMAGES.images, IMAGES.labels, (classes[0], classes[1])), 8)


@pytest.mark.parametrize("valid", [("3", "7"), ("9", "7"), ("3", "9")])
def test_a_class_has_the_same_label_in_training_and_validation(valid: tuple[str, str]) -> None:
    expected = (
        f"the training set has the classes ('7', '3') and the validation set {valid}, so that "
        f"label 1 is '3' in one and {valid[1]!r} in the other; make both with the classes, and so "
        "the labels, in the same order"
    )
    train = named("7", "3")
    assert refused(ValueError, lambda: DataLoaders(train, named(*valid))) == expected
    learn = learner(DataLoaders(train, named("7", "3")))
    learn.dls.valid = named(*valid)
    for call in (lambda: learn.fit(1), learn.lr_find):
        assert re.fullmatch(re.escape(expected), refused(ValueError, call))


def test_sets_with_other_names_for_the_same_labels_are_taken() -> None:
    DataLoaders(named("7", "3"), named("0", "1"))
    DataLoaders(named("7", "3"), named("seven", "three"))
    DataLoaders(named("7", "3"), named("7", "9"))


def test_pixels_are_normalised_alike_in_training_and_validation() -> None:
    normalised, plain = DataLoader(IMAGES, 8, mean=0.1307, std=0.3081), DataLoader(IMAGES, 8)
    expected = (
        "the training batches have mean 0.1307 and std 0.3081, the validation batches mean 0.0 and "
        "std 1.0: a model would be evaluated and exported with another normalisation than it is "
        "trained with; give both loaders the same"
    )
    assert refused(ValueError, lambda: DataLoaders(normalised, plain)) == expected
    learn = learner(DataLoaders(normalised, normalised))
    learn.dls.valid = plain
    assert refused(ValueError, lambda: learn.fit(1)) == expected


# --- targets that are no probabilities

OFFSETS = {(-1.0, 1.0): "(learn.yb > 0).float()", (1.0, 2.0): "(learn.yb > 1.5).float()"}


@pytest.mark.parametrize("labels", OFFSETS)
@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (mnist_loss, "mnist_loss"),
        (partial(cross_entropy), "cross_entropy"),
        (nn.BCEWithLogitsLoss(), "BCEWithLogitsLoss"),
        (binary_cross_entropy_with_logits, "binary_cross_entropy_with_logits"),
    ],
)
@pytest.mark.parametrize("part", ["train", "valid"])
def test_targets_outside_0_to_1_are_refused_by_losses_that_take_probabilities(
    part: str, loss: Any, name: str, labels: tuple[float, float]
) -> None:
    x, y = torch.rand(24, 784), torch.tensor([0.0, 1.0] * 12)[:, None]
    low, high = labels
    other = y * (high - low) + low
    given = {"train": y, "valid": y, part: other}
    loaders = {key: DataLoader(TensorDataset(x, each), 8) for key, each in given.items()}
    learn = learner(DataLoaders(loaders["train"], loaders["valid"]), loss_func=loss)
    assert refused(ValueError, lambda: learn.fit(1, 0.1)) == (
        f"{name} takes targets from 0 to 1, 1 for the positive class; those of the batch go from "
        f"{low:g} to {high:g}: give labels 0 and 1, or convert them in a callback's before_batch, "
        f"as learn.yb = {OFFSETS[labels]} does"
    )
    assert refused(ValueError, lambda: learn.validate([(x, other)])).startswith(name)


def test_targets_from_0_to_1_may_be_anything_between_and_other_losses_take_any() -> None:
    class Smooths(Callback):
        def before_batch(self, learn: Learner) -> None:
            learn.yb = learn.yb.float() * 0.9 + 0.05

    class Converts(Callback):
        def before_batch(self, learn: Learner) -> None:
            learn.yb = (learn.yb > 0).float()

    def hinge(predictions: Tensor, targets: Tensor) -> Tensor:
        return (1 - predictions * targets).clamp(min=0).mean()

    learner(cbs=Smooths()).fit(1, 0.1)
    x, y = torch.rand(24, 784), torch.tensor([-1.0, 1.0] * 12)[:, None]
    loader = DataLoader(TensorDataset(x, y), 8)
    learner(DataLoaders(loader, loader), loss_func=hinge).fit(1, 0.1)
    learner(DataLoaders(loader, loader), cbs=Converts()).fit(1, 0.1)


def test_targets_that_are_no_numbers_are_refused() -> None:
    x, y = torch.rand(8, 784), torch.full((8, 1), torch.nan)
    loader = DataLoader(TensorDataset(x, y), 8)
    said = refused(ValueError, lambda: learner(DataLoaders(loader, loader)).fit(1, 0.1))
    assert "those of the batch go from nan to nan: " in said


@pytest.mark.parametrize(
    ("loss", "metrics", "name"),
    [
        (mnist_loss, None, "mnist_loss"),
        (nn.BCEWithLogitsLoss(), batch_accuracy, "BCEWithLogitsLoss"),
        (nn.BCELoss(), batch_accuracy, "batch_accuracy"),
        (nn.BCELoss(), None, None),
    ],
)
def test_a_model_that_ends_in_a_sigmoid_is_not_trained_with_another_in_silence(
    loss: Any, metrics: Any, name: str | None, recwarn: pytest.WarningsRecorder
) -> None:
    model = nn.Sequential(nn.Linear(784, 1), nn.Sigmoid())
    x, y = torch.rand(24, 784), torch.tensor([0.0, 1.0] * 12)[:, None]
    loader = DataLoader(TensorDataset(x, y), 8)
    learn = learner(DataLoaders(loader, loader), model, loss_func=loss, metrics=metrics)
    learn.fit(2, 0.1)
    said = (
        f"the model ends in a sigmoid, and {name} applies another, after which all probabilities "
    )
    expected = [said + "are above 0.5: leave out the model's own"] if name else []
    assert [str(each.message) for each in recwarn][:1] == expected
