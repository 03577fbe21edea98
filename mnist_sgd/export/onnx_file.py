"""The .onnx file, the project's artifact: one file, any batch size, only the graph.

Models of common layers are translated directly, see `onnx_direct`, all others by torch's exporter.
That adds stack traces, paths and counters to every node. The graph is therefore rebuilt from what
a runtime needs, with stable names, so that the same weights give the same bytes. Opset 18 is the
oldest that torch's exporter writes without a conversion, and IR version 8 was released with it
(ONNX 1.13), so old runtimes read the file too.

onnx is imported only when an export runs, and torch's exporter, which takes seconds to import, only
when it is needed.
"""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mnist_sgd.export.bfloat16 import in_float32
from mnist_sgd.export.exported_program import export_program
from mnist_sgd.export.graph import IMAGE_SIZE, Classifier
from mnist_sgd.export.onnx_direct import direct_graph
from mnist_sgd.export.parity import PredictFn
from mnist_sgd.export.versions import versions
from mnist_sgd_serve.model.metadata import Metadata

if TYPE_CHECKING:
    import onnx

OPSET = 18
IR_VERSION = 8


def dot_product(linear: nn.Linear, x: Tensor) -> Tensor:
    """Apply a linear layer with one output, float32 [..., K] to [..., 1], as product and sum.

    onnxruntime's matrix product accumulates sequentially, its sum in blocks, which rounds less and
    is as fast.
    """
    total = (x * linear.weight).sum(-1, keepdim=True)
    return total if linear.bias is None else total + linear.bias


def write(classifier: Classifier, path: Path, metadata: Metadata) -> None:
    """Write the artifact.

    Raises:
        ValueError: the graph needs more than ONNX's standard operators.
        onnx.checker.ValidationError: the graph breaks ONNX's rules.
    """
    import onnx

    graph = direct_graph(classifier)
    if graph is None:
        graph = in_float32(_translate(_with_dot_products(copy.deepcopy(classifier))))
    model = onnx.helper.make_model(
        _rebuild(graph, weights=set(classifier.state_dict())),
        ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        producer_name="mnist_sgd",
        producer_version=versions()["mnist_sgd"],
    )
    onnx.helper.set_model_props(model, metadata.to_properties())
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def load(path: Path) -> PredictFn:
    """Load an .onnx file for prediction, with the class that will serve it."""
    from mnist_sgd_serve.model.predictor import Predictor

    return Predictor(path.read_bytes()).probabilities


def _with_dot_products(classifier: Classifier) -> Classifier:
    """Replace the `forward` of every linear layer with one output by `dot_product`.

    The layer itself, its attributes and its hooks stay, since the model may use them.
    """
    for module in classifier.modules():
        if (
            type(module) is nn.Linear
            and module.out_features == 1
            and module.weight.dtype == torch.float32
            and "forward" not in vars(module)
        ):
            module.forward = partial(dot_product, module)  # type: ignore[method-assign]
    return classifier


def _translate(classifier: Classifier) -> "onnx.GraphProto":
    """Convert the classifier with torch.onnx and check that the graph is plain ONNX.

    Raises:
        ValueError: it has functions, operators of another domain, or subgraphs.
    """
    import onnx

    export = partial(
        torch.onnx.export,
        export_program(classifier),
        dynamo=True,
        input_names=["image"],
        output_names=["probability"],
        opset_version=OPSET,
        verbose=False,  # no progress messages
        # Optimizing folds batch norm into a convolution's weights, which bfloat16 would round.
        optimize=not any(p.dtype == torch.bfloat16 for p in classifier.parameters()),
    )
    with _without_noise():
        try:
            program = export()
        except torch.onnx.OnnxExporterError:
            from mnist_sgd.export.batch_norm_node import TRANSLATION

            program = export(custom_translation_table=TRANSLATION)
    assert program is not None  # the type allows it for dynamo=False
    model = program.model_proto
    domains = sorted({opset.domain for opset in model.opset_import} - {""})
    if domains or model.functions:
        raise ValueError(f"the model needs operators outside ONNX's standard: {domains}")
    for node in model.graph.node:
        if any(attribute.type == onnx.AttributeProto.GRAPH for attribute in node.attribute):
            raise ValueError(f"the model branches or loops on its data ({node.op_type})")
    return model.graph


@contextmanager
def _without_noise() -> Iterator[None]:
    """Drop what torch's exporter says of a missing torchvision, or of its own graph (torch 2.6)."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    logger.addFilter(_is_not_of_torchvision)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*get_attr", UserWarning)
            yield
    finally:
        logger.removeFilter(_is_not_of_torchvision)


def _is_not_of_torchvision(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("torchvision is not installed")


def _rebuild(graph: "onnx.GraphProto", weights: set[str]) -> "onnx.GraphProto":
    """Rebuild the graph with the artifact's input and output and stable names.

    The initializers named in `weights` keep their names.
    """
    import onnx

    names = _stable_names(graph, weights)
    nodes = []
    for node in graph.node:
        clean = onnx.NodeProto(
            name=names[node.output[0]],
            op_type=node.op_type,
            input=[names[value] for value in node.input],
            output=[names[value] for value in node.output],
        )
        clean.attribute.extend(sorted(node.attribute, key=lambda attribute: attribute.name))
        nodes.append(clean)
    initializers = [
        onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), names[tensor.name])
        for tensor in graph.initializer
    ]
    value = onnx.helper.make_tensor_value_info
    image = value("image", onnx.TensorProto.UINT8, ["batch", *IMAGE_SIZE])
    probability = value("probability", onnx.TensorProto.FLOAT, ["batch", 1])
    return onnx.helper.make_graph(nodes, "mnist_sgd", [image], [probability], initializers)


def _stable_names(graph: "onnx.GraphProto", weights: set[str]) -> dict[str, str]:
    """Map old names to new: weights keep theirs, constants and results are numbered."""
    constants = [tensor.name for tensor in graph.initializer if tensor.name not in weights]
    names = {name: name for name in weights}
    names |= {name: f"constant_{i}" for i, name in enumerate(constants)}
    for i, node in enumerate(graph.node):
        for j, output in enumerate(node.output):
            names[output] = f"{node.op_type.lower()}_{i}" + (f"_{j}" if j else "")
    # "" stands for an omitted optional input or output.
    return names | {name: name for name in ("", "image", "probability")}
