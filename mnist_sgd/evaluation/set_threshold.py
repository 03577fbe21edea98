"""Change the threshold of an existing model file.

The threshold is a metadata property. The graph, the weights and all other properties stay the same,
byte for byte: the result equals an export with this threshold.
"""

import os
from dataclasses import replace
from pathlib import Path

from mnist_sgd._files import atomic_write
from mnist_sgd_serve import ArtifactError, load_artifact

_PROPERTY = "mnist_sgd.threshold"


def with_threshold(content: bytes, threshold: float) -> bytes:
    """Return the bytes of an artifact with another threshold.

    Args:
        content: the bytes of an artifact.
        threshold: images with a probability above it are predicted positive; in [0, 1].

    Raises:
        ArtifactError: `content` is not an artifact.
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
    """Write an artifact with another threshold to `path`, and return its size in bytes.

    Raises:
        ArtifactError: `content` is not an artifact.
        FileExistsError: `path` exists and is not the same model with any threshold.
        MetadataError: the threshold is out of range.
        OSError: the file cannot be written; an existing one is unchanged.
    """
    path = Path(path)
    changed = with_threshold(content, threshold)
    if path.exists() and not _is_same_model(path, changed, threshold):
        raise FileExistsError(
            f"{path}: another file is there, and only the same model is replaced; choose another "
            "name or remove it"
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist; make it first")
    atomic_write(path, changed)
    return len(changed)


def _is_same_model(path: Path, content: bytes, threshold: float) -> bool:
    try:
        return with_threshold(load_artifact(path).content, threshold) == content
    except ArtifactError:
        return False
