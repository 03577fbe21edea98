"""Make the optimizer of a fit, and refuse one that the training loop cannot use."""

import inspect
from collections.abc import Iterable
from functools import partial
from typing import Any

from torch import nn

from mnist_sgd.training.optimizers import DECAY_KEYS, exempt_from_decay, set_decay
from mnist_sgd.training.resume.fit_identity import group_settings


def set_optimizer(learn: Any, lr: float | None, wd: float | None, reset: bool) -> float:
    """Make the optimizer if need be, set its learning rate and weight decay, and return the rate.

    Args:
        learn: at the beginning of a fit.
        lr: the learning rate; None takes the learner's.
        wd: the weight decay; None takes the learner's, and if that is None, the optimizer's.
        reset: whether to make a new optimizer in any case.
    """
    made = learn.opt is None or reset
    if made and isinstance(learn.opt_func, partial) and "lr" in learn.opt_func.keywords:
        learn.lr = learn.opt_func.keywords["lr"]
    lr = checked_rate(learn.lr if lr is None else lr)
    wd = checked_decay(learn.wd if wd is None else wd)
    if made:
        exempt_from_decay(learn.model)
        # Groups whose rates are all 0 would lose their ratios.
        opt = learn.opt_func(learn.model.parameters(), lr=lr or 1.0)
        check_rates(opt)
        learn.opt, learn.opt_settings = opt, group_settings(opt)
        learn._opt_made_for = opt, learn.model
    check_rates(learn.opt)  # it may have been assigned
    if wd is not None:
        set_decay(learn.opt, wd)
        for settings, group in zip(learn.opt_settings, learn.opt.param_groups, strict=False):
            settings |= {key: group[key] for key in DECAY_KEYS if key in group}
    for module in (learn.model, *learn.loss_modules().values()):
        module.zero_grad()  # what a cancelled batch of the last fit left
    learn.set_lr(lr)
    return lr


def rate_number(lr: Any, name: str = "lr") -> float:
    """Convert a learning rate to a float, whatever its range.

    Raises:
        TypeError: it is not a number; a `slice`, fastai's several rates, has a message of its own.
    """
    if isinstance(lr, slice):
        raise TypeError(
            f"{name} must be a number; for different rates in different layers let opt_func make "
            "several parameter groups, whose ratios are kept"
        )
    return _number(name, lr)


def checked_rate(lr: Any) -> float:
    """Convert a learning rate to a float.

    Raises:
        TypeError: it is not a number.
        ValueError: it is below 0 or not finite.
    """
    return _in_range("lr", rate_number(lr))


def checked_decay(wd: Any) -> float | None:
    """Convert a weight decay to a float; None stays None.

    Raises:
        TypeError: it is not a number.
        ValueError: it is below 0 or not finite.
    """
    return None if wd is None else _in_range("wd", _number("wd", wd))


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None


def _in_range(name: str, number: float) -> float:
    if not 0 <= number < float("inf"):
        raise ValueError(f"{name} must be a finite number, 0 or more, got {number}")
    return number


def check_optimizer(learn: Any) -> None:
    """Check that the optimizer is of the learner's model, which may have been assigned since.

    Raises:
        TypeError: it has not the interface that the loop uses.
        ValueError: it has none of the model's parameters.
    """
    try:
        check_interface(learn.opt)
    except TypeError:
        learn.opt = None  # so that the next fit makes another one
        raise
    if holds_any(learn.opt, learn.model.parameters()):
        return
    opt, model = learn._opt_made_for
    if opt is learn.opt and model is learn.model:
        learn.opt = None
        raise ValueError(
            "opt_func made an optimizer of other parameters than it was given, so the model "
            "would not change: let it use its first argument, as "
            "lambda params, lr: SGD(params, lr) does"
        )
    raise ValueError(
        "the optimizer has none of the model's parameters, so the model would not change: "
        "after assigning learn.model, fit with reset_opt=True"
    )


def check_rates(opt: Any) -> None:
    """Check that an optimizer has parameter groups with learning rates, which a fit sets.

    Raises:
        TypeError: it has none.
    """
    groups = getattr(opt, "param_groups", None)
    if not groups or any("lr" not in group for group in groups):
        raise TypeError(
            f"opt_func must make an optimizer with param_groups, in whose 'lr' the Learner sets "
            f"the learning rate, got {type(opt).__name__}: derive it from torch.optim.Optimizer, "
            "or take mnist_sgd.BasicOptim, the chapter's"
        )


def check_interface(opt: Any) -> None:
    """Check that an optimizer has what the loop uses: `param_groups`, `step()`, `zero_grad()`.

    Raises:
        TypeError: it lacks one, or its `step` needs arguments.
    """
    check_rates(opt)
    kind = type(opt).__name__
    for name in ("step", "zero_grad"):
        if not callable(getattr(opt, name, None)):
            raise TypeError(
                f"opt_func must make an optimizer with step() and zero_grad(), got {kind}"
            )
    try:
        _check_call(opt)
    except TypeError as error:
        raise TypeError(
            f"{kind} cannot be used here, as its step() needs arguments ({error}): an optimizer "
            "that computes the loss again by a closure, such as torch.optim.LBFGS, needs a loop of "
            "its own; take SGD, adamw or torch.optim.AdamW"
        ) from error
    except ValueError:  # code in C may not tell its arguments
        pass


def _check_call(opt: Any) -> None:
    """Raise the TypeError that calling `step` without arguments would raise.

    A wrapper may show the arguments of what it wraps instead of its own: torch's schedulers wrap
    the method of the class, whose signature has a `self`. So the class's signature counts, and the
    wrapper's only where it needs nothing, or where the class has no `step`.
    """
    step = getattr(type(opt), "step", None)
    try:
        inspect.signature(opt.step).bind()
    except TypeError:
        if not inspect.isfunction(step):
            raise
        inspect.signature(step).bind(opt)


def holds_any(opt: Any, params: Iterable[nn.Parameter]) -> bool:
    """Whether an optimizer has one of the trainable parameters; True if there is none."""
    held = {id(p) for group in opt.param_groups for p in group.get("params", ())}
    trained = [p for p in params if p.requires_grad]
    return not trained or any(id(p) in held for p in trained)
