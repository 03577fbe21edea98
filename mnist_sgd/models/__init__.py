"""Built-in and custom models, their layers and their weights."""

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
