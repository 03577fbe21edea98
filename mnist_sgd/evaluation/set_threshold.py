"""Changing the threshold of an artifact that is there, and nothing else of it.

The threshold is one of the file's metadata properties: the graph, the weights and every other
property stay as they are, byte for byte, and the file is that which an export with this threshold
would have written.
"""

import os
from dataclasses import replace
from pathlib import Path

from mnist_sgd._files import atomic_write
from mnist_sgd_serve import ArtifactError, load_artifact

__all__ = ["with_threshold", "write_threshold"]

_PROPERTY = "mnist_sgd.threshold"


def with_threshold(content: bytes, threshold: float) -> bytes:
    """The bytes of an artifact with another threshold.

    Args:
        content: the bytes of an artifact.
        threshold: a probability above it is called the positive class; in [0, 1].

    Raises:
        ArtifactError: `content` is no artifact.
        MetadataError: the threshold is out of range.
    """
    import onnx

    metadata = replace(load_artifact(content).metadata, threshold=float(threshold))
    model = onnx.load_model_from_string(content)
    for entry in model.metadata_props:
        if entry.key == _PROPERTY:
            entry.value = metadata.to_properties()[_PROPERTY]
    changed: bytes = model.SerializeToString(deterministic=True)
    return changed


def write_threshold(content: bytes, threshold: float, path: str | os.PathLike[str]) -> int:
    """Write an artifact with another threshold as the file `path`, and give its size in bytes.

    Raises:
        ArtifactError: `content` is no artifact.
        FileExistsError: the file is there and is not the same model, whatever its threshold.
        MetadataError: the threshold is out of range.
        OSError: the file cannot be written; an older one of that name is untouched.
    """
    path = Path(path)
    changed = with_threshold(content, threshold)
    if path.exists() and not _is_of_the_same_model(path, changed, threshold):
        raise FileExistsError(
            f"{path}: another file is there, and only the same model is replaced; choose another "
            "name or remove it"
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist; make it first")
    atomic_write(path, changed)
    return len(changed)


def _is_of_the_same_model(path: Path, content: bytes, threshold: float) -> bool:
    try:
        return with_threshold(load_artifact(path).content, threshold) == content
    except ArtifactError:
        return False
