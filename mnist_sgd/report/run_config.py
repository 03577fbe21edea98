"""The configuration of a run, and the environment that it ran in.

Neither reveals the machine, its user or a folder: only the last component of an absolute path is
kept.
"""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from inspect import signature
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mnist_sgd.data import ImageSet
from mnist_sgd.export.versions import versions
from mnist_sgd.loader.dataloader import DataLoader
from mnist_sgd.models.builtin import model_name
from mnist_sgd.report.folder import FORMAT
from mnist_sgd.report.validation_pictures import files_digest
from mnist_sgd.training.optimizers import momentum_of
from mnist_sgd.training.recorder import metric_name
from mnist_sgd.training.schedule import schedule_name

if TYPE_CHECKING:
    from mnist_sgd.training.learner import Learner

NAMED = ("params", "lr", "mom", "momentum", "betas", "wd", "weight_decay")
"""Settings of optimizers that are stored under common names, or not at all."""


def configuration(learn: "Learner", arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a training: arguments as given, resolved settings, and data.

    Args:
        learn: during or after a fit.
        arguments: JSON types and paths.
    """
    parameters = list(learn.model.parameters())
    resolved: dict[str, Any] = {
        "model": model_name(learn.model),
        "parameters": sum(p.numel() for p in parameters),
        "loss": metric_name(learn.loss_func),
        "metrics": [metric_name(metric) for metric in learn.metrics],
        "epochs": learn.n_epoch,
        "lr": learn.base_lr,
        "schedule": schedule_name(learn.schedule, learn.n_epoch),
        "optimizer": _optimizer(learn),
        "device": learn.ranks.device.type,
        "processes": learn.ranks.world_size,
    }
    data = {}
    for part, loader in (("train", learn.dls.train), ("valid", learn.dls.valid)):
        if isinstance(loader, DataLoader) and isinstance(loader.dataset, ImageSet):
            resolved[part] = _loader(loader)
            data[part] = _data(loader.dataset)
    return {
        "run_format": FORMAT,
        "arguments": {key: _portable(value) for key, value in arguments.items()},
        "resolved": resolved,
        "data": data,
    }


def _optimizer(learn: "Learner") -> dict[str, Any]:
    """The optimizer's name, momentum, weight decay, and other settings that are not defaults.

    These are the initial values: a schedule may have changed the momentum since.
    """
    if learn.opt is None:
        return {"name": metric_name(learn.opt_func)}
    kind = type(learn.opt)
    first = (learn.opt_settings or learn.opt.param_groups)[0]
    defaults = signature(kind).parameters
    others = {
        key: value
        for key, value in first.items()
        if key in defaults and key not in NAMED and value != defaults[key].default
    }
    return {
        "name": kind.__name__,
        "momentum": momentum_of(first),
        "weight_decay": first.get("wd", first.get("weight_decay", 0.0)),
        **{key: _portable(value) for key, value in others.items()},
    }


def _loader(loader: DataLoader) -> dict[str, Any]:
    return {
        "batch_size": loader.batch_size,
        "shuffle": loader.shuffle,
        "drop_last": loader.drop_last,
        "seed": loader.seed,
        "augment": asdict(loader.augment) if loader.augment else None,
        "mean": loader.mean,
        "std": loader.std,
        "dtype": str(loader.dtype).removeprefix("torch."),
    }


def _data(dataset: "ImageSet") -> dict[str, Any]:
    positive = int(np.count_nonzero(dataset.labels))
    counts = (len(dataset) - positive, positive)
    files = files_digest(dataset)
    return {
        "name": dataset.name,
        "images": len(dataset),
        "classes": dict(zip(dataset.classes, counts, strict=True)),
        "preparation": dataset.preprocessing,
        "fingerprint": dataset.fingerprint(),
        **({"refused": dataset.refused} if dataset.refused else {}),
    } | ({} if files is None else {"files": files})


def _portable(value: Any) -> Any:
    """Convert a value for JSON; an absolute path loses its folders, which reveal the machine."""
    if isinstance(value, Mapping):
        return {key: _portable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(each) for each in value]
    if isinstance(value, str | PurePath) and PurePath(value).is_absolute():
        return PurePath(value).name
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def environment(learn: "Learner", seconds: float | None = None) -> dict[str, Any]:
    """Describe the software and hardware of a run.

    Args:
        learn: for its device and processes.
        seconds: duration of the training; None if not measured.
    """
    facts = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "processes": learn.ranks.world_size,
        "device": _device(learn.ranks.device),
        "versions": versions() | {name: _version(name) for name in ("numpy", "onnxruntime")},
    }
    if seconds is None:
        return facts
    started = datetime.now(UTC) - timedelta(seconds=seconds)
    return facts | {
        "started": f"{started:%Y-%m-%dT%H:%MZ}",
        "training_seconds": round(seconds, 3),
    }


def _processor() -> str:
    """The name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
