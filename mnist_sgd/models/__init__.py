"""The models: built-in ones, custom ones, and what is known about any of them."""

from mnist_sgd.models.builtin import (
    MODELS,
    cnn,
    cnn_histogram,
    create_model,
    linear,
    mlp,
    model_name,
)

__all__ = ["MODELS", "cnn", "cnn_histogram", "create_model", "linear", "mlp", "model_name"]
