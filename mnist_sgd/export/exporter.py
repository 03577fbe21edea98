"""One call from a trained model to a proved file.

A file is written only after its own runtime has loaded it and answered every validation image as
torch did; until then it has a temporary name, and an older file of its name stays as it was.

A first export takes 2.8 s for .onnx, 1.9 s for .pt2 and 0.1 s for .pt, nearly all of it torch
importing its exporters; a second one 0.7, 0.15 and 0.02 s (linear model, 2,038 images, two cores).
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
from mnist_sgd.export.parity import Answer, ExportError, answer_all, compare, torch_answer
from mnist_sgd.models.summary import ENDS_IN_SIGMOID, ends_in_sigmoid
from mnist_sgd_serve.model.metadata import Metadata

__all__ = ["SHORT_TOLERANCE", "TOLERANCE", "Check", "ExportReport", "export_model"]

TOLERANCE = 1e-5
"""How far two probabilities of one model in float32 may lie apart."""

SHORT_TOLERANCE = 1e-2
"""The same of a model in bfloat16 or float16: two sums in another order may round to neighbours."""

ALONE = 8
"""How many images are asked one by one, to see that an answer depends on its image alone."""

Check = Callable[[NDArray[np.float32]], str | None]
"""Takes a file's probabilities, float32 [N], and says what is wrong with them, if anything."""


@dataclass(frozen=True)
class ExportReport:
    """What was written and how it was checked.

    Attributes:
        path: of the file.
        size: of the file, in bytes.
        images: how many were answered by torch and by the file.
        max_difference: the largest difference of two probabilities, at most the tolerance.
        label_disagreements: images with another label, each within the tolerance of the
            threshold; 0 unless a probability lies that near.
    """

    path: Path
    size: int
    images: int
    max_difference: float
    label_disagreements: int


@dataclass(frozen=True)
class _Format:
    """The name of the runtime that reads a format, how a file is written and how it is read."""

    runtime: str
    write: Callable[[Classifier, Path, Metadata], None]
    load: Callable[[Path], Answer]


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
    """Write `model` as the file `path`, in the format that its suffix names, once it is proved.

    Args:
        model: takes [B, *input_shape] of the metadata's dtype and gives logits [B, 1]; it is not
            changed. Of a wrapped one, as by `torch.compile`, the model inside is written.
        path: ends in .onnx, .pt or .pt2.
        metadata: goes into the file; its mean, std, dtype and threshold also rule the answers.
        images: uint8 [N, 28, 28], N at least 1: the validation set, every image of which is
            answered by torch and by the file.
        input_shape: of one image as the model takes it: (784,) or (1, 28, 28).
        tolerance: the largest difference allowed between two probabilities; `parity` says what
            it means for labels. None: 1e-5, or 0.01 for a model whose weights are bfloat16 or
            float16, which round each layer's output to 3 digits. Rounding alone took up to 4e-7
            for the linear model and the mlp, and 1.4e-6 for the cnn; in deeper models, or with
            large weights, it may take more.
        check: is asked last, with the file's probabilities float32 [N]; what it says, if it says
            anything, is the reason why the file is not written.

    Raises:
        ValueError: the suffix, the images or the input shape are not as above.
        ExportError: the model's own answers are no numbers, or depend on more than their image,
            or it cannot be written in this format, or the file does not answer as the model does.
            The old file of this name, if any, is untouched.
        OSError: the file cannot be written.
    """
    path = Path(path)
    _check(path, images)
    form = _FORMATS[path.suffix]
    classifier, expected = _answers_of_torch(model, path, metadata, images, input_shape)
    allowed = _rounding(classifier) if tolerance is None else tolerance
    _check_alone(classifier, path, images[1:ALONE], expected[1:ALONE], allowed)
    with atomic_path(path) as temporary:
        try:
            form.write(classifier, temporary, metadata)
            given = answer_all(form.load(temporary), images)
        except OSError:
            raise
        except Exception as error:  # the exporters and runtimes have no error class in common
            raise ExportError(_reason(error), path) from error
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


def _answers_of_torch(
    model: nn.Module,
    path: Path,
    metadata: Metadata,
    images: NDArray[np.uint8],
    input_shape: tuple[int, ...],
) -> tuple[Classifier, NDArray[np.float32]]:
    """The model between bytes and probability, and what it answers in torch."""
    dtype: torch.dtype = getattr(torch, metadata.dtype)
    try:
        classifier = Classifier(
            model,
            mean=metadata.mean,
            std=metadata.std,
            input_shape=input_shape,
            dtype=dtype,
        )
    except (RuntimeError, TypeError) as error:  # what a model holds may not be copied
        raise ExportError(f"the model cannot be copied: {_reason(error)}", path) from error
    for name, layer in classifier.model.named_modules():
        if isinstance(layer, _BatchNorm) and layer.running_mean is None:
            raise ExportError(
                f"batch norm (layer {name!r}) keeps no running statistics, so that each answer "
                "depends on the other images of its batch; make it with track_running_stats=True "
                "and train again",
                path,
            )
    try:
        expected = answer_all(torch_answer(classifier), images)
        if 0.5 <= expected.min() <= expected.max() <= SIGMOID_OF_1:  # all logits lie in [0, 1]
            pixels = classifier.pixels(torch.from_numpy(np.array(images[:2])))
            if ends_in_sigmoid(classifier.model, pixels):
                raise ExportError(ENDS_IN_SIGMOID, path)
    except ExportError as error:
        raise ExportError(error.reason, path) from error
    except Exception as error:  # the model's code may raise anything
        reason = f"given {metadata.dtype} [B, {', '.join(map(str, input_shape))}], the model fails"
        raise ExportError(f"{reason}: {_reason(error)}", path) from error
    if unanswered := int(np.isnan(expected).sum()):
        raise ExportError(
            f"for {unanswered:,} of {len(images):,} images the model "
            "answers nan, as after a training that diverged; train with a smaller learning rate",
            path,
        )
    return classifier, expected


def _check_alone(
    classifier: Classifier,
    path: Path,
    images: NDArray[np.uint8],
    expected: NDArray[np.float32],
    allowed: float,
) -> None:
    """See that torch answers images one by one as it answered them among others.

    Raises:
        ExportError: it does not, so that no server could give the right answer.
    """
    if len(images) == 0:
        return
    answer = torch_answer(classifier)
    alone = np.concatenate([answer(np.array(images[i : i + 1])) for i in range(len(images))])
    difference = compare(expected, alone, threshold=0.5).max_difference
    if not difference <= allowed:
        raise ExportError(
            f"the model gives an image alone and among others probabilities up to {difference:.2g} "
            f"apart; {allowed:g} is allowed. An answer must depend on its image alone, not on the "
            "other images of its batch, nor on chance",
            path,
        )


def _rounding(classifier: Classifier) -> float:
    """The difference of two probabilities that rounding explains."""
    weights = [*classifier.parameters(), *classifier.buffers()]
    short = any(t.is_floating_point() and t.dtype.itemsize < 4 for t in weights)
    return SHORT_TOLERANCE if short else TOLERANCE


def _reason(error: BaseException) -> str:
    """Give the first line of the error that began it; the exporters wrap theirs in advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if "data-dependent expression" in text:
        return (
            "the model branches on the values of its input, and a file's graph does the same for "
            f"every image ({text.partition(' (unhinted')[0]})"
        )
    return text


def _check(path: Path, images: NDArray[np.uint8]) -> None:
    """Refuse what no exporter can help with, before the seconds that an export takes.

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
