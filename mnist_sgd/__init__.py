"""A two-class classifier of small grey images, from pixels to production.

Every public name is loaded when it is first used, so that `import mnist_sgd` costs nothing and a
command that needs no torch never waits for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mnist_sgd import _installed

_installed.prefer_installed(__file__)

if TYPE_CHECKING:
    from mnist_sgd.augmentation import Augmentation
    from mnist_sgd.callbacks import (
        Callback,
        CancelBackward,
        CancelBatch,
        CancelEpoch,
        CancelFit,
        CancelStep,
        CancelTrain,
        CancelValidate,
    )
    from mnist_sgd.checkpoint import Checkpoint, CheckpointError
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
    from mnist_sgd.distributed import Ranks, joined_ranks
    from mnist_sgd.evaluation import Evaluation, evaluate, threshold_for
    from mnist_sgd.export import ExportError, export_model
    from mnist_sgd.layers import summary
    from mnist_sgd.learner import Learner
    from mnist_sgd.loader import DataLoader, DataLoaders, first
    from mnist_sgd.loggers import CSVLogger, TensorBoard
    from mnist_sgd.losses import cross_entropy, mnist_loss
    from mnist_sgd.manual import (
        calc_grad,
        init_params,
        linear1,
        train_epoch,
        train_model,
        validate_epoch,
    )
    from mnist_sgd.metrics import batch_accuracy
    from mnist_sgd.mixed_precision import MixedPrecision
    from mnist_sgd.models import cnn, cnn_histogram, create_model, linear, mlp
    from mnist_sgd.monitors import EarlyStopping, ReduceLROnPlateau, SaveBest
    from mnist_sgd.optimizers import SGD, BasicOptim, adamw
    from mnist_sgd.recorder import Recorder
    from mnist_sgd.report.writer import write_run
    from mnist_sgd.schedule import OneCycle
    from mnist_sgd.weights import WeightsError

_MODULES = {
    "mnist_sgd.augmentation": ("Augmentation",),
    "mnist_sgd.callbacks": (
        "Callback",
        "CancelBackward",
        "CancelBatch",
        "CancelEpoch",
        "CancelFit",
        "CancelStep",
        "CancelTrain",
        "CancelValidate",
    ),
    "mnist_sgd.checkpoint": ("Checkpoint", "CheckpointError"),
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
    "mnist_sgd.distributed": ("Ranks", "joined_ranks"),
    "mnist_sgd.evaluation": ("Evaluation", "evaluate", "threshold_for"),
    "mnist_sgd.export": ("ExportError", "export_model"),
    "mnist_sgd.layers": ("summary",),
    "mnist_sgd.learner": ("Learner",),
    "mnist_sgd.loader": ("DataLoader", "DataLoaders", "first"),
    "mnist_sgd.loggers": ("CSVLogger", "TensorBoard"),
    "mnist_sgd.losses": ("cross_entropy", "mnist_loss"),
    "mnist_sgd.manual": (
        "calc_grad",
        "init_params",
        "linear1",
        "train_epoch",
        "train_model",
        "validate_epoch",
    ),
    "mnist_sgd.metrics": ("batch_accuracy",),
    "mnist_sgd.mixed_precision": ("MixedPrecision",),
    "mnist_sgd.models": ("cnn", "cnn_histogram", "create_model", "linear", "mlp"),
    "mnist_sgd.monitors": ("EarlyStopping", "ReduceLROnPlateau", "SaveBest"),
    "mnist_sgd.optimizers": ("SGD", "BasicOptim", "adamw"),
    "mnist_sgd.recorder": ("Recorder",),
    "mnist_sgd.report.writer": ("write_run",),
    "mnist_sgd.schedule": ("OneCycle",),
    "mnist_sgd.weights": ("WeightsError",),
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
