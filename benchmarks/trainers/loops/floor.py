"""The calls of torch that the Learner's epoch makes, alone: one batch, which stays in the cache.

No batch is made, nothing is recorded or counted, and the steps go nowhere (the rate is 0).
"""

import torch
from loops.common import BATCH_SIZE, Clock, Trained, floats, model

from mnist_sgd import batch_accuracy, mnist_loss, mnist_sample

train_set, valid_set = (floats(images) for images in mnist_sample())
xb, yb = train_set[:BATCH_SIZE]


def sizes(images: int) -> list[int]:
    """The batches' sizes in an epoch."""
    return [min(BATCH_SIZE, images - start) for start in range(0, images, BATCH_SIZE)]


train_batches = [(xb[:size], yb[:size]) for size in sizes(len(train_set))]
valid_batches = [(xb[:size], yb[:size]) for size in sizes(len(valid_set))]


def train(epochs: int) -> Trained:
    """Make the calls; the accuracy says nothing."""
    clock = Clock()
    net = model()
    params = list(net.parameters())
    for _ in range(epochs):
        for x, y in train_batches:
            mnist_loss(net(x), y).backward()
            with torch.no_grad():
                for p in params:
                    p.add_(p.grad, alpha=-0.0)
                    p.grad = None
        with torch.no_grad():
            for x, y in valid_batches:
                predictions = net(x)
                mnist_loss(predictions, y)
                batch_accuracy(predictions, y)
        clock.tick()
    return {"ends": clock.ends, "accuracy": 0.0}
