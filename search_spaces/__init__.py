"""What may be chosen, and what it becomes: choices, architectures, typed graphs, exact costs, lowering to ONNX.

Needs NumPy and onnx only; never torch.
"""

from search_spaces.architecture import Architecture
from search_spaces.choice import ActiveWhen, Choice
from search_spaces.costs import FactorTable, cost_table, graph_costs
from search_spaces.errors import InvalidInput
from search_spaces.graph import Graph, NumberFormat, Precision, signature
from search_spaces.lowering import lower
from search_spaces.mobilenet import mobilenet
from search_spaces.space import SPACES, SearchSpace, Slot, TabularSpace

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
    "TabularSpace",
    "cost_table",
    "graph_costs",
    "lower",
    "mobilenet",
    "signature",
]
