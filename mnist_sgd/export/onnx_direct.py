"""Translate models of common layers to ONNX without torch's exporter, which takes seconds.

A model is translated if it is a layer of `onnx_layers.TRANSLATIONS`, or an `nn.Sequential` or a
`Sum` of such models. Whatever could make a layer compute something else than its class does, such
as a subclass, a hook or another `forward`, leaves the whole model to torch's exporter.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from mnist_sgd.export.graph import Classifier, example_batch
from mnist_sgd.export.onnx_layers import TRANSLATIONS, Call, NodeList, NotDirectError
from mnist_sgd.models.layers import Sum

if TYPE_CHECKING:
    import onnx


def direct_graph(classifier: Classifier) -> "onnx.GraphProto | None":
    """Translate a classifier, or return None if torch's exporter must do it.

    The graph maps the value "image" to the value "probability". Its weights have their names in the
    classifier's `state_dict`.
    """
    import onnx

    nodes = NodeList()
    try:
        with torch.inference_mode():
            _translate_classifier(classifier, nodes)
    except NotDirectError:
        return None
    return onnx.helper.make_graph(nodes.nodes, "direct", [], [], nodes.used_initializers())


def _translate_classifier(classifier: Classifier, nodes: NodeList) -> None:
    """Append the nodes of the normalisation, the model and the sigmoid."""
    import onnx

    _check_plain(classifier)
    if type(classifier) is not Classifier or classifier.dtype != torch.float32:
        raise NotDirectError
    value = nodes.add("Cast", "image", to=onnx.TensorProto.FLOAT)
    value = nodes.add("Div", value, nodes.number(255))
    if (classifier.mean, classifier.std) != (0.0, 1.0):
        value = nodes.add("Sub", value, nodes.number(classifier.mean))
        value = nodes.add("Div", value, nodes.number(classifier.std))
    value = nodes.reshape(value, *classifier.input_shape)
    pixels = classifier.pixels(example_batch())
    value, _ = _translate(classifier.model, "model", value, pixels, nodes)
    nodes.add("Sigmoid", value, output="probability")


def _translate(
    module: nn.Module | None, place: str, value: str, x: Tensor, nodes: NodeList
) -> tuple[str, Tensor]:
    """Append a module's nodes.

    Args:
        module: any.
        place: its name in the classifier.
        value: the name of its input.
        x: an example of its input, whose shape the translation needs.
        nodes: are appended to.

    Returns:
        The name of its output, and an example of it.

    Raises:
        NotDirectError: torch's exporter must translate the model.
    """
    if module is None:
        raise NotDirectError
    _check_plain(module)
    if type(module) is nn.Sequential:
        for name, child in _fused(module, nodes):
            value, x = _translate(child, f"{place}.{name}", value, x, nodes)
        return value, x
    if type(module) is Sum:
        return _translate_sum(module, place, value, x, nodes)
    translation = TRANSLATIONS.get(type(module))
    if translation is None:
        raise NotDirectError
    result = module(x)
    if result.dtype != torch.float32 or result.shape[:1] != x.shape[:1]:
        raise NotDirectError
    call: Call[Any] = Call(module, place, value, tuple(x.shape), tuple(result.shape))
    return translation(call, nodes), result


def _fused(module: nn.Sequential, nodes: NodeList) -> Iterator[tuple[str, nn.Module | None]]:
    """The children of a module, by name, with each batch norm inside the convolution before it."""
    children, is_done = [*module._modules.items()], False
    for number, (name, child) in enumerate(children, 1):
        if is_done:
            is_done = False
            continue
        following = children[number][1] if number < len(children) else None
        if isinstance(child, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
            is_done = _can_fuse(child, following)
            child = nodes.fuse(child, following) if is_done else child
        yield name, child


def _can_fuse(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> bool:
    """Whether both do nothing but their classes' work, in float32."""
    if type(convolution) is not nn.Conv2d or type(norm) is not nn.BatchNorm2d:
        return False
    for each in (convolution, norm):
        _check_plain(each)
    tensors = [*convolution.parameters(), *norm.parameters(), norm.running_mean, norm.running_var]
    return (
        all(
            type(one) in (Tensor, nn.Parameter) and one.dtype == torch.float32
            for one in tensors
            if one is not None
        )
        and norm.running_mean is not None
    )


def _translate_sum(
    module: Sum, place: str, value: str, x: Tensor, nodes: NodeList
) -> tuple[str, Tensor]:
    if len(module) == 0 or any(getattr(each, "inplace", False) for each in module.modules()):
        raise NotDirectError  # a layer that works in place changes the other branches' input
    results = [
        _translate(child, f"{place}.{name}", value, x, nodes)
        for name, child in module._modules.items()
    ]
    total, example = results[0]
    for name, other in results[1:]:
        if other.shape != example.shape:
            raise NotDirectError
        total = nodes.add("Add", total, name)
    return total, example


def _check_plain(module: nn.Module) -> None:
    """Check that calling a module runs its class's code, in evaluation mode, and nothing else.

    Raises:
        NotDirectError: it may not.
    """
    hooks = (
        *(module._forward_hooks, module._forward_pre_hooks),
        *(torch_module._global_forward_hooks, torch_module._global_forward_pre_hooks),
    )
    methods = {name for name in vars(module) if callable(getattr(type(module), name, None))}
    if any(hooks) or methods or module.training:
        raise NotDirectError
