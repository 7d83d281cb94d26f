"""Look-up of rows."""

from torch import Tensor
from torch.nn import functional

from nas.supernet.ops.reading import ParameterSource, apply_operator, input_sources, own_source, torch_source
from search_spaces.operators.embedding import Embedding


@apply_operator.register
def _(node: Embedding, inputs: list[Tensor], source: ParameterSource) -> Tensor:
    return functional.embedding(inputs[0], source.tensors(node)[0])


@torch_source.register
def _(node: Embedding) -> str:
    return f"functional.embedding({input_sources(node)[0]}, {own_source(node, 'weight', node.tied_to)})"
