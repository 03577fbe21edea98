"""The training loops that are compared: each has `train(epochs)`, see `common`."""
