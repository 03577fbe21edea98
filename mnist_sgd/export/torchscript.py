"""The .pt file: the graph as TorchScript, for torch.jit.load and libtorch.

TorchScript is deprecated, but some programs read nothing newer. The weights are constants of the
graph: `map_location` moves them, `.to` does not. The same weights give the same bytes, which name
no source file.
"""

import io
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from mnist_sgd.export.graph import Classifier, example_batch
from mnist_sgd.export.parity import PredictFn, torch_predict_fn
from mnist_sgd_serve.model.metadata import Metadata

SOURCE_RANGES = ".debug_pkl"
"""Suffix of the records that map code to source lines; only error messages use them."""

SERIALIZATION_ID = ".data/serialization_id"
"""A checksum over the other records; the writer adds a new one."""


def write(classifier: Classifier, path: Path, metadata: Metadata) -> None:
    """Write the .pt file, with the metadata's properties as its extra file metadata.json."""

    def forward(image: Tensor) -> Tensor:
        probability: Tensor = classifier(image)
        return probability

    # A function, because torch numbers the classes of traced modules within the process, and these
    # numbers would be in the file. A buffer, because the records carry the file's name.
    buffer = io.BytesIO()
    properties = json.dumps(metadata.to_properties())
    with _deprecation_expected():
        # Its own check of one example is redundant: `export_model` compares every image.
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            forward, (example_batch(),), check_trace=False
        )
        torch.jit.save(traced, buffer, _extra_files={"metadata.json": properties})
    path.write_bytes(_without_source_ranges(buffer.getvalue()))


def load(path: Path) -> PredictFn:
    """Load a .pt file for prediction."""
    with _deprecation_expected():
        module = torch.jit.load(path)  # type: ignore[no-untyped-call]  # as above
    return torch_predict_fn(module)


def _without_source_ranges(archive: bytes) -> bytes:
    """Copy the archive without the records that name source files.

    torch's own reader and writer keep the alignment for memory mapping.
    """
    reader = torch._C.PyTorchFileReader(io.BytesIO(archive))
    buffer = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(buffer)
    for name in reader.get_all_records():
        if not name.endswith(SOURCE_RANGES) and name != SERIALIZATION_ID:
            record = reader.get_record(name)
            writer.write_record(name, record, len(record))
    writer.write_end_of_file()
    return buffer.getvalue()


@contextmanager
def _deprecation_expected() -> Iterator[None]:
    """Silence TorchScript's deprecation warnings."""
    with warnings.catch_warnings():
        notice = r"`torch\.jit\.(trace|save|load)` is deprecated"
        warnings.filterwarnings("ignore", notice, FutureWarning)
        yield
