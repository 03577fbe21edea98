"""skorch's NeuralNet with a fixed validation set; nothing is printed."""

from typing import Any

import torch
from loops.common import BATCH_SIZE, LR, Clock, Trained, accuracy, floats, loss, model
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochScoring
from skorch.helper import predefined_split
from torch import Tensor

from mnist_sgd import mnist_sample

train_set, valid_set = (floats(images) for images in mnist_sample())


class Loss(torch.nn.Module):
    """The loss, as skorch wants it."""

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """The mean over a batch."""
        return loss(predictions, targets)


class Tick(Callback):
    """Notes when epochs end."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """The scores are recorded: this callback is the last."""
        self.clock.tick()


def valid_accuracy(net: Any, dataset: Any, targets: Any) -> float:
    """The accuracy, from the predictions that skorch kept of its validation."""
    return accuracy(torch.from_numpy(net.predict(dataset)), valid_set.tensors[1]).item()


def train(epochs: int) -> Trained:
    """Train anew."""
    clock = Clock()
    net: Any = NeuralNet(
        model(),
        Loss,
        lr=LR,
        batch_size=BATCH_SIZE,
        max_epochs=epochs,
        train_split=predefined_split(valid_set),
        verbose=0,
        callbacks=[
            EpochScoring(valid_accuracy, lower_is_better=False, name="accuracy"),
            Tick(clock),
        ],
    )
    net.fit(train_set, None)
    return {"ends": clock.ends, "accuracy": float(net.history[-1]["accuracy"])}
