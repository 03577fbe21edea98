"""A plain loop of torch over batches that were made beforehand, in float32."""

import torch
from loops.common import BATCH_SIZE, LR, Clock, Trained, accuracy, floats, loss, model
from torch.utils.data import DataLoader

from mnist_sgd import mnist_sample

train_batches, valid_batches = (
    list(DataLoader(floats(images), BATCH_SIZE)) for images in mnist_sample()
)


def train(epochs: int) -> Trained:
    """Train anew."""
    clock = Clock()
    net = model()
    params = list(net.parameters())
    valid_accuracy = 0.0
    for _ in range(epochs):
        for xb, yb in train_batches:
            loss(net(xb), yb).backward()
            with torch.no_grad():
                for p in params:
                    p -= p.grad * LR
                    p.grad = None
        _, valid_accuracy = validate(net)
        clock.tick()
    return {"ends": clock.ends, "accuracy": valid_accuracy}


@torch.no_grad()
def validate(net: torch.nn.Module) -> tuple[float, float]:
    """Loss and accuracy over the validation batches, each image alike."""
    figures = torch.zeros(2)
    count = 0
    for xb, yb in valid_batches:
        predictions = net(xb)
        figures += torch.stack([loss(predictions, yb), accuracy(predictions, yb)]) * len(yb)
        count += len(yb)
    valid_loss, valid_accuracy = (figures / count).tolist()
    return valid_loss, valid_accuracy
