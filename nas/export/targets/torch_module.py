"""A network as the source of a torch module that needs nothing of hwnas."""

from nas.supernet.ops import torch_source
from nas.supernet.ops.reading import parameter_key
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Node
from search_spaces.lowering import has_integer_weights
from search_spaces.operators.causal_attention import CausalAttention
from search_spaces.operators.project import Project
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
    """Return integers times a scale, one for each row or for each group of a row."""
    groups = integers.reshape(*scale.shape, -1)
    return (groups * scale.double()[..., None]).reshape(integers.shape).float()


def quantize(x, scale, low, high):
    """Return x rounded to integers within bounds, times the scale."""
    rounded = (x / scale).round().clamp(low, high) * scale
    return x + (rounded - x).detach() if torch.is_grad_enabled() else rounded


{helpers}class Model(torch.nn.Module):
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


HELPERS: dict[type[Node], str] = {
    Project: '''\
def round_groups(x, group):
    """Return x rounded to 8 bits, with the scale of the greatest of each row and group."""
    groups = x.unflatten(-1, (-1, group))
    greatest = groups.detach().abs().amax(dim=-1, keepdim=True).clamp(min=1e-30)
    rounded = (groups * (127 / greatest)).round() * (greatest / 127)
    return (groups + (rounded - groups).detach()).flatten(-2)


''',
    CausalAttention: '''\
def attention(queries, keys, values, depth, base, *scales):
    """Return causal attention with rotary positions; heads of queries share those of keys and values.

    With two scales keys and values are rounded to 8 bits, as they are kept between tokens.
    """
    queries, keys, values = (x.unflatten(-1, (-1, depth)).transpose(1, 2) for x in (queries, keys, values))
    angles = torch.arange(queries.shape[2])[:, None] * base ** (-torch.arange(0, depth, 2) / depth)

    def rotated(x):
        first, second = x.chunk(2, dim=-1)
        return torch.cat(
            [first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], dim=-1
        )

    kept = [rotated(keys), values]
    if scales:
        kept = [quantize(x, scale, -128, 127) for x, scale in zip(kept, scales)]
    means = functional.scaled_dot_product_attention(rotated(queries), *kept, is_causal=True, enable_gqa=True)
    return means.transpose(1, 2).flatten(2)


''',
}
"""Functions of the module that some operators need."""


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
        helpers="".join(text for kind, text in HELPERS.items() if any(isinstance(node, kind) for node in graph.nodes)),
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
