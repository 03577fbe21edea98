"""The parts of `mnist-sgd train`, each with its options."""
