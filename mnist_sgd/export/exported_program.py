"""The .pt2 file: the graph in torch.export's own archive.

The same weights give the same bytes. torch.export notes with every node which source line it came
from; `export_program` removes these notes, so no path reaches the .pt2 or the .onnx file.
`torch.export.load` reads parts of such a file with pickle: load only files you trust.
"""

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import torch
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from mnist_sgd.export.graph import Classifier, example_batch
from mnist_sgd.export.parity import PredictFn, torch_predict_fn
from mnist_sgd_serve.model.metadata import Metadata

NO_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a ZIP archive can hold."""

DEBUG_META_KEYS = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")
"""Under these keys a node's origin is noted; running the graph needs none of them."""

LOGGERS = ("torch.export._trace", "torch.fx.experimental.symbolic_shapes")
"""These report at length why a model could not be traced."""


def export_program(classifier: Classifier) -> ExportedProgram:
    """Trace the classifier with a dynamic batch size and remove all debugging metadata.

    What torch prints about a model that it cannot trace is dropped; the exception says it.
    """
    # Without an upper bound, a cnn_histogram that torch 2.6 traces excludes the largest int64.
    dynamic_batch = ({0: Dim("batch", max=2**62)},)
    with _quiet_on_failure():
        program = torch.export.export(
            classifier, (example_batch(),), dynamic_shapes=dynamic_batch, strict=False
        )
    for module in program.graph_module.modules():
        if isinstance(module, GraphModule):
            for node in module.graph.nodes:
                for key in DEBUG_META_KEYS:
                    node.meta.pop(key, None)
    return program


@contextmanager
def _quiet_on_failure() -> Iterator[None]:
    """Buffer standard error and print it only if the body succeeds."""
    held = io.StringIO()
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.addFilter(_drop)
    try:
        with redirect_stderr(held), warnings.catch_warnings():
            # Hooks leave tensors in attributes; the comparison shows if the graph needs them.
            warnings.filterwarnings("ignore", "The tensor attribute", UserWarning)
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(_drop)
    if held.getvalue() and sys.stderr is not None:
        sys.stderr.write(held.getvalue())


def _drop(record: logging.LogRecord) -> bool:
    return False


def write(classifier: Classifier, path: Path, metadata: Metadata) -> None:
    """Write the .pt2 file, with the metadata's properties as its extra file metadata.json."""
    # A buffer, because the archive's records carry the name of the file they were first saved to.
    buffer = io.BytesIO()
    extra = {"metadata.json": json.dumps(metadata.to_properties())}
    torch.export.save(export_program(classifier), buffer, extra_files=extra)
    path.write_bytes(_without_times(buffer))


def _without_times(archive: io.BytesIO) -> bytes:
    """Return a ZIP archive without the times that torch 2.6 writes and newer ones do not."""
    with ZipFile(archive) as read:
        if all(entry.date_time[0] == NO_TIME[0] for entry in read.infolist()):
            return archive.getvalue()
        result = io.BytesIO()
        with ZipFile(result, "w") as written:
            for entry in read.infolist():
                written.writestr(ZipInfo(entry.filename, NO_TIME), read.read(entry))
    return result.getvalue()


def load(path: Path) -> PredictFn:
    """Load a .pt2 file for prediction."""
    return torch_predict_fn(torch.export.load(path).module())
