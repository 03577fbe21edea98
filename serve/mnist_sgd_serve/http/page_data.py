"""What the page needs to know about the model before the first prediction."""

from typing import Any

from mnist_sgd_serve.model.manager import Model

EXAMPLE = "page/examples/{}"
"""The address of an example, relative to the page, by its index from 0."""


def page_document(name: str, model: Model) -> dict[str, Any]:
    """Describe a model to the page.

    Args:
        name: the model's name in URLs.
        model: the current model.

    Returns:
        JSON members; `accuracy` and `images` are of the validation set, None if unknown.
    """
    metadata = model.metadata
    metrics = metadata.metrics
    return {
        "name": name,
        "version": model.version,
        "model": metadata.model,
        "classes": list(metadata.classes),
        "positive": metadata.positive,
        "threshold": metadata.threshold,
        "preprocessing": metadata.preprocessing,
        "paper": metadata.paper,
        "accuracy": metrics.get("batch_accuracy"),
        "images": metrics.get("images"),
        "examples": [
            {"path": EXAMPLE.format(number), "label": example.label}
            for number, example in enumerate(model.examples)
        ],
    }
