"""The ONNX nodes of each layer that is translated without torch's exporter.

`TRANSLATIONS` maps exact classes to functions. Each computes what the layer does in evaluation mode
for float32 [B, ...], or refuses: settings that ONNX lacks are left to torch's exporter.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mnist_sgd.models.layers import SOFTENING, Edges, Histogram

if TYPE_CHECKING:
    import onnx

L = TypeVar("L", bound=nn.Module)

TO_THE_END = 2**63 - 1
"""The end of a slice that reaches to the end of its axis."""


class NotDirectError(Exception):
    """The model must be translated by torch's exporter."""


@dataclass
class NodeList:
    """Nodes and initializers of a graph under construction."""

    nodes: "list[onnx.NodeProto]" = field(default_factory=list)
    initializers: "list[onnx.TensorProto]" = field(default_factory=list)
    _weights: dict[int, str] = field(default_factory=dict)
    _fused: list[nn.Module] = field(default_factory=list)  # alive, as weights are known by id
    _constants: dict[tuple[str, tuple[int, ...], bytes], str] = field(default_factory=dict)

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Append a node with one output, and return the output's name."""
        import onnx

        name = output or f"value {len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(kind, inputs, [name], **attributes))
        return name

    def reshape(self, value: str, *shape: int) -> str:
        """Append a reshape; one of a reshape's result takes the place of both."""
        if self.nodes and self.nodes[-1].op_type == "Reshape" and self.nodes[-1].output[0] == value:
            value = self.nodes.pop().input[0]
        return self.add("Reshape", value, self.integers(-1, *shape))

    def used_initializers(self) -> "list[onnx.TensorProto]":
        """The initializers that a node takes."""
        used = {name for node in self.nodes for name in node.input}
        return [tensor for tensor in self.initializers if tensor.name in used]

    def number(self, value: float) -> str:
        """Return the name of a float32 scalar."""
        return self.constant(np.array(value, np.float32))

    def integers(self, *values: int) -> str:
        """Return the name of an int64 vector."""
        return self.constant(np.array(values, np.int64))

    def constant(self, array: NDArray[Any]) -> str:
        """Return the name of a constant; equal ones are stored once."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = name = f"constant {len(self._constants)}"
            self._store(array, name)
        return self._constants[key]

    def weight(self, tensor: Tensor, name: str) -> str:
        """Return the name of a weight: `name`, or that of its first use if layers share it."""
        if type(tensor) not in (Tensor, nn.Parameter) or tensor.dtype != torch.float32:
            raise NotDirectError
        if id(tensor) not in self._weights:
            self._weights[id(tensor)] = name
            self._store(tensor.detach().contiguous().numpy(), name)
        return self._weights[id(tensor)]

    def fuse(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
        """Return the convolution that does what both do, one after the other."""
        fused = fuse_conv_bn_eval(convolution, norm)
        self._fused.append(fused)
        return fused

    def _store(self, array: NDArray[Any], name: str) -> None:
        import onnx

        self.initializers.append(onnx.numpy_helper.from_array(array, name))


@dataclass(frozen=True)
class Call(Generic[L]):
    """One call of a layer.

    Attributes:
        layer: the layer.
        place: its name in the classifier.
        value: the name of its input.
        input: the shape of an example of its input.
        output: the shape of its output for this example.
    """

    layer: L
    place: str
    value: str
    input: tuple[int, ...]
    output: tuple[int, ...]

    def weight(self, name: str, nodes: NodeList) -> str:
        """Return the name of the layer's own weight or buffer."""
        layer = self.layer
        tensor = layer._parameters.get(name, layer._buffers.get(name))
        if tensor is None:
            raise NotDirectError
        return nodes.weight(tensor, f"{self.place}.{name}")


Translation = Callable[[Call[Any], NodeList], str]


def need(condition: bool) -> None:
    """Leave the model to torch's exporter unless the condition holds."""
    if not condition:
        raise NotDirectError


# --- linear layers, convolutions, normalisation


def _linear(call: Call[nn.Linear], nodes: NodeList) -> str:
    """Like `onnx_file.dot_product` for one output, else a matrix product."""
    weight = call.weight("weight", nodes)
    bias = [] if call.layer.bias is None else [call.weight("bias", nodes)]
    if call.layer.out_features != 1 and len(call.input) == 2:
        return nodes.add("Gemm", call.value, weight, *bias, transB=1)
    if call.layer.out_features == 1:
        product = nodes.add("Mul", call.value, weight)
        result = nodes.add("ReduceSum", product, nodes.integers(-1), keepdims=1)
    else:
        result = nodes.add("MatMul", call.value, nodes.add("Transpose", weight, perm=[1, 0]))
    return nodes.add("Add", result, *bias) if bias else result


def _conv2d(call: Call[nn.Conv2d], nodes: NodeList) -> str:
    layer = call.layer
    need(len(call.input) == 4 and layer.padding_mode == "zeros")
    if layer.padding == "same":
        totals = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        pads = [total // 2 for total in totals] + [total - total // 2 for total in totals]
    else:
        pads = [0] * 4 if isinstance(layer.padding, str) else _pair(layer.padding) * 2
    bias = [] if layer.bias is None else [call.weight("bias", nodes)]
    return nodes.add(
        "Conv",
        call.value,
        call.weight("weight", nodes),
        *bias,
        dilations=_pair(layer.dilation),
        group=layer.groups,
        kernel_shape=_pair(layer.kernel_size),
        pads=pads,
        strides=_pair(layer.stride),
    )


def _batch_norm(call: Call[nn.BatchNorm1d | nn.BatchNorm2d], nodes: NodeList) -> str:
    size = call.layer.num_features
    if call.layer.affine:
        scale = [call.weight("weight", nodes), call.weight("bias", nodes)]
    else:
        scale = [nodes.constant(np.full(size, value, np.float32)) for value in (1, 0)]
    statistics = [call.weight(name, nodes) for name in ("running_mean", "running_var")]
    return nodes.add("BatchNormalization", call.value, *scale, *statistics, epsilon=call.layer.eps)


def _layer_norm(call: Call[nn.LayerNorm], nodes: NodeList) -> str:
    layer = call.layer
    shape = tuple(layer.normalized_shape)
    need(len(shape) < len(call.input))  # else the batch is normalised, too
    scale = (
        nodes.constant(np.ones(shape, np.float32))
        if layer.weight is None
        else call.weight("weight", nodes)
    )
    bias = [] if layer.bias is None else [call.weight("bias", nodes)]
    return nodes.add(
        "LayerNormalization", call.value, scale, *bias, axis=-len(shape), epsilon=layer.eps
    )


# --- pooling and shapes


def _max_pool(call: Call[nn.MaxPool2d], nodes: NodeList) -> str:
    layer = call.layer
    need(len(call.input) == 4 and not layer.ceil_mode and not layer.return_indices)
    dilations = _pair(layer.dilation)
    return nodes.add("MaxPool", call.value, dilations=dilations, **_window(layer))


def _avg_pool(call: Call[nn.AvgPool2d], nodes: NodeList) -> str:
    layer = call.layer
    need(len(call.input) == 4 and not layer.ceil_mode and layer.divisor_override is None)
    padded = int(layer.count_include_pad)
    return nodes.add("AveragePool", call.value, count_include_pad=padded, **_window(layer))


def _window(layer: nn.MaxPool2d | nn.AvgPool2d) -> dict[str, Any]:
    """The window of a pooling as ONNX's attributes."""
    return {
        "kernel_shape": _pair(layer.kernel_size),
        "pads": _pair(layer.padding) * 2,
        "strides": _pair(layer.stride),
    }


def _pair(setting: Any) -> list[int]:
    """A setting for both axes, which may be given as one number."""
    values = [setting] * 2 if isinstance(setting, int) else list(setting)
    need(len(values) == 2)
    return values


def _global_pool(kind: str) -> Translation:
    def translate(call: Call[nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d], nodes: NodeList) -> str:
        need(len(call.input) == 4 and call.layer.output_size in (1, (1, 1), [1, 1]))
        need(not getattr(call.layer, "return_indices", False))
        return nodes.add(kind, call.value)

    return translate


def _flatten(call: Call[nn.Flatten], nodes: NodeList) -> str:
    need(call.layer.start_dim % len(call.input) > 0)
    return _reshaped(call, nodes)


def _unflatten(call: Call[nn.Unflatten], nodes: NodeList) -> str:
    need(isinstance(call.layer.dim, int) and call.layer.dim % len(call.input) > 0)
    return _reshaped(call, nodes)


def _reshaped(call: Call[Any], nodes: NodeList) -> str:
    return nodes.reshape(call.value, *call.output[1:])


def _unchanged(call: Call[Any], nodes: NodeList) -> str:
    return call.value


# --- activations


def _activation(kind: str, **settings: str) -> Translation:
    """Translate to one node; `settings` maps its attributes to the layer's."""

    def translate(call: Call[Any], nodes: NodeList) -> str:
        attributes: dict[str, Any] = {
            name: float(getattr(call.layer, own)) for name, own in settings.items()
        }
        return nodes.add(kind, call.value, **attributes)

    return translate


def _gelu(call: Call[nn.GELU], nodes: NodeList) -> str:
    """Compute x/2 (1 + erf(x/√2)), or its approximation; opset 18 has no node for either."""
    x = call.value
    if call.layer.approximate == "none":
        inner = nodes.add("Erf", nodes.add("Div", x, nodes.number(math.sqrt(2))))
    else:
        cube = nodes.add("Mul", nodes.add("Mul", x, x), x)
        bent = nodes.add("Add", x, nodes.add("Mul", cube, nodes.number(0.044715)))
        inner = nodes.add("Tanh", nodes.add("Mul", bent, nodes.number(math.sqrt(2 / math.pi))))
    gate = nodes.add("Add", inner, nodes.number(1))
    return nodes.add("Mul", nodes.add("Mul", x, gate), nodes.number(0.5))


def _silu(call: Call[nn.SiLU], nodes: NodeList) -> str:
    return nodes.add("Mul", call.value, nodes.add("Sigmoid", call.value))


def _hardtanh(call: Call[nn.Hardtanh], nodes: NodeList) -> str:
    bounds = [nodes.number(bound) for bound in (call.layer.min_val, call.layer.max_val)]
    return nodes.add("Clip", call.value, *bounds)


def _softplus(call: Call[nn.Softplus], nodes: NodeList) -> str:
    need(call.layer.beta == 1 and call.layer.threshold >= 20)  # above, both are x in float32
    return nodes.add("Softplus", call.value)


# --- the project's own layers


def _edges(call: Call[Edges], nodes: NodeList) -> str:
    need(len(call.input) == 4)
    roots = []
    for axis in (3, 2):
        end, one = nodes.integers(TO_THE_END), nodes.integers(1)
        zero, last = nodes.integers(0), nodes.integers(-1)
        later = nodes.add("Slice", call.value, one, end, nodes.integers(axis))
        earlier = nodes.add("Slice", call.value, zero, last, nodes.integers(axis))
        pads = [0] * 8
        pads[4 + axis] = 1
        steps = nodes.add("Pad", nodes.add("Sub", later, earlier), nodes.integers(*pads))
        roots.append(_root(nodes.add("Abs", steps), nodes))
    return nodes.add("Concat", call.value, *roots, axis=1)


def _histogram(call: Call[Histogram], nodes: NodeList) -> str:
    need(len(call.input) == 4)
    bins = call.layer.bins
    zeros, ends = nodes.integers(0, 0), nodes.integers(TO_THE_END, TO_THE_END)
    some = nodes.add("Slice", call.value, zeros, ends, nodes.integers(2, 3), nodes.integers(2, 2))
    scaled = nodes.add("Mul", some, nodes.number(bins - 1))
    steps = nodes.add("Sub", scaled, call.weight("below", nodes))
    clipped = nodes.add("Clip", steps, nodes.number(0), nodes.number(1))
    above = nodes.add("ReduceMean", clipped, nodes.integers(2, 3), keepdims=0)
    from_here = nodes.add("Pad", above, nodes.integers(0, 1, 0, 0), nodes.number(1))
    from_next = nodes.add("Pad", above, nodes.integers(0, 0, 0, 1), nodes.number(0))
    fractions = nodes.add("Sub", from_here, from_next)
    return _root(nodes.add("Mul", fractions, nodes.number(bins)), nodes)


def _root(value: str, nodes: NodeList) -> str:
    return nodes.add("Sqrt", nodes.add("Add", value, nodes.number(SOFTENING)))


TRANSLATIONS: dict[type[nn.Module], Translation] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv2d,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.LayerNorm: _layer_norm,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _avg_pool,
    nn.AdaptiveAvgPool2d: _global_pool("GlobalAveragePool"),
    nn.AdaptiveMaxPool2d: _global_pool("GlobalMaxPool"),
    nn.Flatten: _flatten,
    nn.Unflatten: _unflatten,
    **dict.fromkeys((nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d), _unchanged),
    **dict.fromkeys((nn.AlphaDropout, nn.FeatureAlphaDropout), _unchanged),
    nn.ReLU: _activation("Relu"),
    nn.Sigmoid: _activation("Sigmoid"),
    nn.Tanh: _activation("Tanh"),
    nn.LeakyReLU: _activation("LeakyRelu", alpha="negative_slope"),
    nn.ELU: _activation("Elu", alpha="alpha"),
    nn.GELU: _gelu,
    nn.SiLU: _silu,
    nn.Hardtanh: _hardtanh,
    nn.ReLU6: _hardtanh,
    nn.Softplus: _softplus,
    Edges: _edges,
    Histogram: _histogram,
}
"""By exact class: the name of the output of the nodes that a call appends."""
