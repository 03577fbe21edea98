"""The .pt file: the graph as TorchScript, for torch.jit.load and libtorch.

TorchScript is deprecated upstream and warns at every step; it stays here for programs that read
nothing newer. The weights are constants of the graph: `map_location` moves them, `.to` does not.
The same weights give the same bytes, without a path of the machine in them.
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
from mnist_sgd.export.parity import Answer, torch_answer
from mnist_sgd_serve.model.metadata import Metadata

__all__ = ["load", "write"]

SOURCE_RANGES = ".debug_pkl"
"""Ends the records that map code to source files and lines; only error texts use them."""

SERIALIZATION_ID = ".data/serialization_id"
"""A checksum over the other records, which the writer makes anew."""


def write(classifier: Classifier, path: Path, metadata: Metadata) -> None:
    """Write the .pt file, with the metadata's properties as its extra file metadata.json."""

    def forward(image: Tensor) -> Tensor:
        probability: Tensor = classifier(image)
        return probability

    # A function, because the classes of a traced module are numbered through the whole process
    # and the numbers would be in the file; a buffer, because the records carry the file's name.
    buffer = io.BytesIO()
    properties = json.dumps(metadata.to_properties())
    with _deprecation_expected():
        # Its own check of one example is not needed: `export_model` compares every image.
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            forward, (example_batch(),), check_trace=False
        )
        torch.jit.save(traced, buffer, _extra_files={"metadata.json": properties})
    path.write_bytes(_without_source_ranges(buffer.getvalue()))


def load(path: Path) -> Answer:
    """Load a .pt file to ask it for probabilities."""
    with _deprecation_expected():
        module = torch.jit.load(path)  # type: ignore[no-untyped-call]  # as above
    return torch_answer(module)


def _without_source_ranges(archive: bytes) -> bytes:
    """Copy the archive's records, all but those that name source files.

    torch's own reader and writer keep the alignment that memory mapping needs.
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
    """Silence the notice that TorchScript is deprecated; the module says why it is used."""
    with warnings.catch_warnings():
        notice = r"`torch\.jit\.(trace|save|load)` is deprecated"
        warnings.filterwarnings("ignore", notice, FutureWarning)
        yield
