"""Operators on tokens."""

import torch
from torch import Tensor
from torch.nn import functional

from nas.quantizers.groups import round_groups
from nas.supernet.ops.reading import ParameterSource, apply_operator, input_sources, own_source, torch_source
from search_spaces.operators.causal_attention import CausalAttention, rotary_tables
from search_spaces.operators.elementwise import SwiGlu
from search_spaces.operators.movement import LastToken
from search_spaces.operators.norm import RmsNorm
from search_spaces.operators.project import Project


@apply_operator.register
def _(node: Project, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    x = round_groups(inputs[0], node.precision.group) if node.precision.is_dynamic else inputs[0]
    return functional.linear(x, source.tensors(node)[0])


@torch_source.register
def _(node: Project) -> str:
    x = input_sources(node)[0]
    x = f"round_groups({x}, {node.precision.group})" if node.precision.is_dynamic else x
    return f"functional.linear({x}, {own_source(node, 'weight', node.tied_to)})"


@apply_operator.register
def _(node: RmsNorm, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return functional.rms_norm(inputs[0], (inputs[0].shape[-1],), source.tensors(node)[0], node.epsilon)


@torch_source.register
def _(node: RmsNorm) -> str:
    x = input_sources(node)[0]
    return f"functional.rms_norm({x}, ({node.shape[-1]},), {own_source(node, 'weight')}, {node.epsilon!r})"


@apply_operator.register
def _(node: CausalAttention, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    queries, keys, values = (x.float().reshape(*x.shape[:2], -1, node.depth).transpose(1, 2) for x in inputs)
    n = queries.shape[2]
    cosines, sines = (torch.from_numpy(table).to(queries) for table in rotary_tables(n, node.depth, node.base))
    queries, keys = (_rotated(x, cosines, sines) for x in (queries, keys))
    if node.inner:
        keys, values = (source.quantize(each, x) for each, x in zip(node.inner, (keys, values), strict=True))
    is_shared = node.heads != node.kv_heads
    with torch.autocast(queries.device.type, enabled=False):  # on CPUs several times slower in bfloat16
        means = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True, enable_gqa=is_shared)
    return means.transpose(1, 2).flatten(2)


@torch_source.register
def _(node: CausalAttention) -> str:
    scales = [own_source(node, spec.role) for spec in node.weights()]
    return f"attention({', '.join([*input_sources(node), str(node.depth), repr(node.base), *scales])})"


def _rotated(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosines - second * sines, second * cosines + first * sines], dim=-1)


@apply_operator.register
def _(node: SwiGlu, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return functional.silu(inputs[0]) * inputs[1]


@torch_source.register
def _(node: SwiGlu) -> str:
    gate, x = input_sources(node)
    return f"functional.silu({gate}) * {x}"


@apply_operator.register
def _(node: LastToken, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return inputs[0][:, -1:]


@torch_source.register
def _(node: LastToken) -> str:
    return f"{input_sources(node)[0]}[:, -1:]"
