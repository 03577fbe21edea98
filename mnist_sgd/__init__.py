"""A two-class classifier of small grey images, from pixels to production.

Every public name is loaded when it is first used, so that `import mnist_sgd` costs nothing and a
command that needs no torch never waits for it.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mnist_sgd import _installed

_installed.prefer_installed(__file__)

if TYPE_CHECKING:
    from mnist_sgd.data import (
        IdxError as IdxError,
        IdxWriter as IdxWriter,
        ImageSet as ImageSet,
        PackedWriter as PackedWriter,
        load_data as load_data,
        load_packed as load_packed,
        mnist_sample as mnist_sample,
        pack_folder as pack_folder,
        read_idx as read_idx,
        torchvision_set as torchvision_set,
        write_idx as write_idx,
    )
    from mnist_sgd.evaluation import (
        Evaluation as Evaluation,
        evaluate as evaluate,
        threshold_for as threshold_for,
    )
    from mnist_sgd.export import ExportError as ExportError, export_model as export_model
    from mnist_sgd.loader.augmentation import Augmentation as Augmentation
    from mnist_sgd.loader.dataloader import (
        DataLoader as DataLoader,
        DataLoaders as DataLoaders,
        first as first,
    )
    from mnist_sgd.models.builtin import (
        cnn as cnn,
        cnn_histogram as cnn_histogram,
        create_model as create_model,
        linear as linear,
        mlp as mlp,
    )
    from mnist_sgd.models.summary import summary as summary
    from mnist_sgd.models.weights import WeightsError as WeightsError
    from mnist_sgd.report.writer import write_run as write_run
    from mnist_sgd.training.callbacks.base import (
        Callback as Callback,
        CancelBackward as CancelBackward,
        CancelBatch as CancelBatch,
        CancelEpoch as CancelEpoch,
        CancelFit as CancelFit,
        CancelStep as CancelStep,
        CancelTrain as CancelTrain,
        CancelValidate as CancelValidate,
    )
    from mnist_sgd.training.callbacks.fastai_monitors import (
        EarlyStoppingCallback as EarlyStoppingCallback,
        SaveModelCallback as SaveModelCallback,
    )
    from mnist_sgd.training.callbacks.loggers import (
        CSVLogger as CSVLogger,
        TensorBoard as TensorBoard,
    )
    from mnist_sgd.training.callbacks.mixed_precision import MixedPrecision as MixedPrecision
    from mnist_sgd.training.callbacks.monitors import (
        EarlyStopping as EarlyStopping,
        ReduceLROnPlateau as ReduceLROnPlateau,
        SaveBest as SaveBest,
    )
    from mnist_sgd.training.checkpoint import (
        Checkpoint as Checkpoint,
        CheckpointError as CheckpointError,
    )
    from mnist_sgd.training.coming_from_fastai import load_learner as load_learner
    from mnist_sgd.training.distributed import (
        DistributedContext as DistributedContext,
        init_distributed as init_distributed,
    )
    from mnist_sgd.training.from_scratch import (
        calc_grad as calc_grad,
        init_params as init_params,
        linear1 as linear1,
        train_epoch as train_epoch,
        train_model as train_model,
        validate_epoch as validate_epoch,
    )
    from mnist_sgd.training.interpretation import (
        ClassificationInterpretation as ClassificationInterpretation,
    )
    from mnist_sgd.training.learner import Learner as Learner
    from mnist_sgd.training.losses import cross_entropy as cross_entropy, mnist_loss as mnist_loss
    from mnist_sgd.training.metrics import (
        accuracy as accuracy,
        batch_accuracy as batch_accuracy,
        error_rate as error_rate,
    )
    from mnist_sgd.training.optimizers import SGD as SGD, BasicOptim as BasicOptim, adamw as adamw
    from mnist_sgd.training.recorder import Recorder as Recorder
    from mnist_sgd.training.schedule import OneCycle as OneCycle

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
    "mnist_sgd.training.distributed": ("DistributedContext", "init_distributed"),
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
    "mnist_sgd.training.metrics": ("accuracy", "batch_accuracy", "error_rate"),
    "mnist_sgd.training.interpretation": ("ClassificationInterpretation",),
    "mnist_sgd.training.coming_from_fastai": ("load_learner",),
    "mnist_sgd.training.callbacks.fastai_monitors": ("EarlyStoppingCallback", "SaveModelCallback"),
    "mnist_sgd.training.callbacks.mixed_precision": ("MixedPrecision",),
    "mnist_sgd.models.builtin": ("cnn", "cnn_histogram", "create_model", "linear", "mlp"),
    "mnist_sgd.training.callbacks.monitors": ("EarlyStopping", "ReduceLROnPlateau", "SaveBest"),
    "mnist_sgd.training.optimizers": ("SGD", "BasicOptim", "adamw"),
    "mnist_sgd.training.recorder": ("Recorder",),
    "mnist_sgd.report.writer": ("write_run",),
    "mnist_sgd.training.schedule": ("OneCycle",),
    "mnist_sgd.models.weights": ("WeightsError",),
}
_EARLIER = {"Ranks": "DistributedContext", "joined_ranks": "init_distributed"}
"""Names of an earlier version, which still work."""

_STAND_INS = (
    *("untar_data", "URLs", "ImageDataLoaders", "DataBlock", "ImageBlock", "CategoryBlock"),
    *("MultiCategoryBlock", "get_image_files", "parent_label", "RandomSplitter"),
    *("GrandparentSplitter", "aug_transforms", "vision_learner", "cnn_learner", "accuracy_multi"),
    *("RocAucBinary", "ImageClassifierCleaner", "show_image", "show_images"),
)
"""Names that are fastai's alone: using one says what to use here."""

_MOVED = {"mnist_sgd.device": "mnist_sgd.loader.device"}
"""Documented modules of an earlier version, and where they lie now."""

_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted({*_HOME, *_EARLIER, *_STAND_INS})


class _Moved(ModuleType):
    """A module under its earlier name, loaded when a name is first asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(_MOVED[self.__name__]), name)


for _name in _MOVED:
    sys.modules.setdefault(_name, _Moved(_name))


def __getattr__(name: str) -> Any:
    """Load a public name from its module (PEP 562), or name the way here for fastai's."""
    home = _EARLIER.get(name, name)
    if home in _HOME:
        value = getattr(import_module(_HOME[home]), home)
    else:
        from mnist_sgd.training import coming_from_fastai

        if name not in _STAND_INS:
            raise coming_from_fastai.missing("module 'mnist_sgd'", name)
        value = coming_from_fastai.StandIn(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
