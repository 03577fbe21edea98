"""The .pt2 file: the graph as torch.export's own archive.

The same weights give the same bytes. torch.export notes on every node where in which source file
it came from; `capture` takes the notes off, so no path reaches the .pt2 or the .onnx file.
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

import torch
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from mnist_sgd.export.graph import Classifier, example_batch
from mnist_sgd.export.parity import Answer, torch_answer
from mnist_sgd_serve.model.metadata import Metadata

__all__ = ["capture", "load", "write"]

ORIGINS = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")
"""The keys under which torch.export notes where a node came from; to run it needs none."""


LOGGERS = ("torch.export._trace", "torch.fx.experimental.symbolic_shapes")
"""Where torch.export tells at length why it could not capture a model."""


def capture(classifier: Classifier) -> ExportedProgram:
    """Capture the classifier's graph, with a free batch size and without a word on its source.

    It takes 1.5 s the first time in a process, for torch's imports, and 0.1 s later. What torch
    prints about a model that it cannot capture is left out: the error says it in a sentence.
    """
    # Without an end, a cnn_histogram that torch 2.6 captures excludes the largest int64.
    free_batch = ({0: Dim("batch", max=2**62)},)
    with _silent_if_it_fails():
        program = torch.export.export(
            classifier, (example_batch(),), dynamic_shapes=free_batch, strict=False
        )
    for module in program.graph_module.modules():
        if isinstance(module, GraphModule):
            for node in module.graph.nodes:
                for key in ORIGINS:
                    node.meta.pop(key, None)
    return program


@contextmanager
def _silent_if_it_fails() -> Iterator[None]:
    """Hold back what is printed on standard error, and let it out unless the body fails."""
    held = io.StringIO()
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.addFilter(_nothing)
    try:
        with redirect_stderr(held), warnings.catch_warnings():
            # Hooks leave tensors in attributes; whether the graph computes them anew is compared.
            warnings.filterwarnings("ignore", "The tensor attribute", UserWarning)
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(_nothing)
    if held.getvalue() and sys.stderr is not None:
        sys.stderr.write(held.getvalue())


def _nothing(record: logging.LogRecord) -> bool:
    return False


def write(classifier: Classifier, path: Path, metadata: Metadata) -> None:
    """Write the .pt2 file, with the metadata's properties as its extra file metadata.json."""
    # A buffer, because the archive's records carry the name of the file they were first saved to.
    buffer = io.BytesIO()
    properties = json.dumps(metadata.to_properties())
    torch.export.save(capture(classifier), buffer, extra_files={"metadata.json": properties})
    path.write_bytes(buffer.getvalue())


def load(path: Path) -> Answer:
    """Load a .pt2 file to ask it for probabilities."""
    return torch_answer(torch.export.load(path).module())
