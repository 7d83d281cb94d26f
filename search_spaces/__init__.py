"""What may be chosen, and what it becomes: choices, architectures, typed graphs, exact costs, lowering to ONNX.

Needs NumPy and onnx only; never torch.
"""

from search_spaces.architecture import Architecture
from search_spaces.choice import ActiveWhen, Choice
from search_spaces.costs import FactorTable, cost_table, graph_costs
from search_spaces.errors import InvalidInput
from search_spaces.formats import NumberFormat, Precision
from search_spaces.graph import Graph, signature
from search_spaces.lowering import lower
from search_spaces.mobilenet import mobilenet
from search_spaces.resnet import resnet
from search_spaces.space import SPACES, SearchSpace, Slot, TabularSpace
from search_spaces.stages import Stage
from search_spaces.vit import vit

__all__ = [
    "SPACES",
    "ActiveWhen",
    "Architecture",
    "Choice",
    "FactorTable",
    "Graph",
    "InvalidInput",
    "NumberFormat",
    "Precision",
    "SearchSpace",
    "Slot",
    "Stage",
    "TabularSpace",
    "cost_table",
    "graph_costs",
    "lower",
    "mobilenet",
    "resnet",
    "signature",
    "vit",
]
