"""Search spaces: choices, subnets, typed graphs, exact costs, lowering to ONNX.

Needs NumPy and onnx only; never torch.
"""

from search_spaces.costs import FactorTable, cost_table, graph_costs
from search_spaces.errors import InvalidInputError
from search_spaces.families.decoder import Decoder, decoder
from search_spaces.families.edsr import edsr
from search_spaces.families.heads import classes
from search_spaces.families.mobilenet import mobilenet
from search_spaces.families.resnet import resnet
from search_spaces.families.stages import Stage
from search_spaces.families.unet import Level, unet
from search_spaces.families.vit import vit
from search_spaces.graph.graph import Graph
from search_spaces.graph.signature import signature
from search_spaces.lowering import lower
from search_spaces.precision.formats import NumberFormat
from search_spaces.precision.scheme import QuantScheme
from search_spaces.space.cell import Cell
from search_spaces.space.choice import ActiveWhen, Choice
from search_spaces.space.slots import PREVIOUS, Slot
from search_spaces.space.space import SPACES, SearchSpace, TabularSpace
from search_spaces.space.subnet import Subnet

Precision = QuantScheme  # its name in a version before

__all__ = [
    "PREVIOUS",
    "SPACES",
    "ActiveWhen",
    "Cell",
    "Choice",
    "Decoder",
    "FactorTable",
    "Graph",
    "InvalidInputError",
    "Level",
    "NumberFormat",
    "Precision",
    "QuantScheme",
    "SearchSpace",
    "Slot",
    "Stage",
    "Subnet",
    "TabularSpace",
    "classes",
    "cost_table",
    "decoder",
    "edsr",
    "graph_costs",
    "lower",
    "mobilenet",
    "resnet",
    "signature",
    "unet",
    "vit",
]
