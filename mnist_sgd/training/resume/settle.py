"""What a resumed fit restores around the hooks that are called for the second time.

`before_fit`, and within an epoch `before_epoch` and `before_train`, have already changed the
checkpoint's state once. What they change again is put back.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from mnist_sgd.training.callbacks.base import CancelEpoch, CancelFit, CancelTrain


@contextmanager
def restore_if_refused(learn: Any) -> Iterator[None]:
    """Restore `learn._before`, the learner before a resumed fit, after an error at its beginning.

    The first batch of the fit sets it to None.
    """
    try:
        yield
    except BaseException as error:
        if learn._before is not None:
            try:
                learn._before.restore()
            except Exception as other:
                error.add_note(f"the learner could not be put back as it was: {other}")
        raise
    finally:
        learn._before = None


def settle(learn: Any, begun: bool) -> None:
    """Put back what hooks changed that a resumed fit calls for the second time.

    Args:
        learn: in a fit.
        begun: whether all of them have been called; those of an epoch that begins may bring in a
            model or parameter groups that the state is of.
    """
    if learn._put_back is not None and learn._put_back(begun):
        learn._put_back = None


def settle_without_epoch(learn: Any) -> None:
    """Put back everything where no batch follows.

    If the state is of something that the hooks of an epoch brought in, those of the last one are
    called for it.
    """
    epoch, learn.epoch = learn.epoch, min(learn.epoch, max(learn.n_epoch - 1, 0))
    for event in ("before_epoch", "before_train"):
        if learn._put_back is not None and learn._put_back.is_waiting():
            for handler in learn._handlers.get(event, ()):
                with suppress(CancelTrain, CancelEpoch, CancelFit):
                    handler(learn)
    learn.epoch = epoch
    settle(learn, begun=True)
