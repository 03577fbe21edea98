"""Lightning's Trainer over torch's DataLoader; all that it does besides training is off."""

import logging

import lightning
import torch
from lightning.pytorch import LightningModule, Trainer
from loops.common import BATCH_SIZE, LR, Clock, Trained, accuracy, floats, loss, model
from torch import Tensor
from torch.utils.data import DataLoader

from mnist_sgd import mnist_sample

logging.getLogger(lightning.__name__).setLevel(logging.ERROR)
train_batches, valid_batches = (DataLoader(floats(images), BATCH_SIZE) for images in mnist_sample())


class Linear(LightningModule):
    """The linear model."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.net = model()
        self.clock = clock

    def training_step(self, batch: list[Tensor], number: int) -> Tensor:
        """The loss of a batch."""
        value = loss(self.net(batch[0]), batch[1])
        self.log("train_loss", value, on_step=False, on_epoch=True)
        return value

    def validation_step(self, batch: list[Tensor], number: int) -> None:
        """The figures of a batch; the Trainer weighs them by its size."""
        predictions = self.net(batch[0])
        self.log("valid_loss", loss(predictions, batch[1]))
        self.log("accuracy", accuracy(predictions, batch[1]))

    def on_train_epoch_end(self) -> None:
        """Comes after the epoch's validation."""
        self.clock.tick()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain gradient descent."""
        return torch.optim.SGD(self.parameters(), lr=LR)


def train(epochs: int) -> Trained:
    """Train anew."""
    clock = Clock()
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(Linear(clock), train_batches, valid_batches)
    return {"ends": clock.ends, "accuracy": trainer.callback_metrics["accuracy"].item()}
