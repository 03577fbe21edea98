"""Emulate bfloat16 in an ONNX graph: float32 values, rounded where torch rounds them.

onnxruntime's CPU operators do not compute in bfloat16. torch's compute in float32 and round each
result. The same is expressed here in ONNX: weights and results are float32, and each result is
cast to bfloat16 and back.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

EXACT = {"Concat", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Relu", "Reshape"}
EXACT |= {"Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
"""Operators whose results are among their inputs and so need no rounding."""


def in_float32(graph: "onnx.GraphProto") -> "onnx.GraphProto":
    """Rewrite a graph to compute in float32; return a graph without bfloat16 unchanged.

    Args:
        graph: has the types of its values, as torch's exporter writes them.
    """
    import onnx

    short = {
        value.name
        for value in graph.value_info
        if value.type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16
    }
    short |= {t.name for t in graph.initializer if t.data_type == onnx.TensorProto.BFLOAT16}
    if not short:
        return graph
    nodes = [new for node in graph.node for new in _translated(node, short)]
    weights = [
        onnx.numpy_helper.from_array(
            onnx.numpy_helper.to_array(tensor).astype("float32"), tensor.name
        )
        if tensor.name in short
        else tensor
        for tensor in graph.initializer
    ]
    return onnx.helper.make_graph(nodes, graph.name, graph.input, graph.output, weights)


def _translated(node: "onnx.NodeProto", short: set[str]) -> Iterator["onnx.NodeProto"]:
    """Yield the node in float32 and the casts that round its results."""
    import onnx

    cast, long = onnx.helper.make_node, onnx.TensorProto.FLOAT
    results = [name for name in node.output if name in short]
    rounded = [] if node.op_type in EXACT else results
    new = onnx.NodeProto()
    new.CopyFrom(node)
    for i, name in enumerate(node.output):
        if name in rounded:
            new.output[i] = f"{name} to round"
    for attribute in new.attribute:
        if attribute.name == "to" and attribute.i == onnx.TensorProto.BFLOAT16:
            attribute.i = long
        if attribute.HasField("t") and attribute.t.data_type == onnx.TensorProto.BFLOAT16:
            value = onnx.numpy_helper.to_array(attribute.t).astype("float32")
            attribute.t.CopyFrom(onnx.numpy_helper.from_array(value, attribute.t.name))
    yield new
    for name in rounded:
        bits = f"{name} in bfloat16"
        yield cast("Cast", [f"{name} to round"], [bits], to=onnx.TensorProto.BFLOAT16)
        yield cast("Cast", [bits], [name], to=long)
