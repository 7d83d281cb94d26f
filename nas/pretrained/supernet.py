"""The supernet of a model that was trained elsewhere: its weights, sorted so that the first of everything matter most."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas.data.dataset import Dataset
from nas.events.progress import progress_bar
from nas.pretrained.llama import Llama
from nas.pretrained.repair import repair
from nas.supernet.layers import SharedLayers
from nas.supernet.supernet import Supernet
from nas.supernet.walk import walk
from nas.training.checkpoint import save_tensors
from search_spaces.graph.graph import Graph
from search_spaces.operators.causal_attention import CausalAttention
from search_spaces.operators.elementwise import SwiGlu
from search_spaces.space.baselines import uniform_genome

N_SORTING = 8  # windows of training text that tell what matters
N_ROUNDING = 32  # windows that tell what matrices meet


def save_pretrained(path: Path, supernet: Supernet, model: Llama, data: Dataset, identity: Mapping[str, Any]) -> None:
    """Put a model's weights into a supernet, sort them, round them to few bits, and write all of it.

    Args:
        path: File of the supernet.
        supernet: Of the model's space; changed in place.
        model: The model.
        data: Its training text tells what matters.
        identity: Goes into the file.
    """
    load_weights(supernet, model.weights)
    windows = torch.from_numpy(data.train[data.inputs][:N_ROUNDING])
    sort_by_importance(supernet, windows[:N_SORTING])
    with progress_bar("rounding") as update:
        repair(supernet, windows, lambda done, total: update(done, total, "matrices"))
    save_tensors(path, supernet.state_dict() | supernet.groups.tensors(), {**identity, "records": []})


@torch.no_grad()
def load_weights(supernet: Supernet, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Put weights by `NODE/ROLE` into a supernet.

    Raises:
        KeyError: If one is missing.
    """
    for name, parameter in supernet.shared.items():
        parameter.copy_(torch.from_numpy(np.array(weights[name])))


@torch.no_grad()
def sort_by_importance(supernet: Supernet, inputs: Tensor) -> None:
    """Order groups of heads and units of inner layers of a decoder by what they add to the stream; exact.

    A unit counts by the mean size of its activation times the length of its column in the matrix behind it. The largest
    network computes the same as before.

    Args:
        supernet: Changed in place.
        inputs: Windows of tokens.

    Source:
        Importance by activations: Muralidharan et al. 2024, arXiv:2407.14679.
    """
    space = supernet.space
    graph = space.subnet(uniform_genome(space, "largest", "float32")).graph
    for node, means in mean_sizes(supernet, graph, inputs).items():
        block, shared = graph.block_of[node], supernet.shared
        behind = shared[f"{block}/{'project' if isinstance(graph[node], CausalAttention) else 'down'}/weight"]
        importance = means * behind.norm(dim=0)
        attention = graph[node]
        if isinstance(attention, CausalAttention):
            importance = importance.reshape(attention.kv_heads, -1).sum(dim=1)
            order = importance.argsort(descending=True, stable=True)
            behind.copy_(_in_order(behind.T, order).T)
            for part in ("queries", "keys", "values"):
                shared[f"{block}/{part}/weight"].copy_(_in_order(shared[f"{block}/{part}/weight"], order))
            continue
        order = importance.argsort(descending=True, stable=True)
        behind.copy_(behind[:, order])
        for part in ("gate", "up"):
            shared[f"{block}/{part}/weight"].copy_(shared[f"{block}/{part}/weight"][order])


def _in_order(rows: Tensor, order: Tensor) -> Tensor:
    """Return rows that lie in as many groups as there are places, the groups in another order."""
    return rows.reshape(len(order), -1, rows.shape[1])[order].reshape(rows.shape)


def mean_sizes(supernet: Supernet, graph: Graph, inputs: Tensor) -> dict[str, Tensor]:
    """Return the mean sizes of what attention and inner layers give, by name of the operator, each `(width,)`."""
    return {
        node.name: given.abs().mean(dim=(0, 1))
        for node, _, given in walk(graph, inputs, SharedLayers(supernet))
        if isinstance(node, CausalAttention | SwiGlu)
    }
