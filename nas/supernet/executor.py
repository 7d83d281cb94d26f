"""One executor for every graph, whatever its parameters come from."""

from collections.abc import Mapping

from torch import Tensor

from nas.supernet.ops import ParameterSource, apply_operator
from search_spaces.graph.graph import Graph, consumers
from search_spaces.operators.quantize import Quantize


def execute(graph: Graph, inputs: Tensor | Mapping[str, Tensor], source: ParameterSource) -> Tensor:
    """Compute a network of one output.

    Args:
        graph: Whole network with its quantizers. Where all its operators take tensors of any size, the inputs may be larger
            or smaller than those of the graph.
        inputs: Of a network with one input its tensor, raw, shape `(n, *graph.input_shape)`; otherwise by name.
        source: Gives weights and scales.

    Returns:
        What the last node gives, shape `(n, *graph.output.shape)`.
    """
    return execute_all(graph, inputs, source)[graph.output.name]


def execute_all(graph: Graph, inputs: Tensor | Mapping[str, Tensor], source: ParameterSource) -> dict[str, Tensor]:
    """Compute a network and return each of its outputs by name; see `execute`."""
    last_use = {name: node.name for node in graph.nodes for name in node.inputs}
    passed_over = _relus_of_quantizers(graph) | _shared_quantizers(graph)
    tensors = {graph.nodes[0].name: inputs} if isinstance(inputs, Tensor) else dict(inputs)
    for node in graph.nodes:
        if not node.inputs:
            continue
        taken = [tensors[name] for name in node.inputs]
        tensors[node.name] = taken[0] if node.name in passed_over else apply_operator(node, taken, source)
        for name in node.inputs:
            if last_use[name] == node.name:
                tensors.pop(name, None)
    return {node.name: tensors[node.name] for node in graph.outputs}


def _shared_quantizers(graph: Graph) -> set[str]:
    """Return the quantizers of what was rounded at their scale before and moved since: they change nothing."""
    return {node.name for node in graph.nodes if isinstance(node, Quantize) and node.shares}


def _relus_of_quantizers(graph: Graph) -> set[str]:
    """Return the ReLUs that need not be computed: quantizers to integers from 0 up, which alone take them, do the same.

    Values are the same, and gradients but at exactly 0; a pass over the tensor is saved.
    """
    consumers_of = consumers(graph.nodes)
    relus = [node.name for node in graph.nodes if node.is_fused and consumers_of[node.name]]
    return {
        name
        for name in relus
        if all(isinstance(consumer, Quantize) and _starts_at_zero(consumer) for consumer in consumers_of[name])
    }


def _starts_at_zero(quantizer: Quantize) -> bool:
    return quantizer.format.is_integer and not quantizer.format.signed
