"""The rooms of `mnist-sgd train`: how it trains, in what batches, from which checkpoint, to where."""
