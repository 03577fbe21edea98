"""The ways to train. Each has `train(epochs)`, which gives a `Trained`; see `common`."""
