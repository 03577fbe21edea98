"""Runs docs/walkthrough.ipynb from top to bottom and stores it with its output.

    python tools/run_walkthrough.py [--out docs/walkthrough.ipynb]

Edit the notebook in Jupyter or by hand, then run this: what it stores is free of times, of numbers
of earlier runs, and of what is this machine's own, so that two runs differ in nothing but the times
that the notebook prints. A cell that fails ends it with that cell's error; nothing is stored then.
It needs nbclient and ipykernel (`pip install '.[test]'`) and takes about 20 s of two cores.
"""

import argparse
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from traitlets.config import Config

from mnist_sgd._files import atomic_write

NOTEBOOK = Path(__file__).parent.parent / "docs" / "walkthrough.ipynb"
_PATIENCE = 300  # seconds before a cell counts as hung
_ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # the figures then hang on no number of processors
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main() -> None:
    """Read the command line, run the notebook and write it."""
    parser = argparse.ArgumentParser(description="Run the walkthrough and store its output.")
    parser.add_argument("--out", type=Path, default=NOTEBOOK)
    out = parser.parse_args().out
    try:
        notebook = executed(nbformat.read(NOTEBOOK, as_version=4))
    except CellExecutionError as error:
        parser.exit(1, f"{NOTEBOOK.name}: {error}\n")
    atomic_write(out, f"{nbformat.writes(notebook)}\n".encode())


def executed(notebook: NotebookNode) -> NotebookNode:
    """A notebook with the output of a run in its own folder, and nothing else of that run.

    Raises:
        CellExecutionError: a cell failed; the message has its code and the error.
    """
    with TemporaryDirectory() as folder:
        # Sockets in a folder: Jupyter would choose free TCP ports before the kernel binds them, and
        # another program may be faster.
        sockets = {"transport": "ipc", "ip": f"{folder}/kernel"}
        NotebookClient(
            notebook,
            timeout=_PATIENCE,
            startup_timeout=_PATIENCE,
            resources={"metadata": {"path": str(NOTEBOOK.parent)}},
            record_timing=False,
            coalesce_streams=True,
            config=Config({"KernelManager": sockets}),
        ).execute(env=os.environ | _ONE_THREAD)
    notebook.metadata = nbformat.from_dict(_METADATA)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = NotebookNode(
            {key: cell.metadata[key] for key in cell.metadata if key == "tags"}
        )
    return notebook


if __name__ == "__main__":
    main()
