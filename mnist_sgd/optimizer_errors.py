"""What to say of an optimizer that the training loop cannot use."""

import inspect
from collections.abc import Iterable
from typing import Any

from torch import nn

__all__ = ["check_interface", "check_made_for", "holds_any"]


def check_interface(opt: Any) -> None:
    """See that an optimizer has what the loop uses: `param_groups`, `step()`, `zero_grad()`.

    Raises:
        TypeError: it has not, or its `step` needs arguments.
    """
    kind = type(opt).__name__
    for name in ("step", "zero_grad"):
        if not callable(getattr(opt, name, None)):
            raise TypeError(
                f"opt_func must make an optimizer with step() and zero_grad(), got {kind}"
            )
    groups = getattr(opt, "param_groups", None)
    if not groups or any("lr" not in group or "params" not in group for group in groups):
        raise TypeError(
            f"{kind} has no param_groups with 'params' and 'lr', in which the Learner sets the "
            "learning rate: derive it from torch.optim.Optimizer, or take mnist_sgd.BasicOptim, "
            "the chapter's"
        )
    try:
        inspect.signature(opt.step).bind()
    except TypeError as error:
        raise TypeError(
            f"{kind} cannot be used here, as its step() needs arguments ({error}): an optimizer "
            "that computes the loss again by a closure, such as torch.optim.LBFGS, needs a loop of "
            "its own; take SGD, adamw or torch.optim.AdamW"
        ) from error
    except ValueError:  # code in C may not tell its arguments
        pass


def check_made_for(opt: Any, model: nn.Module) -> None:
    """See that `opt_func` made an optimizer of parameters that it was given.

    Raises:
        ValueError: it has none of them.
    """
    if not holds_any(opt, model.parameters()):
        raise ValueError(
            "opt_func made an optimizer of other parameters than it was given, so the model would "
            "not change: let it use its first argument, as lambda params, lr: SGD(params, lr) does"
        )


def holds_any(opt: Any, params: Iterable[nn.Parameter]) -> bool:
    """Whether an optimizer has one of the trained parameters; True if none is trained."""
    held = {id(p) for group in opt.param_groups for p in group["params"]}
    trained = [p for p in params if p.requires_grad]
    return not trained or any(id(p) in held for p in trained)
