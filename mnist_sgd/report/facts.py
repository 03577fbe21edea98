"""How a model was made, in words: for reports, and for the differences between runs.

Everything comes from a run's `config.json` and `environment.json`, of this or an earlier version.
"""

import re
from collections.abc import Mapping
from typing import Any

from mnist_sgd.report.chart import plural

PREPROCESSED = {
    "mnist": "drawn characters, cropped and centred (mnist)",
    "fit": "whole pictures, in their proportions (fit)",
    "stretch": "whole pictures, stretched to a square (stretch)",
}
"""What a model sees, by the preprocessing."""

RUN = "Run"
"""The group of facts that differ between any two runs."""

_ONE_CYCLE = re.compile(r"OneCycle\(lr_max=([^,)]+)")

Facts = dict[str, dict[str, str]]


def facts(config: Mapping[str, Any], environment: Mapping[str, Any]) -> Facts:
    """Describe a run: values by name, in groups.

    Args:
        config: content of its file.
        environment: content of its file.
    """
    resolved = config["resolved"]
    groups = {
        "Data": _data(config["data"]),
        "Model": _model(resolved),
        "Training": _training(resolved, config.get("arguments", {})),
        RUN: _run(environment),
        "Computer": _computer(environment),
    }
    return {
        name: {key: value for key, value in group.items() if value}
        for name, group in groups.items()
    }


def _data(data: Mapping[str, Any]) -> dict[str, str]:
    named = {"train": "for training", "valid": "for validation"}
    found = {"images": _source(data)}
    for part, described in data.items():
        found[named.get(part, part)] = _counts(described["classes"])
        if refused := described.get("refused"):
            found[f"{named.get(part, part)}, refused"] = f"{refused:,}"
        kind = described.get("preparation", "")
        found["the model sees"] = PREPROCESSED.get(kind, kind)
    return found


def _source(data: Mapping[str, Any]) -> str:
    names = [described.get("name", "") for described in data.values()]
    return ", ".join(dict.fromkeys(re.sub(r", (train|valid)$", "", name) for name in names))


def _counts(classes: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{name}: {count:,}" for name, count in classes.items())
    return f"{sum(classes.values()):,} ({counts})"


def _model(resolved: Mapping[str, Any]) -> dict[str, str]:
    parameters = resolved.get("parameters")
    return {
        "model": resolved["model"],
        "parameters": "" if parameters is None else f"{parameters:,}",
    }


def _training(resolved: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, str]:
    loader = resolved.get("train", {})
    epochs, size = resolved.get("epochs"), loader.get("batch_size")
    return {
        "epochs": "" if epochs is None else f"{epochs:,}",
        "images per batch": "" if size is None else f"{size:,}",
        "order": {True: "shuffled", False: "as in the data"}.get(loader.get("shuffle"), ""),
        "seed": str(loader.get("seed", "")),
        "learning rate": _learning_rate(resolved),
        "optimizer": _optimizer(resolved.get("optimizer", {})),
        "loss": resolved["loss"],
        "augmentation": _augmentation(loader["augment"]) if "augment" in loader else "",
        "early stopping": _after(arguments.get("early_stopping")),
        "weights kept": "of the epoch with the lowest validation loss"
        if arguments.get("best")
        else "",
        "precision": "bfloat16" if arguments.get("mixed_precision") else "",
    }


def _after(epochs: int | None) -> str:
    return f"after {plural(epochs, 'epoch')} without a lower validation loss" if epochs else ""


def _learning_rate(resolved: Mapping[str, Any]) -> str:
    rate, schedule = resolved.get("lr"), resolved.get("schedule", "flat")
    if rate is None:
        return ""
    if schedule == "flat":
        return f"{rate:.3g}"
    cycle = _ONE_CYCLE.match(schedule)
    return f"one cycle up to {float(cycle[1]):.3g}" if cycle else f"{rate:.3g}, {schedule}"


def _optimizer(optimizer: Mapping[str, Any]) -> str:
    parts = [optimizer.get("name", "")]
    parts += [
        f"{key.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in optimizer.items()
        if key != "name" and value
    ]
    return ", ".join(parts)


def _augmentation(augment: Mapping[str, Any] | None) -> str:
    if not augment:
        return "none"
    low, high = augment.get("scale", (1, 1))
    share = augment.get("share", 1)
    parts = [
        f"rotated by up to {augment['degrees']:g}°" if augment.get("degrees") else "",
        f"shifted by up to {augment['translate']:.0%}" if augment.get("translate") else "",
        f"scaled by {low:g} to {high:g}" if (low, high) != (1, 1) else "",
        f"sheared by up to {augment['shear']:g}°" if augment.get("shear") else "",
        f"{share:.0%} of the images" if share != 1 else "",
    ]
    return ", ".join(filter(None, parts)) or "none"


def _run(environment: Mapping[str, Any]) -> dict[str, str]:
    started, seconds = environment.get("started", ""), environment.get("training_seconds")
    return {
        "started": started.replace("T", " ").replace("Z", " UTC"),
        "training took": "" if seconds is None else _duration(seconds),
    }


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _computer(environment: Mapping[str, Any]) -> dict[str, str]:
    cores, versions = environment.get("cores"), environment.get("versions", {})
    processes = environment.get("processes", 1)
    device = environment.get("device", "")
    parts = [environment.get("processor", ""), plural(cores, "core") if cores else ""]
    software = [f"{name} {version}" for name, version in versions.items()]
    return {
        "processor": ", ".join(filter(None, parts)),
        "GPU": "" if device in ("", "cpu") else device,
        "processes": f"{processes}" if processes > 1 else "",
        "system": ", ".join(filter(None, map(environment.get, ("system", "python")))),
        "packages": ", ".join(software),
    }
