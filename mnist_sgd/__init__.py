"""A two-class classifier of small grey images, from pixels to production.

Every public name is loaded when it is first used, so that `import mnist_sgd` costs nothing and a
command that needs no torch never waits for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mnist_sgd import _installed

_installed.prefer_installed(__file__)

if TYPE_CHECKING:
    from mnist_sgd.data import (
        IdxError,
        IdxWriter,
        ImageSet,
        PackedWriter,
        load_data,
        load_packed,
        mnist_sample,
        pack_folder,
        read_idx,
        torchvision_set,
        write_idx,
    )
    from mnist_sgd.evaluation import Evaluation, evaluate, threshold_for
    from mnist_sgd.export import ExportError, export_model
    from mnist_sgd.loader.augmentation import Augmentation
    from mnist_sgd.loader.dataloader import DataLoader, DataLoaders, first
    from mnist_sgd.models.builtin import cnn, cnn_histogram, create_model, linear, mlp
    from mnist_sgd.models.summary import summary
    from mnist_sgd.models.weights import WeightsError
    from mnist_sgd.report.writer import write_run
    from mnist_sgd.training.callbacks.base import (
        Callback,
        CancelBackward,
        CancelBatch,
        CancelEpoch,
        CancelFit,
        CancelStep,
        CancelTrain,
        CancelValidate,
    )
    from mnist_sgd.training.callbacks.loggers import CSVLogger, TensorBoard
    from mnist_sgd.training.callbacks.mixed_precision import MixedPrecision
    from mnist_sgd.training.callbacks.monitors import EarlyStopping, ReduceLROnPlateau, SaveBest
    from mnist_sgd.training.checkpoint import Checkpoint, CheckpointError
    from mnist_sgd.training.distributed import Ranks, joined_ranks
    from mnist_sgd.training.from_scratch import (
        calc_grad,
        init_params,
        linear1,
        train_epoch,
        train_model,
        validate_epoch,
    )
    from mnist_sgd.training.learner import Learner
    from mnist_sgd.training.losses import cross_entropy, mnist_loss
    from mnist_sgd.training.metrics import batch_accuracy
    from mnist_sgd.training.optimizers import SGD, BasicOptim, adamw
    from mnist_sgd.training.recorder import Recorder
    from mnist_sgd.training.schedule import OneCycle

_MODULES = {
    "mnist_sgd.loader.augmentation": ("Augmentation",),
    "mnist_sgd.training.callbacks.base": (
        "Callback",
        "CancelBackward",
        "CancelBatch",
        "CancelEpoch",
        "CancelFit",
        "CancelStep",
        "CancelTrain",
        "CancelValidate",
    ),
    "mnist_sgd.training.checkpoint": ("Checkpoint", "CheckpointError"),
    "mnist_sgd.data": (
        "IdxError",
        "IdxWriter",
        "ImageSet",
        "PackedWriter",
        "load_data",
        "load_packed",
        "mnist_sample",
        "pack_folder",
        "read_idx",
        "torchvision_set",
        "write_idx",
    ),
    "mnist_sgd.training.distributed": ("Ranks", "joined_ranks"),
    "mnist_sgd.evaluation": ("Evaluation", "evaluate", "threshold_for"),
    "mnist_sgd.export": ("ExportError", "export_model"),
    "mnist_sgd.models.summary": ("summary",),
    "mnist_sgd.training.learner": ("Learner",),
    "mnist_sgd.loader.dataloader": ("DataLoader", "DataLoaders", "first"),
    "mnist_sgd.training.callbacks.loggers": ("CSVLogger", "TensorBoard"),
    "mnist_sgd.training.losses": ("cross_entropy", "mnist_loss"),
    "mnist_sgd.training.from_scratch": (
        "calc_grad",
        "init_params",
        "linear1",
        "train_epoch",
        "train_model",
        "validate_epoch",
    ),
    "mnist_sgd.training.metrics": ("batch_accuracy",),
    "mnist_sgd.training.callbacks.mixed_precision": ("MixedPrecision",),
    "mnist_sgd.models.builtin": ("cnn", "cnn_histogram", "create_model", "linear", "mlp"),
    "mnist_sgd.training.callbacks.monitors": ("EarlyStopping", "ReduceLROnPlateau", "SaveBest"),
    "mnist_sgd.training.optimizers": ("SGD", "BasicOptim", "adamw"),
    "mnist_sgd.training.recorder": ("Recorder",),
    "mnist_sgd.report.writer": ("write_run",),
    "mnist_sgd.training.schedule": ("OneCycle",),
    "mnist_sgd.models.weights": ("WeightsError",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "SGD",
    "Augmentation",
    "BasicOptim",
    "CSVLogger",
    "Callback",
    "CancelBackward",
    "CancelBatch",
    "CancelEpoch",
    "CancelFit",
    "CancelStep",
    "CancelTrain",
    "CancelValidate",
    "Checkpoint",
    "CheckpointError",
    "DataLoader",
    "DataLoaders",
    "EarlyStopping",
    "Evaluation",
    "ExportError",
    "IdxError",
    "IdxWriter",
    "ImageSet",
    "Learner",
    "MixedPrecision",
    "OneCycle",
    "PackedWriter",
    "Ranks",
    "Recorder",
    "ReduceLROnPlateau",
    "SaveBest",
    "TensorBoard",
    "WeightsError",
    "adamw",
    "batch_accuracy",
    "calc_grad",
    "cnn",
    "cnn_histogram",
    "create_model",
    "cross_entropy",
    "evaluate",
    "export_model",
    "first",
    "init_params",
    "joined_ranks",
    "linear",
    "linear1",
    "load_data",
    "load_packed",
    "mlp",
    "mnist_loss",
    "mnist_sample",
    "pack_folder",
    "read_idx",
    "summary",
    "threshold_for",
    "torchvision_set",
    "train_epoch",
    "train_model",
    "validate_epoch",
    "write_idx",
    "write_run",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'mnist_sgd' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
