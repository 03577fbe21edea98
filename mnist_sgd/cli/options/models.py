"""Arguments that name a model: by its architecture, its file, or the folder of its run."""

import argparse
import os
import shlex
from pathlib import Path

from mnist_sgd._names import near_path
from mnist_sgd.cli.training.recipes import CUSTOM, RECIPES
from mnist_sgd.report.folder import ARTIFACT, CHECKPOINT, WEIGHTS, is_run
from mnist_sgd_serve.process.arguments import suggestion

ARCHITECTURES = (
    f"the architecture: {', '.join(name for name in RECIPES if name != CUSTOM)}, or {CUSTOM}, a "
    "function of yours that takes no arguments and returns a torch.nn.Module that maps [B, 784] to "
    "[B, 1]; its module may be in this folder"
)
"""Help for `--model` where it names an architecture."""

DEFAULT = Path(ARTIFACT)

MODEL_HELP = "a .onnx file, or the folder of a run (default: %(default)s)"

_RUNS = Path("runs")


def architecture(text: str) -> str:
    """The name of a built-in model, or of a function that makes a custom one."""
    if text not in RECIPES and ":" not in text:
        near = suggestion(text, RECIPES)
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(RECIPES)}, got {text!r}{near}")
    return text


def model_file(given: Path, advice: str) -> Path:
    """Find the model's file that an argument names.

    Args:
        given: a file, or a folder that holds `model.onnx`.
        advice: how to name a model to the command, with `{}` for the model.

    Raises:
        ValueError: there is none, or the argument names something else; the message says what to
            do.
        OSError: it cannot be accessed.
    """
    if given == Path("-"):
        raise ValueError("a model cannot be read from standard input; name its file")
    if given.is_dir():
        return _in_folder(given, ARTIFACT)
    if not given.exists():
        raise ValueError(_missing(given, advice))
    if given.suffix.lower() == ".safetensors":
        raise ValueError(_not_weights(given, advice))
    if given.suffix.lower() in (".pt", ".pt2"):
        raise ValueError(f"{given} is a model for PyTorch; this command takes the .onnx file")
    return given


def weights_file(given: Path) -> Path:
    """Find the file of weights that an argument names: a file, or a folder that holds one.

    Raises:
        ValueError: the folder holds none, or the file is an exported model; the message says what
            to do.
        OSError: it cannot be accessed.
    """
    if given.is_dir():
        return _in_folder(given, WEIGHTS)
    if given.suffix.lower() == ".onnx" and given.is_file():
        near = given.with_suffix(".safetensors")
        where = str(near) if near.is_file() else f"the {WEIGHTS} that train left"
        raise ValueError(f"{given}: not a safetensors file: export takes the weights, {where}")
    return given


def _in_folder(folder: Path, name: str) -> Path:
    """The file of this name in a folder.

    Raises:
        ValueError: there is none.
    """
    if (folder / name).exists():
        return folder / name
    text = f"{folder}: the folder holds no {name}"
    if is_run(folder):
        raise ValueError(f"{text}: the training of this run has not finished")
    others = sorted(folder.glob(f"*{Path(name).suffix}")) + sorted(folder.glob(f"*/{name}"))
    others = [other for other in others if other.name != CHECKPOINT]
    if others:
        named = ", ".join(map(str, others[:5])) + (", ..." if len(others) > 5 else "")
        raise ValueError(f"{text}; name one of {named}")
    newest = _newest_run()
    raise ValueError(f"{text}; the newest run's is {newest / name}" if newest else text)


def _missing(given: Path, advice: str) -> str:
    newest = _newest_run()
    if given != DEFAULT:
        other = near_path(given)
        if newest and not other:
            other = f"; the newest run's model is {newest / ARTIFACT}"
        return f"{given} cannot be read: No such file or directory{other}"
    text = f"there is no {given} here"
    if newest is None:
        another = advice.format("FILE")
        return f"{text}; train one: mnist-sgd train, or name another: {another}"
    how = advice.format(shlex.quote(str(newest)))
    return f"{text}; the newest run's is {newest / ARTIFACT} ({how}), or train one: mnist-sgd train"


def _newest_run() -> Path | None:
    """The folder of the run in the current folder whose model was written last."""
    models = [model for model in _RUNS.glob(f"*/{ARTIFACT}") if model.is_file()]
    return max(models, key=os.path.getmtime).parent if models else None


def _not_weights(given: Path, advice: str) -> str:
    model = given.with_suffix(".onnx")
    if model.is_file():
        how = advice.format(shlex.quote(str(model)))
        return f"{given} contains only the weights; the model is {model} ({how})"
    how = f"mnist-sgd export {shlex.quote(str(given))} {shlex.quote(str(model))}"
    return f"{given} contains only the weights; export the model first: {how}"
