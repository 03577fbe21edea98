"""Tiny ONNX models for the tests of the serving side, a good artifact and what is not one.

They are built with onnx.helper, so no test of the serving side needs torch.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mnist_sgd_serve.model.metadata import Metadata

METADATA = Metadata(classes=("7", "3"), model="linear", metrics={"accuracy": 0.97})

IMAGE = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 28, 28])
PROBABILITY = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["batch", 1])


def linear(
    weights: NDArray[np.float32] | None = None,
    bias: float = 0.0,
    *,
    properties: Mapping[str, str] | None = None,
    image: onnx.ValueInfoProto = IMAGE,
    probability: onnx.ValueInfoProto = PROBABILITY,
) -> onnx.ModelProto:
    """A good artifact: sigmoid(image / 255 @ weights + bias), unless told otherwise.

    Args:
        weights: float32 `[784]`; without them they are small and all different.
        bias: added before the sigmoid.
        properties: the metadata properties in place of `METADATA`'s.
        image: the declared input.
        probability: the declared output.
    """
    if weights is None:
        weights = np.linspace(-0.02, 0.02, 784, dtype=np.float32)
    tensors: dict[str, NDArray[Any]] = {
        "weights": weights.astype(np.float32).reshape(784, 1),
        "bias": np.array([bias], np.float32),
        "divisor": np.array(255, np.float32),
        "flat": np.array([-1, 784], np.int64),
    }
    nodes = [
        helper.make_node("Cast", [image.name], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["pixels", "flat"], ["rows"]),
        helper.make_node("Div", ["rows", "divisor"], ["shares"]),
        helper.make_node("Gemm", ["shares", "weights", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], [probability.name]),
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    graph = helper.make_graph(nodes, "linear", [image], [probability], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(
        model, dict(METADATA.to_properties() if properties is None else properties)
    )
    return model


def slow() -> onnx.ModelProto:
    """A good artifact that multiplies matrices to no purpose: 2 GFLOP an image."""
    model = linear()
    model.graph.node[-1].output[0] = "each"
    tensors = {"first": [1], "second": [2], "both": [1, 2]}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.array(axes, np.int64), name) for name, axes in tensors.items()
    )
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "nothing"))
    model.graph.node.extend(
        [
            helper.make_node("Unsqueeze", ["shares", "first"], ["across"]),
            helper.make_node("Unsqueeze", ["shares", "second"], ["down"]),
            helper.make_node("MatMul", ["down", "across"], ["square"]),
            helper.make_node("MatMul", ["square", "square"], ["cube"]),
            helper.make_node("MatMul", ["cube", "square"], ["all"]),
            helper.make_node("ReduceMax", ["all", "both"], ["most"], keepdims=0),
            helper.make_node("Unsqueeze", ["most", "first"], ["rows of most"]),
            helper.make_node("Mul", ["rows of most", "nothing"], ["zero"]),
            helper.make_node("Add", ["each", "zero"], ["probability"]),
        ]
    )
    return model


def endless() -> onnx.ModelProto:
    """A good artifact that never comes to an end with images that have no black pixel."""
    model = linear()
    model.graph.node[-1].output[0] = "each"
    for name, value in (("many", np.array(2**40, np.int64)), ("zero", np.zeros(1, np.float32))):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go on"], ["still go on"]),
            helper.make_node("Add", ["before", "before"], ["after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("still go on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, [1]),
        ],
    )
    model.graph.node.extend(
        [
            helper.make_node("ReduceMin", ["pixels"], ["darkest"], keepdims=0),
            helper.make_node("Cast", ["darkest"], ["whole"], to=TensorProto.INT64),
            helper.make_node("Mul", ["whole", "many"], ["rounds"]),
            helper.make_node("Loop", ["rounds", "", "zero"], ["nothing"], body=body),
            helper.make_node("Add", ["each", "nothing"], ["probability"]),
        ]
    )
    return model


def content(model: onnx.ModelProto) -> bytes:
    """The bytes of the model's file."""
    return bytes(model.SerializeToString(deterministic=True))


def with_nan_weights() -> onnx.ModelProto:
    return linear(np.full(784, np.nan, np.float32))


def with_answers_above_one() -> onnx.ModelProto:
    model = linear(np.ones(784, np.float32))
    model.graph.node[-1].op_type = "Identity"
    return model


def with_another_input_name() -> onnx.ModelProto:
    return linear(image=helper.make_tensor_value_info("x", TensorProto.UINT8, ["batch", 28, 28]))


def with_float_images() -> onnx.ModelProto:
    return linear(image=helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 28, 28]))


def with_flat_images() -> onnx.ModelProto:
    return linear(image=helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 784]))


def with_a_fixed_batch() -> onnx.ModelProto:
    return linear(image=helper.make_tensor_value_info("image", TensorProto.UINT8, [4, 28, 28]))


def with_another_output_name() -> onnx.ModelProto:
    return linear(probability=helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1]))


def with_two_outputs() -> onnx.ModelProto:
    model = linear()
    model.graph.output.append(helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n", 1]))
    return model


def with_one_answer_for_all() -> onnx.ModelProto:
    """Its output has one row, whatever the input, though it declares a row an image."""
    model = linear()
    model.graph.node[-1].output[0] = "each"
    for name, value in (("start", 0), ("end", 1)):
        tensor = numpy_helper.from_array(np.array([value], np.int64), name)
        model.graph.initializer.append(tensor)
    model.graph.node.append(helper.make_node("Slice", ["each", "start", "end"], ["probability"]))
    return model


def with_a_custom_domain() -> onnx.ModelProto:
    model = linear()
    model.graph.node[-1].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def with_an_unknown_operator() -> onnx.ModelProto:
    model = linear()
    model.graph.node[-1].op_type = "Oracle"
    return model


def without_metadata() -> onnx.ModelProto:
    return linear(properties={})


def with_another_format() -> onnx.ModelProto:
    return linear(properties=METADATA.to_properties() | {"mnist_sgd.format": "9"})


def with_external_data(location: str) -> onnx.ModelProto:
    """Its weights lie in another file."""
    model = linear()
    _make_external(model.graph.initializer[0], location)
    return model


def with_external_data_in_a_branch(location: str) -> onnx.ModelProto:
    """Tensors of a graph inside a node lie in another file."""
    constant = numpy_helper.from_array(np.zeros(1, np.float32), "value")
    _make_external(constant, location)
    value = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1])
    inner = helper.make_node("Constant", [], ["out"], value=constant)
    branch = helper.make_graph([inner], "branch", [], [value])
    model = linear()
    condition = numpy_helper.from_array(np.array(True), "condition")
    model.graph.initializer.append(condition)
    node = helper.make_node("If", ["condition"], ["unused"], then_branch=branch, else_branch=branch)
    model.graph.node.append(node)
    return model


def _make_external(tensor: onnx.TensorProto, location: str) -> None:
    """Move a tensor's data to a file, which is not written."""
    length = len(numpy_helper.to_array(tensor).tobytes())
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


NOT_ARTIFACTS: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "nan weights": (with_nan_weights, r"its answers are no probabilities: \[nan, nan\]"),
    "answers above one": (with_answers_above_one, r"its answers are no probabilities: \[0.0, 784"),
    "input name": (with_another_input_name, r"its input must be image: .*, not x: tensor\(uint8\)"),
    "input type": (with_float_images, r"must be image: tensor\(uint8\) .*, not image: tensor\(fl"),
    "input shape": (with_flat_images, r"must be .* \[batch, 28, 28\], not .* \['n', 784\]"),
    "fixed batch": (with_a_fixed_batch, r"its input must take any number of rows, not 4"),
    "output name": (with_another_output_name, r"its output must be probability: .*, not y: tensor"),
    "two outputs": (with_two_outputs, r"its output must be probability: .*; logit: tensor"),
    "one answer": (with_one_answer_for_all, r"gave answers of shape \[1, 1\], not \[2, 1\]"),
    "custom domain": (with_a_custom_domain, r"operators of the custom domain 'com.microsoft'"),
    "operator": (with_an_unknown_operator, r"onnxruntime cannot load it: .*Oracle"),
    "no metadata": (without_metadata, r"it has no mnist_sgd metadata"),
    "another format": (with_another_format, r"its format is '9', this version reads '1'"),
}
"""Models that are no artifacts: how to build each, and what is said of it."""
