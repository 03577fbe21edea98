"""A fit resumed from any checkpoint gives what the uninterrupted fit does, to the last bit."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import learners
from hooks import AFTER_CHECKPOINTS, Copies, StopAfter
from image_sets import random_set
from learners import BATCHES
from mnist_sgd import (
    SGD,
    Augmentation,
    BasicOptim,
    Callback,
    CancelTrain,
    CancelValidate,
    Checkpoint,
    CheckpointError,
    DataLoader,
    DataLoaders,
    Learner,
    MixedPrecision,
    OneCycle,
    ReduceLROnPlateau,
    SaveBest,
    adamw,
    batch_accuracy,
    create_model,
    cross_entropy,
)
from mnist_sgd._state_file import dump, parse
from mnist_sgd.training.callbacks.base import CancelFit
from mnist_sgd.training.checkpoint import load_checkpoint
from networks import dropping
from values import same

MOMENTUM: Any = np.float32(0.9)


def weighted_loss(logits: Tensor, targets: Tensor, weight: float) -> Tensor:
    return weight * cross_entropy(logits, targets)


class Scales(Callback):
    """A custom callback that changes the training, and tells by what."""

    def __init__(self, scale: int) -> None:
        self.scale = scale

    def after_loss(self, learn: Learner) -> None:
        learn.loss = learn.loss * self.scale

    def fit_settings(self) -> dict[str, str]:
        return {"scale of the loss": str(self.scale)}


def learner(model: nn.Module | None = None, seed: int = 5, **settings: Any) -> Learner:
    made = learners.learner(model, seed=seed, **settings)
    made.table = []  # type: ignore[attr-defined]
    made.logger = made.table.append  # type: ignore[attr-defined]
    return made


def outcome(learn: Learner) -> dict[str, Any]:
    """All that a fit leaves, the seconds it took apart."""
    recorder = learn.recorder.state_dict()
    recorder["lines"] = [line.rsplit(maxsplit=1)[0] for line in recorder["lines"]]
    return {
        "weights": dict(learn.model.state_dict()),
        "optimizer": learn.opt.state_dict(),
        "recorder": recorder,
        "table": [line.rsplit(maxsplit=1)[0] for line in learn.table],  # type: ignore[attr-defined]
        "loaders": [learn.dls.train.state_dict(), learn.dls.valid.state_dict()],  # type: ignore[attr-defined]
        "random": torch.get_rng_state(),
        "epoch": learn.epoch,
    }


class Halve(Callback):
    """Halves the learning rate after each epoch."""

    def after_epoch(self, learn: Learner) -> None:
        for group in learn.opt.param_groups:
            group["lr"] /= 2


every_kind = pytest.mark.parametrize(
    ("make", "opt_func", "schedule"),
    [
        (partial(create_model, "linear"), BasicOptim, None),
        (partial(create_model, "mlp"), partial(SGD, mom=0.9, wd=0.01), None),
        (partial(create_model, "linear"), partial(torch.optim.SGD, momentum=0.9), None),
        (dropping, torch.optim.Adam, None),
        (partial(create_model, "mlp"), partial(SGD, mom=0.9, wd=0.01), OneCycle(0.1)),
        (dropping, adamw, OneCycle(0.1)),
    ],
    ids=["basic", "momentum", "torch-momentum", "dropout-adam", "cycle", "dropout-adam-cycle"],
)


@every_kind
def test_from_every_batch_of_two_epochs_the_fit_resumes_to_the_same_bits(
    make: Callable[[], nn.Module],
    opt_func: Callable[..., Any],
    schedule: OneCycle | None,
    tmp_path: Path,
) -> None:
    def fitted(*cbs: Callback, resume: Path | None = None) -> Learner:
        torch.manual_seed(0 if resume is None else 1)
        learn = learner(make(), opt_func=opt_func)
        learn.fit(2, lr=0.1, cbs=[Halve(), *cbs], resume=resume, schedule=schedule)
        return learn

    undisturbed = outcome(fitted())
    path = tmp_path / "checkpoint.safetensors"
    copies = Copies(path)
    assert same(outcome(fitted(Checkpoint(path, every=1), copies)), undisturbed)
    assert len(copies.copies) == 2 * BATCHES + 2
    for cut in copies.copies[:-1]:
        assert same(outcome(fitted(resume=cut)), undisturbed), cut
    finished = outcome(fitted(resume=copies.copies[-1]))
    assert finished["table"] == undisturbed["table"]
    assert same(finished["weights"], undisturbed["weights"])


def test_a_fit_interrupted_again_and_again_resumes_each_time(tmp_path: Path) -> None:
    class Stop(Callback):
        order = AFTER_CHECKPOINTS

        def after_batch(self, learn: Learner) -> None:
            if learn.training:
                raise CancelFit

    whole = learner()
    whole.fit(2)
    path = tmp_path / "c.safetensors"
    resumes = 0
    while len(learn_rows(path)) < 2 and resumes < 3 * BATCHES:
        learn = learner(create_model("linear", resumes))
        cbs = [Checkpoint(path, every=1), Stop()]
        learn.fit(2, cbs=cbs, resume=path if path.exists() else None)
        resumes += 1
    assert resumes == 2 * BATCHES + 1
    learn = learner()
    learn.fit(2, resume=path)
    assert same(outcome(learn)["weights"], outcome(whole)["weights"])
    assert learn.recorder.losses == whole.recorder.losses


def learn_rows(path: Path) -> list[list[float]]:
    rows: list[list[float]] = (
        parse(path.read_bytes())["recorder"]["values"] if path.exists() else []
    )
    return rows


def test_batches_between_two_checkpoints_are_done_again(tmp_path: Path) -> None:
    seen: list[int] = []

    class Seen(Callback):
        order = AFTER_CHECKPOINTS

        def after_batch(self, learn: Learner) -> None:
            if learn.training:
                state = parse(path.read_bytes()) if path.exists() else None
                seen.append(state["train"]["samples_seen"] if state else -1)

    path = tmp_path / "c.safetensors"
    learner().fit(1, cbs=[Checkpoint(path, every=4), Seen()])
    assert seen == [-1, -1, -1, 16, 16, 16]
    assert parse(path.read_bytes())["train"]["samples_seen"] == 0
    assert parse(path.read_bytes())["epoch"] == 1


@pytest.mark.parametrize("cancelled", [CancelTrain, CancelValidate])
def test_an_epoch_left_in_the_middle_is_over_for_its_checkpoint_too(
    cancelled: type[Exception], tmp_path: Path
) -> None:
    class Leave(Callback):
        def after_loss(self, learn: Learner) -> None:
            last = len(learn.recorder.lrs) in (3, 7)
            if last and learn.training is (cancelled is CancelTrain):
                raise cancelled

    whole = learner()
    whole.fit(3, cbs=Leave())
    path = tmp_path / "c.safetensors"
    copies = Copies(path)
    learner().fit(3, cbs=[Leave(), Checkpoint(path, every=1), copies])
    for cut in copies.copies[:-1]:
        learn = learner()
        learn.fit(3, cbs=Leave(), resume=cut)
        assert same(outcome(learn), outcome(whole)), cut


def test_a_finished_fit_is_only_printed_and_a_longer_one_resumes_from_it(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    short, long = learner(), learner()
    short.fit(1, cbs=Checkpoint(path))
    long.fit(2)
    again = learner()
    again.fit(1, resume=path)
    assert outcome(again)["table"] == outcome(short)["table"]
    longer = learner()
    longer.fit(2, resume=path)
    assert same(outcome(longer), outcome(long))


def test_a_new_checkpoint_clears_away_what_killed_writers_left(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    others = [tmp_path / name for name in (".c.0123.safetensors", ".d.01234567.safetensors")]
    for file in (tmp_path / ".c.01234567.safetensors", *others):
        file.touch()
    learner().fit(1, cbs=Checkpoint(path))
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


# What is refused.


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one epoch of a linear model."""
    path = tmp_path_factory.mktemp("checkpoint") / "c.safetensors"
    learner().fit(2, lr=0.5, cbs=Checkpoint(path))
    return path


def other_data(**changes: Any) -> DataLoaders:
    settings: dict[str, Any] = {"batch_size": 4, "shuffle": True, "seed": 5} | changes
    train, valid = random_set(settings.pop("count", 22)), random_set(settings.pop("valid", 10))
    pixels = {name: settings[name] for name in ("mean", "std") if name in settings}
    valid_loader = DataLoader(valid, 4, shuffle=True, **pixels)
    return DataLoaders(DataLoader(train, **settings), valid_loader)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.25}, "other learning rate: the checkpoint has 0.5, this fit has 0.25"),
        (
            {"schedule": OneCycle(0.5)},
            r"other schedule: the checkpoint has flat, this fit has OneCycle\(lr_max=0.5, "
            r"div=25.0, div_final=100000.0, pct_start=0.25, moms=\(0.95, 0.85, 0.95\)\) "
            r"over 2 epochs",
        ),
        (
            {"loss_func": cross_entropy},
            "other loss: the checkpoint has mnist_loss, this fit has cross_entropy",
        ),
        (
            {"cbs": SaveBest()},
            "other callbacks with a state: the checkpoint has none, this fit has SaveBest",
        ),
        ({"n_epoch": 1}, "it has 2 finished epochs, this fit is of 1"),
        ({"model": "mlp"}, "other model: the checkpoint has linear, this fit has mlp"),
        (
            {"model": nn.Linear(784, 1, bias=False)},
            "other model: the checkpoint has linear, this fit has Linear",
        ),
        (
            {"opt_func": torch.optim.SGD},
            "other optimizer: the checkpoint has mnist_sgd.SGD, this fit has torch.optim.sgd.SGD",
        ),
        (
            {"opt_func": partial(SGD, mom=0.9)},
            "other momentum: the checkpoint has 0.0, this fit has 0.9",
        ),
        (
            {"opt_func": partial(SGD, wd=0.5)},
            "other weight decay: the checkpoint has 0.0, this fit has 0.5",
        ),
        (
            {"cbs": MixedPrecision()},
            "other mixed precision: the checkpoint has none, this fit has bfloat16",
        ),
        (
            {"cbs": ReduceLROnPlateau(2)},
            "other ReduceLROnPlateau: the checkpoint has none, this fit has patience 2, factor "
            "10.0, min_lr 0.0, monitor valid_loss, min_delta 0.0",
        ),
        (
            {"model": create_model("linear").bfloat16(), "dtype": torch.bfloat16},
            "other dtype of the weights: the checkpoint has float32, this fit has bfloat16",
        ),
        (
            {"mean": 0.1, "std": 0.3},
            r"other training batches: the checkpoint has float32 \[784\] with mean 0.0 and std "
            r"1.0, this fit has float32 \[784\] with mean 0.1 and std 0.3",
        ),
        ({"drop_last": True}, "the state is of another drop_last: it has 0, this loader has 1"),
        ({"shuffle": False}, "the state is of another shuffle: it has 1, this loader has 0"),
        (
            {"augment": Augmentation(degrees=5)},
            r"the state is of another augmentation: the checkpoint has none, this fit has "
            r"Augmentation\(degrees=5.0, translate=0.0, scale=\(1.0, 1.0\), shear=0.0, "
            r"outside='black', share=1.0\)",
        ),
        ({"batch_size": 8}, "the state is of another batch_size: it has 4, this loader has 8"),
        ({"seed": 6}, "the state is of another seed: it has 5, this loader has 6"),
        (
            {"count": 24},
            "the state is of another dataset: for training the checkpoint has 22 images of no and "
            r"yes \('random'\), this fit has 24 images of no and yes \('random'\); resume with the "
            "data of the checkpoint, or start again without it",
        ),
        (
            {"valid": 12},
            "the state is of another dataset: for validation the checkpoint has 10 images of no "
            r"and yes \('random'\), this fit has 12 images of no and yes \('random'\); resume with "
            "the data of the checkpoint, or start again without it",
        ),
        (
            {"metrics": ()},
            "the state has the columns epoch, train_loss, valid_loss, batch_accuracy, time; "
            "this recorder has epoch, train_loss, valid_loss, time",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_fits_checkpoint_is_refused_by_what_differs(
    changes: dict[str, Any], message: str, checkpoint: Path
) -> None:
    model = changes.pop("model", "linear")
    lr, n_epoch = changes.pop("lr", 0.5), changes.pop("n_epoch", 2)
    cbs, schedule = changes.pop("cbs", ()), changes.pop("schedule", None)
    settings: dict[str, Any] = {"opt_func": SGD, "metrics": batch_accuracy}
    settings |= {
        key: changes.pop(key) for key in ("opt_func", "loss_func", "metrics") if key in changes
    }
    made = create_model(model, 3) if isinstance(model, str) else model
    learn = Learner(other_data(**changes), made, **settings)
    before = {name: t.clone() for name, t in learn.model.state_dict().items()}
    with learn.no_logging(), pytest.raises(CheckpointError) as refused:
        learn.fit(n_epoch, lr=lr, cbs=cbs, resume=checkpoint, schedule=schedule)
    assert re.fullmatch(re.escape(f"{checkpoint}: ") + message, str(refused.value))
    assert same(dict(learn.model.state_dict()), before)


@pytest.mark.parametrize(
    ("there", "here", "message"),
    [
        (
            {"cbs": MixedPrecision()},
            {},
            "other mixed precision: the checkpoint has bfloat16, this fit has none",
        ),
        (
            {"cbs": SaveBest()},
            {"cbs": SaveBest(monitor="batch_accuracy")},
            "other SaveBest: the checkpoint has monitor valid_loss, min_delta 0.0, this fit has "
            "monitor batch_accuracy, min_delta 0.0",
        ),
        (
            {"opt_func": partial(adamw, wd=0.5)},
            {"opt_func": partial(adamw, wd=0.25)},
            "other weight decay: the checkpoint has 0.5 and 0.0, this fit has 0.25 and 0.0",
        ),
        (
            {"opt_func": adamw},
            {"opt_func": partial(torch.optim.AdamW, betas=(0.9, 0.99), weight_decay=0)},
            "other second beta of the optimizer: the checkpoint has 0.999, this fit has 0.99",
        ),
        (
            {"opt_func": torch.optim.Adam},
            {"opt_func": partial(torch.optim.Adam, amsgrad=True)},
            "other amsgrad of the optimizer: the checkpoint has False, this fit has True",
        ),
        (
            {"loss_func": partial(weighted_loss, weight=2)},
            {"loss_func": partial(weighted_loss, weight=3)},
            "other settings of the loss: the checkpoint has weighted_loss(weight=2), this fit has "
            "weighted_loss(weight=3)",
        ),
        (
            {"model": partial(dropping, 0.5)},
            {"model": partial(dropping, 0.25)},
            "other layers: the checkpoint has (3): Dropout(p=0.5, inplace=False), this fit has "
            "(3): Dropout(p=0.25, inplace=False)",
        ),
        (
            {"cbs": Scales(2)},
            {"cbs": Scales(4)},
            "other scale of the loss: the checkpoint has 2, this fit has 4",
        ),
    ],
    ids=lambda value: next(iter(value), "") if isinstance(value, dict) else "",
)
def test_other_settings_of_the_same_parts_are_refused_with_both_values(
    there: dict[str, Any], here: dict[str, Any], message: str, tmp_path: Path
) -> None:
    def fitted(settings: dict[str, Any], *cbs: Callback, resume: Path | None = None) -> None:
        settings = dict(settings)
        every = [cb for cb in (settings.pop("cbs", None), *cbs) if cb is not None]
        model = settings.pop("model", partial(create_model, "mlp"))()
        learner(model, **settings).fit(1, lr=0.01, cbs=every, resume=resume)

    path = tmp_path / "c.safetensors"
    fitted(there, Checkpoint(path))
    fitted(there, resume=path)
    with pytest.raises(CheckpointError) as refused:
        fitted(here, resume=path)
    assert str(refused.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ({"lr": np.float32(0.1)}, {"lr": 0.1}),
        ({"lr": 0.1}, {"lr": np.float32(0.1)}),
        ({"opt_func": partial(SGD, mom=0.9)}, {"opt_func": partial(SGD, mom=MOMENTUM)}),
        ({"opt_func": partial(SGD, wd=0)}, {"opt_func": partial(SGD, wd=0.0)}),
        *(
            ({"opt_func": partial(torch.optim.Adam, **one)}, {"opt_func": torch.optim.Adam})
            for one in (
                {"fused": False},
                {"foreach": True},
                {"foreach": False},
                {"capturable": False, "maximize": False, "differentiable": False},
                {"betas": (np.float64(0.9), 0.999)},
                {"betas": [0.9, 0.999]},
                {"eps": np.float32(1e-8)},
            )
        ),
    ],
    ids=str,
)
def test_what_is_written_in_another_way_is_no_other_setting(
    there: dict[str, Any], here: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "c.safetensors"

    def fitted(settings: dict[str, Any], *cbs: Callback, resume: Path | None = None) -> None:
        settings = {"lr": 0.01, **settings}
        lr = settings.pop("lr")
        learner(**settings).fit(1, lr=lr, cbs=cbs, resume=resume)

    fitted(there, Checkpoint(path))
    fitted(here, resume=path)
    fitted(here, Checkpoint(path))
    fitted(there, resume=path)


@pytest.mark.parametrize(
    ("there", "here", "message"),
    [
        (
            {"lr": 0.1},
            {"lr": 0.10001},
            "learning rate: the checkpoint has 0.1, this fit has 0.10001",
        ),
        (
            {"opt_func": partial(torch.optim.Adam, eps=1e-8)},
            {"opt_func": partial(torch.optim.Adam, eps=1e-6)},
            "eps of the optimizer: the checkpoint has 1e-08, this fit has 1e-06",
        ),
        (
            {"opt_func": partial(torch.optim.Adam, fused=True)},
            {"opt_func": torch.optim.Adam},
            "fused of the optimizer: the checkpoint has True, this fit has none",
        ),
    ],
    ids=["lr", "eps", "fused"],
)
def test_another_number_and_another_switch_are_other_settings(
    there: dict[str, Any], here: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "c.safetensors"
    learner(opt_func=there.get("opt_func", SGD)).fit(
        1, lr=there.get("lr", 0.1), cbs=Checkpoint(path)
    )
    with pytest.raises(CheckpointError) as refused:
        learner(opt_func=here.get("opt_func", SGD)).fit(1, lr=here.get("lr", 0.1), resume=path)
    assert str(refused.value) == f"{path}: other {message}"


def test_the_settings_are_those_that_a_kept_optimizer_was_made_with(tmp_path: Path) -> None:
    """A cycle leaves another momentum behind, with which the next fit begins."""
    path = tmp_path / "c.safetensors"

    def cycled() -> Learner:
        learn = learner(create_model("mlp", 0), opt_func=partial(SGD, mom=0.9))
        learn.fit_one_cycle(1, 0.1)
        return learn

    whole = cycled()
    whole.fit(2, lr=0.1, cbs=Checkpoint(path, every=4))
    copies = Copies(path)
    cycled().fit(2, lr=0.1, cbs=[Checkpoint(path, every=4), copies])
    resumed = learner(create_model("mlp", 3), opt_func=partial(SGD, mom=0.9))
    resumed.fit(2, lr=0.1, resume=copies.copies[5])
    assert same(dict(resumed.model.state_dict()), dict(whole.model.state_dict()))


def of_format_2(path: Path) -> Path:
    """A checkpoint as versions wrote it that did not note the settings."""
    state = parse(path.read_bytes())
    kept = {"checkpoint", "fit", "epoch", "train", "valid", "recorder", "model", "optimizer"}
    kept |= {"callbacks", "random"}
    old = path.with_name("old.safetensors")
    old.write_bytes(dump({name: value for name, value in state.items() if name in kept}))
    return old


@pytest.mark.parametrize("schedule", [None, OneCycle(0.1)])
def test_a_checkpoint_without_noted_settings_resumes_to_the_same_bits(
    schedule: OneCycle | None, tmp_path: Path
) -> None:
    path = tmp_path / "c.safetensors"
    copies = Copies(path)

    def fitted(*cbs: Callback, resume: Path | None = None) -> Learner:
        torch.manual_seed(0 if resume is None else 1)
        learn = learner(dropping(), opt_func=adamw)
        learn.fit(2, lr=0.1, cbs=cbs, resume=resume, schedule=schedule)
        return learn

    whole = fitted(Checkpoint(path, every=1), copies)
    assert same(outcome(fitted(resume=of_format_2(copies.copies[8]))), outcome(whole))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"opt_func": partial(SGD, mom=0.9)},
            "other momentum: the checkpoint has 0.0, this fit has 0.9",
        ),
        (
            {"opt_func": partial(SGD, wd=0.5)},
            "other weight decay: the checkpoint has 0.0, this fit has 0.5",
        ),
        (
            {"cbs": MixedPrecision()},
            "an earlier version wrote it, which did not note the mixed precision; this fit has "
            "bfloat16: start again, without the checkpoint",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_a_checkpoint_without_noted_settings_shows_is_compared_all_the_same(
    changes: dict[str, Any], message: str, checkpoint: Path
) -> None:
    old, cbs = of_format_2(checkpoint), changes.pop("cbs", ())
    with pytest.raises(CheckpointError) as refused:
        learner(**changes).fit(2, lr=0.5, cbs=cbs, resume=old)
    assert str(refused.value) == f"{old}: {message}"


def test_a_checkpoint_of_another_torch_is_not_refused_for_how_that_writes_settings(
    checkpoint: Path, tmp_path: Path
) -> None:
    state = parse(checkpoint.read_bytes())
    state["torch"] = "2.6.0"
    state["settings"] |= {"layers": "Linear(784, 1)", "new of the optimizer": "False"}
    path = tmp_path / "c.safetensors"
    path.write_bytes(dump(state))
    learner().fit(2, lr=0.5, resume=path)
    with pytest.raises(CheckpointError, match=r"^.*: other momentum: "):
        learner(opt_func=partial(SGD, mom=0.9)).fit(2, lr=0.5, resume=path)


@pytest.mark.parametrize("opt_func", [partial(SGD, mom=0.9, wd=0.01), adamw, BasicOptim])
def test_a_checkpoint_with_an_earlier_versions_names_resumes_bit_for_bit(
    opt_func: Callable[..., Any], tmp_path: Path
) -> None:
    """It named the module of the optimizer's class, and called momentum buffers averages."""
    path = tmp_path / "c.safetensors"
    whole = learner(opt_func=opt_func)
    with whole.no_bar():
        whole.fit(2, lr=0.05, cbs=[SaveBest(), Checkpoint(path, every=1), copies := Copies(path)])
    state = parse(copies.copies[BATCHES + 3].read_bytes())
    name = state["fit"]["optimizer"]
    if opt_func is not adamw:
        assert name in ("mnist_sgd.SGD", "mnist_sgd.BasicOptim")
        earlier = name.replace("mnist_sgd.", "mnist_sgd.optimizers.")
        state["fit"]["optimizer"] = state["parts"]["texts"]["optimizer"] = earlier
        for each in state["optimizer"]["state"].values():
            each["average"] = each.pop("momentum_buffer")
    path.write_bytes(dump(state))
    resumed = learner(opt_func=opt_func)
    resumed.fit(2, lr=0.05, cbs=SaveBest(), resume=path)
    assert same(outcome(resumed), outcome(whole))


def test_a_cycle_does_not_resume_over_another_number_of_epochs(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    learner().fit_one_cycle(1, lr_max=0.5, cbs=Checkpoint(path, every=1))
    message = r"other schedule: the checkpoint has OneCycle\(.*\) over 1 epochs, this fit has .* 2 "
    with pytest.raises(CheckpointError, match=message):
        learner().fit_one_cycle(2, lr_max=0.5, resume=path)


def test_weights_of_another_shape_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    small, large = (nn.Sequential(nn.Linear(784, n), nn.Linear(n, 1)) for n in (2, 3))
    learner(small).fit(1, cbs=Checkpoint(path))
    with pytest.raises(CheckpointError) as refused:
        learner(large).fit(1, resume=path)
    assert str(refused.value) == (
        f"{path}: other weights: the checkpoint has "
        "0.weight [2, 784], 0.bias [2], 1.weight [1, 2], 1.bias [1], "
        "this fit has 0.weight [3, 784], 0.bias [3], 1.weight [1, 3], 1.bias [1]"
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1], "not a checkpoint: not a safetensors file: "),
        (lambda content: b"", "not a checkpoint: not a safetensors file: "),
        (
            lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
            "not a checkpoint: damaged: its digest does not match its content",
        ),
        (
            lambda content: dump(parse(content) | {"checkpoint": 1}),
            "a checkpoint of format 1; this version of mnist_sgd reads 2",
        ),
        (
            lambda content: dump({"other": 1}),
            "a checkpoint of format None; this version of mnist_sgd reads 2",
        ),
    ],
)
def test_a_damaged_or_foreign_file_is_named(
    damage: Callable[[bytes], bytes], message: str, checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(damage(checkpoint.read_bytes()))
    with pytest.raises(CheckpointError, match="^" + re.escape(f"{path}: {message}")):
        learner().fit(2, lr=0.5, resume=path)


def test_weights_are_no_checkpoint_and_a_missing_file_is_named(
    checkpoint: Path, tmp_path: Path
) -> None:
    weights, missing = tmp_path / "w.safetensors", tmp_path / "none.safetensors"
    learner().save(weights)
    message = f"{weights}: not a checkpoint: a safetensors file of another kind"
    with pytest.raises(CheckpointError, match=re.escape(message)):
        learner().fit(1, resume=weights)
    with pytest.raises(CheckpointError, match=re.escape(f"{missing}: there is no such file")):
        learner().fit(1, resume=missing)


def test_what_has_no_state_is_refused_before_any_work(tmp_path: Path) -> None:
    class Bare:
        def __init__(self, params: object, lr: float) -> None:
            self.param_groups = [{"lr": lr}]

    path = tmp_path / "c.safetensors"
    with pytest.raises(CheckpointError, match=r"with state_dict\(\) .*; Bare has none$"):
        learner(opt_func=Bare).fit(1, cbs=Checkpoint(path))
    learn = learner()
    learn.dls.train = [(torch.rand(4, 784), torch.ones(4, 1))]
    with pytest.raises(CheckpointError, match=r"position in the .*; they come from a list"):
        learn.fit(1, cbs=Checkpoint(path))
    folder = tmp_path / "none"
    with pytest.raises(CheckpointError, match=re.escape(f"there is no folder {folder}")):
        learner().fit(1, cbs=Checkpoint(folder / "c.safetensors"))
    with pytest.raises(ValueError, match=r"^every must be at least 1 batch, got 0$"):
        Checkpoint(path, every=0)
    assert list(tmp_path.iterdir()) == []
    assert load_checkpoint.__module__ == "mnist_sgd.training.checkpoint"


def test_a_callback_with_a_state_that_it_cannot_load_is_refused_before_any_work(
    tmp_path: Path,
) -> None:
    class Gives(Callback):
        def state_dict(self) -> dict[str, Any]:
            return {}

    class GivesASet(Gives):
        def state_dict(self) -> dict[str, Any]:
            return {"seen": {1, 2}}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            pass

    path = tmp_path / "c"
    learner().fit(1, cbs=Checkpoint(path))
    for settings in ({"cbs": [Gives(), Checkpoint(path)]}, {"cbs": Gives(), "resume": path}):
        learn = learner()
        with pytest.raises(CheckpointError) as refused:
            learn.fit(2, **settings)
        assert str(refused.value).removeprefix(f"{path}: ") == (
            "a checkpoint needs callbacks that have a state_dict() to have a load_state_dict(), "
            "too; Gives has none"
        )
        assert learn.recorder.lrs == []
    learn = learner()
    with pytest.raises(CheckpointError) as refused:
        learn.fit(1, cbs=[GivesASet(), Checkpoint(path)])
    assert str(refused.value) == (
        f"{path} cannot be written: callbacks.GivesASet.seen is a set, which a file of tensors "
        "cannot hold"
    )
    assert learn.recorder.lrs == []


def test_a_folder_instead_of_a_file_is_refused_before_any_work(tmp_path: Path) -> None:
    learn = learner()
    with pytest.raises(CheckpointError) as refused:
        learn.fit(1, cbs=Checkpoint(tmp_path))
    assert str(refused.value) == f"{tmp_path} is a folder: name a file in it"
    assert learn.recorder.lrs == []


def test_a_lazy_layer_that_no_batch_reaches_is_named(tmp_path: Path) -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(784, 1), nn.LazyLinear(1)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.used(x)
            return logits

    path = tmp_path / "c"
    with pytest.raises(CheckpointError) as refused:
        learner(Unused()).fit(1, cbs=Checkpoint(path))
    assert str(refused.value) == (
        f"{path} cannot be written: unused.weight has no shape yet, as the layer has had no batch"
    )


@pytest.mark.parametrize("place", ["before", "after", "of the learner"])
def test_a_checkpoint_includes_other_callbacks_changes_wherever_it_stands_in_the_list(
    place: str, tmp_path: Path
) -> None:
    """The checkpoint is written in the best epoch, while SaveBest keeps its weights."""
    path = tmp_path / "c"

    class Stop(Callback):
        order = AFTER_CHECKPOINTS

        def after_epoch(self, learn: Learner) -> None:
            if len(learn.recorder.values) == best + 1:
                raise KeyboardInterrupt

    def fit(*stop: Callback, resume: Path | None = None) -> Learner:
        own = [Checkpoint(path)] if place == "of the learner" else []
        learn = learner(create_model("mlp", 0), loss_func=cross_entropy, cbs=own)
        each = {"before": [Checkpoint(path), SaveBest()], "after": [SaveBest(), Checkpoint(path)]}
        cbs = [*each.get(place, [SaveBest()]), *stop]
        learn.fit(4, lr=3.0, cbs=cbs, resume=resume)
        return learn

    whole = fit()
    best = whole.kept_row
    assert best < 3
    with pytest.raises(KeyboardInterrupt):
        fit(Stop())
    resumed = fit(resume=path)
    assert resumed.kept_row == best
    assert same(dict(resumed.model.state_dict()), dict(whole.model.state_dict()))


def test_one_loader_in_both_roles_is_resumed_from_any_batch(tmp_path: Path) -> None:
    path = tmp_path / "c"

    def fit(*cbs: Callback, resume: Path | None = None) -> dict[str, Any]:
        learn = learner()
        learn.dls = DataLoaders(learn.dls.train, learn.dls.train)
        learn.fit(2, lr=0.1, cbs=cbs, resume=resume)
        return outcome(learn)

    copies = Copies(path)
    whole = fit(Checkpoint(path, every=1), copies)
    for cut in copies.copies[:-1]:
        assert same(fit(resume=cut), whole), cut
    earlier = parse(copies.copies[8].read_bytes())
    earlier["valid"] = earlier["train"] | {"samples_seen": 0}  # as earlier versions wrote it
    path.write_bytes(dump(earlier))
    assert same(fit(resume=path), whole)


def test_a_checkpoint_of_different_data_of_the_same_size_is_refused(
    tmp_path: Path,
) -> None:
    """So is one of an earlier version, which did not record what its data were."""
    path = tmp_path / "checkpoint"
    learner().fit(1, lr=0.1, cbs=Checkpoint(path))
    other = learner()
    data = random_set(22)
    other.dls.train = DataLoader(replace(data, labels=1 - data.labels), 4, shuffle=True, seed=5)
    end = (
        "this fit has 22 images of no and yes ('random'); resume with the data of the checkpoint, "
        "or start again without it"
    )
    for there in ("others of the same name and number", "others"):
        with pytest.raises(CheckpointError) as refused:
            other.fit(1, lr=0.1, resume=path)
        assert str(refused.value) == (
            f"{path}: the state is of another dataset: for training the checkpoint has {there}, "
            f"{end}"
        )
        state = parse(path.read_bytes())
        state.pop("data", None)
        path.write_bytes(dump(state))


def test_a_refused_checkpoint_leaves_the_loaders_at_their_positions(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"

    learner().fit(2, lr=0.1, cbs=[Checkpoint(path, every=3), StopAfter(3)])
    other = learner()
    other.dls.valid = DataLoader(random_set(11), 4)
    with pytest.raises(CheckpointError, match="the state is of another dataset"):
        other.fit(2, lr=0.1, resume=path)
    other.fit(1, lr=0.1)
    assert len(other.recorder.lrs) == BATCHES


def test_parameter_groups_with_a_different_ratio_of_rates_are_refused(tmp_path: Path) -> None:
    def groups(tenth: float) -> Callable[..., torch.optim.Optimizer]:
        def make(parameters: Any, lr: float) -> torch.optim.Optimizer:
            weight, bias = parameters
            each: list[dict[str, Any]] = [{"params": [weight], "lr": lr * tenth}]
            return torch.optim.SGD([*each, {"params": [bias]}], lr=lr)

        return make

    path = tmp_path / "checkpoint"
    learner(opt_func=groups(0.1)).fit(1, lr=0.1, cbs=Checkpoint(path))
    message = (
        "other learning rates of the groups, relative to the last: the checkpoint has 0.1 and 1, "
        "this fit has 0.01 and 1$"
    )
    with pytest.raises(CheckpointError, match=message):
        learner(opt_func=groups(0.01)).fit(2, lr=0.1, resume=path)


def test_each_of_two_callbacks_of_one_kind_is_compared(tmp_path: Path) -> None:
    def watching(patience: int) -> list[Callback]:
        return [ReduceLROnPlateau(patience), ReduceLROnPlateau(4, monitor="batch_accuracy")]

    path = tmp_path / "checkpoint"
    learner().fit(1, lr=0.1, cbs=[*watching(2), Checkpoint(path)])
    learner().fit(2, lr=0.1, cbs=watching(2), resume=path)
    with pytest.raises(CheckpointError, match=r"other ReduceLROnPlateau: the checkpoint has pati"):
        learner().fit(2, lr=0.1, cbs=watching(3), resume=path)
    with pytest.raises(CheckpointError, match=r"other ReduceLROnPlateau_2: .* this fit has none$"):
        learner().fit(2, lr=0.1, cbs=watching(2)[:1], resume=path)
