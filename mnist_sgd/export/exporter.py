"""Export a trained model, and verify the file against torch before it takes its name.

The file is written under a temporary name. Its own runtime loads it and must predict for every
validation image what torch predicts; until then an older file of the same name stays unchanged.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mnist_sgd._files import atomic_path
from mnist_sgd.export import exported_program, onnx_file, torchscript
from mnist_sgd.export.graph import IMAGE_SIZE, Classifier
from mnist_sgd.export.parity import (
    ExportError,
    PredictFn,
    compare,
    predict_all,
    torch_predict_fn,
)
from mnist_sgd.models.summary import ENDS_IN_SIGMOID, ends_in_sigmoid
from mnist_sgd_serve.model.metadata import Metadata

TOLERANCE = 1e-5
"""The largest difference allowed between two probabilities of a float32 model."""

SHORT_TOLERANCE = 1e-2
"""The same for bfloat16 and float16: sums in another order may round to neighbouring values."""

SINGLE_IMAGES = 8
"""This many first images are predicted one by one: a prediction must not depend on its batch."""

Check = Callable[[NDArray[np.float32]], str | None]
"""Maps a file's probabilities, float32 [N], to what is wrong with them, or None."""


@dataclass(frozen=True)
class ExportReport:
    """What was written and how it was checked.

    Attributes:
        path: the file.
        size: of the file in bytes.
        images: number of images predicted by torch and by the file.
        max_difference: the largest difference of two probabilities, at most the tolerance.
        label_disagreements: number of images whose labels differ; their probabilities lie within
            the tolerance of the threshold.
    """

    path: Path
    size: int
    images: int
    max_difference: float
    label_disagreements: int


@dataclass(frozen=True)
class _Format:
    """A file format: the name of its runtime, its writer and its reader."""

    runtime: str
    write: Callable[[Classifier, Path, Metadata], None]
    load: Callable[[Path], PredictFn]


SIGMOID_OF_1 = 0.7310586

_FORMATS = {
    ".onnx": _Format("onnxruntime", onnx_file.write, onnx_file.load),
    ".pt": _Format("TorchScript", torchscript.write, torchscript.load),
    ".pt2": _Format("torch.export", exported_program.write, exported_program.load),
}


def export_model(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    metadata: Metadata,
    images: NDArray[np.uint8],
    input_shape: tuple[int, ...] = (784,),
    tolerance: float | None = None,
    check: Check | None = None,
) -> ExportReport:
    """Export `model` to the file `path`, in the format of its suffix, and verify the file.

    Args:
        model: maps `[B, *input_shape]` of the metadata's dtype to logits [B, 1]; it is not changed.
            Of a wrapped model, as by `torch.compile`, the model inside is exported.
        path: ends in .onnx, .pt or .pt2.
        metadata: goes into the file; its mean, std, dtype and threshold also decide what is
            predicted.
        images: uint8 [N, 28, 28], N at least 1: the validation set; torch and the file predict
            every image.
        input_shape: shape of one image as the model takes it: (784,) or (1, 28, 28).
        tolerance: the largest difference allowed between two probabilities; see
            `mnist_sgd.export.parity` for labels. None: 1e-5, or 0.01 for bfloat16 or float16
            weights, which round each layer's output to 3 digits. Deep models, or large weights,
            may need more.
        check: called last, with the file's probabilities float32 [N]; the file is refused for the
            reason that it returns, if any.

    Raises:
        ValueError: the suffix, the images or the input shape are not as above.
        ExportError: the model predicts nan, or its predictions depend on the batch, or it cannot
            be written in this format, or the file predicts something else than the model. An older
            file of this name is untouched.
        OSError: the file cannot be written.
    """
    path = Path(path)
    _check_arguments(path, images)
    form = _FORMATS[path.suffix]
    classifier, expected = _predict_with_torch(model, path, metadata, images, input_shape)
    allowed = default_tolerance(classifier) if tolerance is None else tolerance
    few = slice(1, SINGLE_IMAGES)
    _check_single_images(classifier, path, images[few], expected[few], allowed)
    with atomic_path(path) as temporary:
        try:
            form.write(classifier, temporary, metadata)
            given = predict_all(form.load(temporary), images)
        except OSError:
            raise
        except Exception as error:  # exporters and runtimes have no common error class
            raise ExportError(_root_cause(error), path) from error
        parity = compare(expected, given, threshold=metadata.threshold)
        if not parity.max_difference <= allowed:  # written so that nan does not pass
            raise ExportError(
                f"{form.runtime} and torch give "
                f"{parity.label_disagreements:,} of {len(images):,} images different labels and "
                f"probabilities up to {parity.max_difference:.2g} apart; {allowed:g} is allowed",
                path,
            )
        if check is not None and (reason := check(given)) is not None:
            raise ExportError(reason, path)
        size = temporary.stat().st_size
    return ExportReport(path, size, len(images), parity.max_difference, parity.label_disagreements)


def _predict_with_torch(
    model: nn.Module,
    path: Path,
    metadata: Metadata,
    images: NDArray[np.uint8],
    input_shape: tuple[int, ...],
) -> tuple[Classifier, NDArray[np.float32]]:
    """Return the classifier and the probabilities that torch gives."""
    dtype: torch.dtype = getattr(torch, metadata.dtype)
    try:
        classifier = Classifier(
            model,
            mean=metadata.mean,
            std=metadata.std,
            input_shape=input_shape,
            dtype=dtype,
        )
    except (RuntimeError, TypeError) as error:  # a model may hold what cannot be copied
        raise ExportError(f"the model cannot be copied: {_root_cause(error)}", path) from error
    for name, layer in classifier.model.named_modules():
        if isinstance(layer, _BatchNorm) and layer.running_mean is None:
            raise ExportError(
                f"batch norm (layer {name!r}) keeps no running statistics, so each prediction "
                "depends on the other images of its batch; make it with track_running_stats=True "
                "and train again",
                path,
            )
    try:
        expected = predict_all(torch_predict_fn(classifier), images)
        if 0.5 <= expected.min() <= expected.max() <= SIGMOID_OF_1:  # all logits lie in [0, 1]
            pixels = classifier.pixels(torch.from_numpy(np.array(images[:2])))
            if ends_in_sigmoid(classifier.model, pixels):
                raise ExportError(ENDS_IN_SIGMOID, path)
    except ExportError as error:
        raise ExportError(error.reason, path) from error
    except Exception as error:  # the model's code may raise anything
        reason = f"given {metadata.dtype} [B, {', '.join(map(str, input_shape))}], the model fails"
        raise ExportError(f"{reason}: {_root_cause(error)}", path) from error
    if undefined := int(np.isnan(expected).sum()):
        raise ExportError(
            f"for {undefined:,} of {len(images):,} images the model "
            "predicts nan, as after a training that diverged; train with a smaller learning rate",
            path,
        )
    return classifier, expected


def _check_single_images(
    classifier: Classifier,
    path: Path,
    images: NDArray[np.uint8],
    expected: NDArray[np.float32],
    allowed: float,
) -> None:
    """Check that torch predicts single images as it predicted them in a batch.

    Raises:
        ExportError: it does not, so no server could predict the same.
    """
    if len(images) == 0:
        return
    predict = torch_predict_fn(classifier)
    single = np.concatenate([predict(np.array(images[i : i + 1])) for i in range(len(images))])
    difference = compare(expected, single, threshold=0.5).max_difference
    if not difference <= allowed:
        raise ExportError(
            "the model's probabilities for a single image and for the same image in a batch differ "
            f"by up to {difference:.2g}; {allowed:g} is allowed. A prediction must not depend on "
            "the other images of its batch, nor on chance",
            path,
        )


def default_tolerance(model: nn.Module, *results: torch.Tensor) -> float:
    """Return the difference of two probabilities that rounding explains, by the dtypes in use."""
    tensors = [*model.parameters(), *model.buffers(), *results]
    short = any(t.is_floating_point() and t.dtype.itemsize < 4 for t in tensors)
    return SHORT_TOLERANCE if short else TOLERANCE


def _root_cause(error: BaseException) -> str:
    """Return the first line of the original error; the exporters wrap theirs in advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if "data-dependent expression" in text:
        return (
            "the model branches on the values of its input, and a file's graph does the same for "
            f"every image ({text.partition(' (unhinted')[0]})"
        )
    return text


def _check_arguments(path: Path, images: NDArray[np.uint8]) -> None:
    """Refuse invalid arguments before an export, which takes seconds.

    Raises:
        ValueError: the suffix or the images are not as `export_model` says.
        FileNotFoundError: the folder of `path` does not exist.
    """
    if path.suffix not in _FORMATS:
        raise ValueError(f"{path}: the name must end in one of {', '.join(_FORMATS)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist; make it first")
    if images.dtype != np.uint8 or images.shape[1:] != IMAGE_SIZE or len(images) == 0:
        raise ValueError(
            f"images must be uint8 [N, 28, 28] with N at least 1, "
            f"got {images.dtype} {list(images.shape)}"
        )
