"""How long an epoch takes in so many processes, and a checkpoint, on the bundled sample.

    for n in 1 2 3; do OMP_NUM_THREADS=1 torchrun --nproc-per-node $n benchmarks/ranks.py; done

The table has the least of all epochs but the first three: on a shared machine it is what comes
nearest to the work itself.
"""

import argparse
import tempfile
import time
from pathlib import Path

from mnist_sgd import (
    Callback,
    DataLoader,
    DataLoaders,
    DistributedContext,
    Learner,
    batch_accuracy,
    create_model,
    init_distributed,
    mnist_sample,
)
from mnist_sgd.training.checkpoint import save_checkpoint

WARM_UP = 3


class Times(Callback):
    """Seconds of each epoch and, after it, of a checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "checkpoint.safetensors"
        self.epochs: list[float] = []
        self.checkpoints: list[float] = []
        self.began = 0.0

    def before_epoch(self, learn: Learner) -> None:
        """Start the clock."""
        self.began = time.perf_counter()

    def after_epoch(self, learn: Learner) -> None:
        """Read it, write a checkpoint, read it again."""
        done = time.perf_counter()
        save_checkpoint(learn, self.path, epoch_done=True)
        self.epochs.append(done - self.began)
        self.checkpoints.append(time.perf_counter() - done)


def measure(ranks: DistributedContext, name: str, epochs: int) -> None:
    """Print a model's figures."""
    train, valid = (
        DataLoader(each, 256, shuffle=True, rank=ranks.rank, world_size=ranks.world_size)
        for each in mnist_sample()
    )
    learn = Learner(
        DataLoaders(train, valid), create_model(name, 0), metrics=batch_accuracy, ranks=ranks
    )
    with tempfile.TemporaryDirectory() as folder, learn.no_logging():
        times = Times(Path(folder))
        learn.fit(WARM_UP + epochs, lr=0.1, cbs=times)
    if ranks.is_main_process:
        epoch, checkpoint = (min(each[WARM_UP:]) for each in (times.epochs, times.checkpoints))
        print(
            f"{ranks.world_size} ranks  {name:7} epoch {epoch * 1e3:6.1f} ms  "
            f"batch {epoch / len(train) * 1e3:6.2f} ms  checkpoint {checkpoint * 1e3:4.1f} ms",
            flush=True,
        )


def main() -> None:
    """Measure each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    args = parser.parse_args()
    with init_distributed() as ranks:
        for name in ("linear", "mlp"):
            measure(ranks, name, args.epochs)


if __name__ == "__main__":
    main()
