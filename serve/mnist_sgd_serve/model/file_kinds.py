"""Recognises common mistakes: files that are not models, and the model that was meant."""

import os
from pathlib import Path

_STARTS = {
    b"version https://git-lfs.github.com/spec/": "a Git LFS pointer; git lfs pull fetches the file",
    b"PK\x03\x04": "a zip archive, as PyTorch's .pt and .pt2 files are",
    b"\x80\x02": "a Python pickle, as old .pth and .pkl files are",
    b"\x1f\x8b": "a gzip file; unpack it first",
    b"\x89PNG\r\n": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
}
"""First bytes that no ONNX file has."""


def foreign_kind(content: bytes) -> str | None:
    """Name the kind of a file that is not an ONNX model, by its first bytes; None if it may be."""
    for start, kind in _STARTS.items():
        if content.startswith(start):
            return kind
    if content[8:9] == b"{" and int.from_bytes(content[:8], "little") <= len(content) - 8:
        return "a weights file (safetensors)"
    head = content[:200].lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "an HTML page; a download may have ended at an error page"
    if head.startswith((b"{", b"[")):
        return "a JSON file"
    return None


def model_beside(path: str | os.PathLike[str]) -> str | None:
    """Find the model that was probably meant: in a folder, or next to a file of the same name.

    Returns:
        For a folder, the path of `model.onnx` in it; for a file, that of the `.onnx` file of the
        same name, or of `model.onnx` next to it; None if there is none.
    """
    named = Path(os.fsdecode(path))
    if named.is_dir():
        candidates = [named / "model.onnx"]
    else:
        candidates = [named.with_suffix(".onnx"), named.with_name("model.onnx")]
    return next((str(one) for one in candidates if one != named and one.is_file()), None)
