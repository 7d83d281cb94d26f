"""A network as the source of a torch module that needs nothing of hwnas."""

from nas.supernet.ops import torch_source
from nas.supernet.ops.reading import parameter_key
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Node
from search_spaces.lowering import has_integer_weights
from search_spaces.operators.quantize import Quantize

SOURCE = '''\
"""A network found by hwnas: `load()(x)` gives {last} of raw {first}, float32 (n, {shape}).

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
        """Return {last}, shape (n, ...)."""
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
    forward = [f"t[{node.name!r}] = {torch_source(node)}" for node in graph.nodes if node.inputs]
    return SOURCE.format(
        shape=", ".join(map(str, graph.input_shape)),
        init="\n".join(f"        {line}" for line in init),
        first=graph.nodes[0].name,
        forward="\n".join(f"        {line}" for line in forward),
        last=graph.output.name,
    )


def _init(node: Node) -> list[str]:
    """Return the lines that take a node's tensors in."""
    if isinstance(node, Quantize):
        return [_line(f"{node.name}/{spec.role}", ".float()") for spec in node.weights()]
    lines = []
    for spec in (spec for spec in node.weights() if not (spec.folded or spec.shared_with)):
        name, scale = f"{node.name}/{spec.role}", f"tensors[{f'{node.name}/weight_scale'!r}]"
        if spec.init == "given":
            lines.append(_line(name, ".reshape(-1, 1, 1)"))
        elif not has_integer_weights(node):
            lines.append(f"self.w[{parameter_key(name)!r}] = tensors[{name!r}]")
        elif spec.quantized:
            lines.append(f"self.w[{parameter_key(name)!r}] = dequantize(tensors[{name!r}], {scale})")
        else:
            of_input = f"tensors[{f'{node.inputs[0]}/scale'!r}]"
            lines.append(f"self.w[{parameter_key(name)!r}] = dequantize(tensors[{name!r}], {of_input} * {scale}.double())")
    return lines


def _line(name: str, then: str) -> str:
    return f"self.s[{parameter_key(name)!r}] = tensors[{name!r}]{then}"
