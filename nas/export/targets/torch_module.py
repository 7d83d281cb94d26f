"""A network as the source of a torch module that needs nothing of hwnas."""

from functools import singledispatch

from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Node
from search_spaces.operators.attention import AttentionScores, AttentionValues, Softmax
from search_spaces.operators.conv import Conv
from search_spaces.operators.elementwise import Add, HardSigmoid, HardSwish, Multiply, Relu
from search_spaces.operators.ends import Output
from search_spaces.operators.linear import Linear
from search_spaces.operators.norm import Normalize
from search_spaces.operators.pool import GlobalAveragePool
from search_spaces.operators.quantize import Quantize
from search_spaces.operators.resize import Resize

SOURCE = '''\
"""A network found by hwnas: `load()(images)` gives logits of raw pixels, float32 (n, {shape}).

Integer weights lie as such in model.safetensors; here everything computes in float32 on the same values. The weights are
parameters, and gradients pass through the roundings: it can be trained on.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn import functional


def load(file=Path(__file__).with_name("model.safetensors")):
    """Return the module with its weights."""
    return Model(load_file(file)).eval()


def dequantize(integers, scale):
    """Return integers times a scale, one for each row."""
    return (integers * scale.double().reshape(-1, *[1] * (integers.ndim - 1))).float()


def quantize(x, scale, low, high):
    """Return x rounded to integers within bounds, times the scale."""
    rounded = (x / scale).round().clamp(low, high) * scale
    return x + (rounded - x).detach() if torch.is_grad_enabled() else rounded


class Model(torch.nn.Module):
    """The network; `tensors` as they lie in model.safetensors."""

    def __init__(self, tensors):
        super().__init__()
        self.w = torch.nn.ParameterDict()
        self.s = torch.nn.ParameterDict()
{init}
        self.s.requires_grad_(False)

    def forward(self, x):
        """Return logits, shape (n, classes)."""
        w, s, t = self.w, self.s, {{}}
        t[{first!r}] = x
{forward}
        return t[{last!r}]
'''


def module_source(graph: Graph) -> str:
    """Return Python source of a module that computes a network.

    Args:
        graph: A whole network with its quantizers; without minifloats.
    """
    init = [line for node in graph.nodes for line in _init(node)]
    forward = [f"t[{node.name!r}] = {_expression(node)}" for node in graph.nodes[1:]]
    return SOURCE.format(
        shape=", ".join(map(str, graph.input_shape)),
        init="\n".join(f"        {line}" for line in init),
        first=graph.nodes[0].name,
        forward="\n".join(f"        {line}" for line in forward),
        last=graph.output.name,
    )


def _init(node: Node) -> list[str]:
    """Return the lines that take a node's tensors in."""
    name = node.name
    if isinstance(node, Normalize):
        keys = [f"{name}/{part}" for part in ("mean", "std")]
        return [f"self.s[{_key(key)!r}] = tensors[{key!r}].reshape(-1, 1, 1)" for key in keys]
    if isinstance(node, Quantize):
        parts = ["scale", "zero_point"] if node.format.asymmetric else ["scale"]
        return [f"self.s[{_key(f'{name}/{part}')!r}] = tensors[{f'{name}/{part}'!r}].float()" for part in parts]
    if not isinstance(node, Conv | Linear):
        return []
    weight, bias = f"{name}/weight", f"{name}/bias"
    if node.precision.is_float32:
        return [f"self.w[{_key(key)!r}] = tensors[{key!r}]" for key in (weight, bias)]
    scale = f"tensors[{f'{name}/weight_scale'!r}]"
    of_input = f"tensors[{f'{node.inputs[0]}/scale'!r}]"
    return [
        f"self.w[{_key(weight)!r}] = dequantize(tensors[{weight!r}], {scale})",
        f"self.w[{_key(bias)!r}] = dequantize(tensors[{bias!r}], {of_input} * {scale}.double())",
    ]


def _key(name: str) -> str:
    """Return a name that a `ParameterDict` takes, another one for each name."""
    return name.replace("_", "__").replace(".", "_dot_")


@singledispatch
def _expression(node: Node) -> str:
    """Return the Python expression of a node's tensor."""
    raise TypeError(f"no torch source for {type(node).__name__}")


def _inputs(node: Node) -> list[str]:
    return [f"t[{name!r}]" for name in node.inputs]


def _weights(node: Node) -> str:
    return ", ".join(f"w[{_key(f'{node.name}/{part}')!r}]" for part in ("weight", "bias"))


@_expression.register
def _(node: Normalize) -> str:
    mean, std = (f"s[{_key(f'{node.name}/{part}')!r}]" for part in ("mean", "std"))
    return f"({_inputs(node)[0]} - {mean}) / {std}"


@_expression.register
def _(node: Conv) -> str:
    settings = f"stride={node.stride}, padding={node.kernel // 2}, groups={node.groups}"
    return f"functional.conv2d({_inputs(node)[0]}, {_weights(node)}, {settings})"


@_expression.register
def _(node: Linear) -> str:
    return f"functional.linear({_inputs(node)[0]}.flatten(1), {_weights(node)})"


@_expression.register
def _(node: Quantize) -> str:
    scale = f"s[{_key(f'{node.name}/scale')!r}]"
    low, high = str(node.format.qmin), str(node.format.qmax)
    if node.format.asymmetric:
        zero = f"s[{_key(f'{node.name}/zero_point')!r}]"
        low, high = f"-{zero}", f"{node.format.n_levels - 1} - {zero}"
    return f"quantize({_inputs(node)[0]}, {scale}, {low}, {high})"


@_expression.register
def _(node: Relu) -> str:
    return f"{_inputs(node)[0]}.relu()"


@_expression.register
def _(node: HardSwish) -> str:
    return f"functional.hardswish({_inputs(node)[0]})"


@_expression.register
def _(node: HardSigmoid) -> str:
    return f"functional.hardsigmoid({_inputs(node)[0]})"


@_expression.register
def _(node: Add) -> str:
    return " + ".join(_inputs(node))


@_expression.register
def _(node: Multiply) -> str:
    return " * ".join(_inputs(node))


@_expression.register
def _(node: GlobalAveragePool) -> str:
    return f"{_inputs(node)[0]}.mean(dim=(2, 3), keepdim=True)"


@_expression.register
def _(node: AttentionScores) -> str:
    queries, keys = (f"{x}.unflatten(1, ({node.shape[0]}, {node.depth})).flatten(3)" for x in _inputs(node))
    return f"{queries}.mT @ {keys}"


@_expression.register
def _(node: Softmax) -> str:
    return f"({_inputs(node)[0]} * {node.factor!r}).softmax(dim=-1)"


@_expression.register
def _(node: AttentionValues) -> str:
    weights, values = _inputs(node)
    heads = f"{weights}.shape[1]"
    return f"({values}.unflatten(1, ({heads}, -1)).flatten(3) @ {weights}.mT).reshape({values}.shape)"


@_expression.register
def _(node: Resize) -> str:
    return f"functional.interpolate({_inputs(node)[0]}, {node.shape[1:]!r}, mode='bilinear')"


@_expression.register
def _(node: Output) -> str:
    return _inputs(node)[0]
