"""Train a model: the Learner, its loop, and all that a run of it needs."""
