"""Scales: of weights chosen anew for each slice times a learned multiplier, of activations learned."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nas.events import distributed
from nas.quantizers.groups import choose_group_scale, fake_quantize_groups
from nas.quantizers.integers import choose_scale_and_zero_point, round_ste, scale_gradient
from nas.quantizers.minifloats import choose_minifloat_scale, fake_quantize_minifloat
from nas.supernet.folding import per_row
from nas.supernet.weights import weight_owner
from search_spaces.graph.node import Node
from search_spaces.operators.quantize import Quantize
from search_spaces.precision.formats import NumberFormat

if TYPE_CHECKING:
    from nas.supernet.supernet import Supernet

N_SAMPLES_OF_INITIAL_SCALE = 16
N_VALUES_OF_INITIAL_SCALE = 200_000


def weight_scale(supernet: "Supernet", node: Node, weight: Tensor) -> Tensor:
    """Return the scale of a weight, shape `(out,)` or `(out, in / group)`: the best for this slice times a learned factor.

    The scale of a group does not depend on the slice: its integers are those of every network that has it.
    """
    scheme = node.precision
    number_format = scheme.weights
    index = supernet.multiplier_index[weight_owner(node), number_format, scheme.granularity]
    if scheme.is_grouped:
        scale = choose_group_scale(weight, scheme.group, number_format.qmax, supernet.choose_scale)
        dampening = 1 / math.sqrt(weight.numel() * number_format.max_value)
        return scale * scale_gradient(supernet.log_multipliers[index].exp(), dampening)
    rows = weight.flatten(1) if scheme.per_channel else weight.reshape(1, -1)
    scale = _best_scale(supernet, rows, number_format)
    dampening = 1 / math.sqrt(weight.numel() * number_format.max_value)
    return (scale * scale_gradient(supernet.log_multipliers[index].exp(), dampening)).expand(len(weight))


def rounded(supernet: "Supernet", node: Node, weight: Tensor) -> Tensor:
    """Return a weight fake-quantized in the format of its block; one that is not quantized as it is."""
    number_format = node.precision.weights
    if number_format.is_float32 or not node.spec_of["weight"].quantized:
        return weight
    if node.precision.is_grouped:
        return fake_quantize_groups(weight, weight_scale(supernet, node, weight), number_format.qmax)
    scale = per_row(weight_scale(supernet, node, weight), weight)
    if number_format.is_minifloat:
        return fake_quantize_minifloat(weight, scale, number_format)
    return supernet.fake_quantize_rows(weight, scale, -number_format.qmax, number_format.qmax)


def activation_scale(
    supernet: "Supernet", node: Quantize, values: Tensor, *, remember: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the learned scale of an activation and, if it is asymmetric, its zero point, both of shape `()`.

    What was never used before is taken from `values`.

    Args:
        supernet: Owner of the scales.
        node: The quantizer.
        values: What it is about to quantize, shape `(n, ...)`.
        remember: Whether a new scale is stored, to be learned from there.
    """
    index = supernet.scale_index[node.name, node.format]
    if not supernet.scale_is_set[index]:
        first = _initial_scale(supernet, node, values.detach()[:N_SAMPLES_OF_INITIAL_SCALE])
        first = distributed.all_reduce(first) / distributed.world_size()
        if not remember:
            return first[0], first[1].round() if node.format.asymmetric else None
        with torch.no_grad():
            supernet.log_scales[index] = first[0].log()
            supernet.scale_is_set[index] = True
            if node.format.asymmetric:
                supernet.zero_shares[index] = first[1] / (node.format.n_levels - 1)
    dampening = 1 / math.sqrt(values[0].numel() * node.format.max_value)
    scale = scale_gradient(supernet.log_scales[index].exp(), dampening)
    if not node.format.asymmetric:
        return scale, None
    zero_point = scale_gradient(supernet.zero_shares[index], dampening) * (node.format.n_levels - 1)
    return scale, round_ste(zero_point, 0, node.format.n_levels - 1)


def _initial_scale(supernet: "Supernet", node: Quantize, values: Tensor) -> Tensor:
    """Return the best scale and zero point for some values, or evenly taken ones where they are many; shape `(2,)`."""
    values = values.flatten()[:: 1 + values.numel() // N_VALUES_OF_INITIAL_SCALE]
    if node.format.asymmetric:
        return torch.stack(choose_scale_and_zero_point(values, node.format.n_levels - 1))
    rows = values[None] if node.format.signed else values[None].relu()
    scale = _best_scale(supernet, rows, node.format)
    return torch.cat([scale, torch.zeros_like(scale)])


def _best_scale(supernet: "Supernet", rows: Tensor, number_format: NumberFormat) -> Tensor:
    """Return a scale for each row of shape `(rows, n)`."""
    if number_format.is_minifloat:
        return choose_minifloat_scale(rows, number_format)
    return supernet.choose_scale(rows, number_format.qmax)
