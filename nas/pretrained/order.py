"""The order in which smaller networks of a model leave out layers: first those that change least of what passes them."""

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from nas.pretrained.llama import Llama
from nas.pretrained.supernet import load_weights
from nas.supernet.layers import SharedLayers
from nas.supernet.supernet import Supernet
from nas.supernet.walk import walk
from search_spaces.operators.elementwise import Residual
from search_spaces.space.baselines import uniform_genome


@torch.no_grad()
def order_of_influence(model: Llama, windows: Tensor) -> tuple[int, ...]:
    """Return the layers between the first and the last, from 1, that of the least influence first.

    A layer's influence is one minus the mean cosine between what comes in and what goes out.

    Args:
        model: The model; all of it is computed in float32.
        windows: Tokens, shape `(n, context)`.

    Source:
        Block influence: Men et al. 2024, arXiv:2403.03853.
    """
    space = replace(model, left_out=()).space(windows.shape[1], ("float32",))
    supernet = Supernet(space)
    load_weights(supernet, model.weights)
    graph = space.subnet(uniform_genome(space, "largest")).graph
    layers = [
        given
        for node, _, given in walk(graph, windows, SharedLayers(supernet))
        if isinstance(node, Residual) and graph.block_of[node.name].endswith("/mlp")
    ]
    influence = [1 - float(cosine_similarity(x, y, dim=-1).mean()) for x, y in pairwise(layers)]  # from that of layer 2 on
    return tuple(sorted(range(2, model.shape.depth), key=lambda layer: influence[layer - 2]))
