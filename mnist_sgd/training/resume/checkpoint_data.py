"""What data a checkpoint is of, in words: its loaders' states have only fingerprints."""

from collections.abc import Mapping, Sequence
from typing import Any

from mnist_sgd.data.imageset import ImageSet
from mnist_sgd.loader.dataloader import DataLoader, DataLoaders

__all__ = ["described_data", "other_augmentation", "other_images"]

Noted = Mapping[str, Mapping[str, Any]]
States = Sequence[tuple[DataLoader, Mapping[str, int]]]

PARTS = ("training", "validation")


def described_data(dls: DataLoaders) -> dict[str, dict[str, Any]]:
    """What a checkpoint notes of the data of its loaders, for messages and for `train`.

    Returns:
        For training and validation the number of images and their augmentation; of an `ImageSet`
        its name and its classes, too. Nothing of another package's batches.
    """
    loaders = zip(PARTS, (dls.train, dls.valid), strict=True)
    return {part: _described(each) for part, each in loaders if isinstance(each, DataLoader)}


def other_images(noted: Noted, states: States) -> str | None:
    """Why a checkpoint is not of the images of a fit; None if it is.

    Args:
        noted: what `described_data` gave; empty for a checkpoint of an earlier version.
        states: the loaders, for training and then for validation, each with its state.
    """
    for part, (loader, state) in zip(PARTS, states, strict=False):
        if state.get("dataset") in (None, loader.state_dict()["dataset"]):
            continue
        own = _text(_described(loader))
        given = _text(noted[part]) if part in noted else "others"
        if given == own:
            given = "others of the same name and number"
        return (
            f"the state is of another dataset: for {part} the checkpoint has {given}, this fit has "
            f"{own}; resume with the data of the checkpoint, or begin anew without it"
        )
    return None


def other_augmentation(noted: Noted, states: States) -> str | None:
    """Why a checkpoint is not of the augmentation of a fit; None if it is. See `other_images`."""
    for part, (loader, state) in zip(PARTS, states, strict=False):
        if state.get("augmentation") in (None, loader.state_dict()["augmentation"]):
            continue
        given = noted[part]["augmentation"] if part in noted else "another one"
        own = _described(loader)["augmentation"]
        return (
            f"the state is of another augmentation: the checkpoint has {given}, this fit has {own}"
        )
    return None


def _described(loader: DataLoader) -> dict[str, Any]:
    data = loader.dataset
    noted = {"images": len(data), "augmentation": str(loader.augment or "none")}
    if isinstance(data, ImageSet):
        noted |= {"name": data.name, "classes": list(data.classes)}
    return noted


def _text(noted: Mapping[str, Any]) -> str:
    if "name" not in noted:
        return f"{noted['images']:,} items"
    classes = " and ".join(noted["classes"])
    return f"{noted['images']:,} images of {classes} ({noted['name']!r})"
