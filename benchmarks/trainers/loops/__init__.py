"""The training loops that are compared. Each has `train(epochs)`, which gives a `Trained`; see `common`."""
