"""The Learner, on uint8 images through this package's DataLoader; nothing is printed."""

from loops.common import BATCH_SIZE, LR, Clock, Trained, model

from mnist_sgd import Callback, DataLoader, DataLoaders, Learner, batch_accuracy, mnist_sample

dls = DataLoaders(*(DataLoader(images, BATCH_SIZE) for images in mnist_sample()))


class Tick(Callback):
    """Notes when epochs end."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def after_epoch(self, learn: Learner) -> None:
        """The row is recorded."""
        self.clock.tick()


def train(epochs: int, *cbs: Callback) -> Trained:
    """Train anew."""
    clock = Clock()
    learn = Learner(dls, model(), metrics=batch_accuracy)
    with learn.no_logging():
        learn.fit(epochs, lr=LR, cbs=[Tick(clock), *cbs])
    return {"ends": clock.ends, "accuracy": learn.recorder.values[-1][-1]}
