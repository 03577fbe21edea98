"""Save and export an untrained model once, before its training.

Some models can be trained but neither saved nor exported, and the end of a long training is a bad
time to learn that. The trial takes a few seconds.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from mnist_sgd.export.exporter import export_model
from mnist_sgd.export.parity import ExportError
from mnist_sgd.models.builtin import MODELS, model_name
from mnist_sgd.models.weights import load_weights, save_weights
from mnist_sgd.models.wrappers import plain_copy
from mnist_sgd.training.metadata import build_metadata, properties

IMAGES = 16
"""Number of validation images that the untrained model predicts."""


def try_files(learn: Any, name: str) -> None:
    """Check that a learner's model can be saved, loaded and exported; all ranks call this together.

    The model and torch's random state stay unchanged. Built-in models are not tried.

    Args:
        learn: a `Learner` before its fit, with loaders of this package.
        name: of the model, for the message.

    Raises:
        ValueError: on every rank, if it cannot; the message says why.
    """
    failure: _TrialError | None = None
    if learn.ranks.is_main_process and model_name(learn.model) not in MODELS:
        try:
            _try(learn)
        except _TrialError as error:
            failure = error
    reason = learn.ranks.broadcast_bytes(str(failure or "").encode())
    if reason:
        raise ValueError(f"{name}: {reason.decode()}; nothing was trained") from failure


class _TrialError(Exception):
    """A file could not be written; the message says which, and why."""


def _try(learn: Any) -> None:
    """Write the model's files into a temporary folder.

    Raises:
        _TrialError: one of them could not be written or read.
    """
    loader = learn.own_loader()
    with TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        weights, artifact = Path(folder, "model.safetensors"), Path(folder, "model.onnx")
        try:
            save_weights(learn.model, weights, properties(learn))
            load_weights(plain_copy(learn.model), weights)
        except Exception as error:  # the model's code may raise anything
            text = str(error).removeprefix(f"{weights}: ")
            raise _TrialError(f"its weights could not be saved and loaded: {text}") from error
        try:
            export_model(
                learn.model,
                artifact,
                metadata=build_metadata(learn),
                images=loader.dataset.images[:IMAGES],
                input_shape=loader.sample_shape,
            )
        except Exception as error:
            reason = error.reason if isinstance(error, ExportError) else error
            raise _TrialError(f"it could not be exported: {reason}") from error
