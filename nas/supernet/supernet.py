"""Supernet: shared weights for every network of a space; runs any graph of it.

Elastic width takes the first channels, elastic kernel the centre of the largest one, elastic depth the first blocks. A
number format is elastic too: weights are rounded when used, at a scale recomputed from the active slice.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.quantizers.integers import ChooseScale, FakeQuantize, FakeQuantizeAny, choose_scale, fake_quantize
from nas.supernet.executor import execute
from nas.supernet.experts import Experts, check_experts
from nas.supernet.groups import KnownGroups
from nas.supernet.layers import SharedLayers
from nas.supernet.weights import initial_tensor, slice_of, take_inventory
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Node
from search_spaces.operators.conv import Conv
from search_spaces.space.space import SearchSpace


class Supernet(nn.Module):
    """The shared weights of a space.

    Args:
        space: Its blocks say which weights there are, and how large at most.
        generator: Source of the initial weights; None takes a new one with seed 0.
        experts: Tensors from which each weight is mixed beside the shared one; 0: none, see `Experts`.

    Attributes:
        fake_quantize: Rounds activations; `nas.quantizers.compiled` has a faster one, `nas.quantizers.noise` another one.
        fake_quantize_rows: Rounds weights, and activations that have a zero point.
        choose_scale: Chooses scales, of weights anew for every slice; also there.
        groups: Weights in groups that were rounded already.
    """

    scale_is_set: Tensor
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, space: SearchSpace, generator: torch.Generator | None = None, *, experts: int = 0) -> None:
        super().__init__()
        generator = generator or torch.Generator().manual_seed(0)
        self.space = space
        self.fake_quantize: FakeQuantize = fake_quantize
        self.fake_quantize_rows: FakeQuantizeAny = fake_quantize
        self.choose_scale: ChooseScale = choose_scale
        self.groups = KnownGroups(self)
        specs, scales, multipliers = take_inventory(space)
        self.shared = nn.ParameterDict()
        for name, spec in specs.items():
            self.shared[name] = nn.Parameter(initial_tensor(spec, generator))
        if experts:
            check_experts(space)
        self.experts = Experts(specs, experts, generator) if experts else None
        self.scale_index = {key: i for i, key in enumerate(scales)}
        self.multiplier_index = {key: i for i, key in enumerate(multipliers)}
        self.log_scales = nn.Parameter(torch.zeros(len(scales)))
        self.log_multipliers = nn.Parameter(torch.zeros(len(multipliers)))
        if any(number_format.asymmetric for _, number_format in scales):
            self.zero_shares = nn.Parameter(torch.full((len(scales),), 0.5))  # zero points over the greatest integer
        self.register_buffer("scale_is_set", torch.zeros(len(scales), dtype=torch.bool))
        self.register_buffer("pixel_mean", torch.zeros(1))
        self.register_buffer("pixel_std", torch.ones(1))

    @property
    def device(self) -> torch.device:
        """The device that holds the weights."""
        return self.log_scales.device

    def set_input_statistics(self, mean: NDArray[np.float32], std: NDArray[np.float32]) -> None:
        """Store mean and standard deviation of raw inputs, each of shape `(channels,)`."""
        self.pixel_mean, self.pixel_std = (torch.tensor(values, device=self.device) for values in (mean, std))

    def forward(self, inputs: Tensor, graph: Graph) -> Tensor:
        """Run one network of the space, its batch norms on the statistics of this batch, as in training.

        Args:
            inputs: Shape `(n, *graph.input_shape)`, raw.
            graph: Of this space.

        Returns:
            Shape `(n, *graph.output.shape)`.
        """
        return execute(graph, inputs, SharedLayers(self))

    # ------------------------------------------------------------------ the active slice

    def weight(self, node: Node) -> Tensor:
        """Return the weight of a node, see `slice_of`, with what its experts add."""
        weight = slice_of(self.shared, node, "weight")
        return weight + self.experts(node) if self.experts is not None and node.spec_of["weight"].quantized else weight

    def bias(self, node: Node) -> Tensor:
        """Return the bias (of a `Conv`: that of its batch norm), shape `(out,)`."""
        return slice_of(self.shared, node, "bias")

    def gamma(self, node: Conv) -> Tensor:
        """Return the factor of the batch norm, shape `(out,)`."""
        return slice_of(self.shared, node, "gamma")
