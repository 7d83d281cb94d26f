"""Shared weights: which tensors a space has, how they begin, and how the slice of a subnet is cut out of them."""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from search_spaces.graph.node import Node, WeightSpec
from search_spaces.operators.quantize import quantizers
from search_spaces.precision.formats import FLOAT32, INT8, NumberFormat
from search_spaces.precision.granularity import Granularity
from search_spaces.precision.placement import place_quantizers
from search_spaces.space.assembly import block_inputs
from search_spaces.space.space import SearchSpace


class Inventory(NamedTuple):
    """Everything to learn in a space: the largest of each tensor by `NODE/ROLE`, scales and multipliers."""

    specs: dict[str, WeightSpec]
    scales: list[tuple[str, NumberFormat]]
    multipliers: list[tuple[str, NumberFormat, Granularity]]


def take_inventory(space: SearchSpace) -> Inventory:
    """Return everything to learn in a space, in the order of its blocks."""
    specs: dict[str, dict[str, WeightSpec]] = {}
    scales: dict[tuple[str, NumberFormat], None] = {}
    multipliers: dict[tuple[str, NumberFormat, Granularity], None] = {}
    for block in space.distinct_blocks():
        n_inputs = len(block_inputs(block))
        for node in (node for source in (FLOAT32, INT8) for node in place_quantizers(block, [source] * n_inputs)):
            scales |= {(each.name, each.format): None for each in quantizers([node]) if not each.shares}
            if any(spec.quantized for spec in node.weights()) and not node.precision.is_float32:
                multipliers[weight_owner(node), node.precision.weights, node.precision.granularity] = None
            for spec in (spec for spec in node.weights() if spec.init != "given" and not spec.shared_with):
                own = specs.setdefault(node.name, {})
                known = own.get(spec.role, spec).shape
                own[spec.role] = replace(spec, shape=tuple(map(max, known, spec.shape)))
    named = {f"{name}/{role}": spec for name, own in specs.items() for role, spec in own.items()}
    return Inventory(named, list(scales), list(multipliers))


def initial_tensor(spec: WeightSpec, generator: torch.Generator) -> Tensor:
    """Return a new tensor to be trained."""
    if spec.init == "normal":
        return torch.randn(spec.shape, generator=generator) * math.sqrt(2 / math.prod(spec.shape[1:]))
    return torch.ones(spec.shape) if spec.init == "ones" else torch.zeros(spec.shape)


def weight_owner(node: Node) -> str:
    """Return the name of the operator that holds the quantized weight of a node: its own, or the one it is tied to."""
    return next((spec.shared_with for spec in node.spec_of.values() if spec.quantized and spec.shared_with), node.name)


def slice_of(shared: nn.ParameterDict, node: Node, role: str) -> Tensor:
    """Return a tensor of a node, cut out of the shared one: the first of each axis, the centre of a kernel.

    Args:
        shared: Largest tensors by `NODE/ROLE`.
        node: The operator.
        role: Of one of its weights; a tied one is cut out of its owner's.
    """
    spec = node.spec_of[role]
    return cut(shared[f"{spec.shared_with or node.name}/{role}"], spec)


def cut(tensor: Tensor, spec: WeightSpec) -> Tensor:
    """Return the part of a tensor that has the shape of a weight: the first of each axis, the centre of a kernel."""
    for axis, (kind, length) in enumerate(zip(spec.axes, spec.shape, strict=True)):
        if (cut_off := tensor.shape[axis] - length) > 0:
            tensor = tensor.narrow(axis, cut_off // 2 if kind == "kernel" else 0, length)
    return tensor
