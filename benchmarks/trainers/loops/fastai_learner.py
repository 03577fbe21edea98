"""fastai's Learner with its SGD and its DataLoader over tensors; nothing is printed."""

from typing import Any

from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from fastai.optimizer import SGD
from fastai.torch_core import default_device
from loops.common import BATCH_SIZE, LR, Clock, Trained, accuracy, floats, loss, model

from mnist_sgd import mnist_sample

default_device(False)
dls = DataLoaders(*(DataLoader(floats(images), bs=BATCH_SIZE) for images in mnist_sample()))


class Tick(Callback):
    """Notes when epochs end."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def after_epoch(self) -> None:
        """The row is recorded."""
        self.clock.tick()


def train(epochs: int) -> Trained:
    """Train anew."""
    clock = Clock()
    learn: Any = Learner(dls, model(), loss_func=loss, opt_func=SGD, metrics=accuracy)
    with learn.no_logging():
        learn.fit(epochs, lr=LR, cbs=Tick(clock))
    return {"ends": clock.ends, "accuracy": learn.recorder.values[-1][-1]}
