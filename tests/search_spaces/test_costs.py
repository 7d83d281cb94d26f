import pytest
import torch
from torch import nn

from search_spaces import cost_table, graph_costs
from search_spaces.costs import peak_activation_bytes
from search_spaces.graph.graph import Graph
from search_spaces.operators.conv import Conv
from search_spaces.operators.elementwise import Add, Relu
from search_spaces.operators.ends import Input
from search_spaces.operators.linear import Linear
from search_spaces.operators.pool import GlobalAveragePool
from search_spaces.operators.quantize import Quantize
from search_spaces.precision.formats import INT8
from search_spaces.precision.placement import place_quantizers
from search_spaces.precision.scheme import FLOAT, W8A8
from search_spaces.space.baselines import uniform_genome


def test_costs_by_hand():
    x = Input(name="x", shape=(2, 4, 4), precision=W8A8)
    q = Quantize(name="q", inputs=("x",), shape=(2, 4, 4), precision=W8A8, format=INT8)
    c = Conv(name="c", inputs=("q",), shape=(3, 2, 2), precision=W8A8, in_channels=2, kernel=3, stride=2)
    costs = graph_costs(Graph((x, q, c)))
    assert costs["macs"] == 3 * 2 * 2 * 2 * 9
    assert costs["bitops"] == costs["macs"] * 64
    assert costs["parameters"] == 3 * 2 * 9 + 3
    assert costs["size_bytes"] == 3 * 2 * 9 + 4 * 3 + 4 * 3
    # float32 input 128 bytes and its integers 32; the float32 output, not absorbed by a quantizer, 48.
    assert costs["peak_activation_bytes"] == 128 + 32


def test_peak_of_a_residual_block_by_hand():
    x = Input(name="x", shape=(1, 2, 2))
    a = Conv(name="a", inputs=("x",), shape=(4, 2, 2), in_channels=1, kernel=1)
    r = Relu(name="r", inputs=("a",), shape=(4, 2, 2))
    b = Conv(name="b", inputs=("r",), shape=(1, 2, 2), in_channels=4, kernel=1)
    s = Add(name="s", inputs=("x", "b"), shape=(1, 2, 2))
    # While b runs, x (16 bytes), r (64) and b (16) are alive; a is absorbed by its ReLU.
    assert graph_costs(Graph((x, a, r, b, s)))["peak_activation_bytes"] == 16 + 64 + 16


@pytest.mark.parametrize(("precision", "peak"), [(FLOAT, 2 * 4 * 4), (W8A8, 2 * 4 * 1)])
def test_input_and_output_of_a_fused_operator_are_alive_together(precision, peak):
    shape = (1, 2, 2)
    x = Input(name="x", shape=shape, precision=precision)
    c = Conv(name="c", inputs=("x",), shape=shape, in_channels=1, kernel=1, precision=precision)
    r = Relu(name="r", inputs=("c",), shape=shape, precision=precision)
    assert peak_activation_bytes(place_quantizers((x, c, r), [precision.border]), [precision.border]) == peak


@pytest.mark.parametrize("name", ["macs", "bitops", "parameters", "size_bytes", "peak_activation_bytes"])
def test_tables_equal_graphs(tiny_space, rng, name):
    genomes = tiny_space.sample(200, rng)
    graphs = [tiny_space.subnet(genome).graph for genome in genomes]
    assert (cost_table(tiny_space, name)(genomes) == [graph_costs(graph)[name] for graph in graphs]).all()


def plain_network(graph: Graph) -> list[nn.Module]:
    """The layers of a network as plain torch modules, batch norm folded into biases."""
    modules: list[nn.Module] = []
    for node in graph.nodes:
        if isinstance(node, Conv):
            kernel, padding = node.kernel, node.kernel // 2
            modules.append(nn.Conv2d(node.in_channels, node.shape[0], kernel, node.stride, padding, groups=node.groups))
        elif isinstance(node, Linear):
            modules.append(nn.Linear(node.in_features, node.shape[0]))
    return modules


def test_costs_equal_counts_on_torch_modules(tiny_space):
    graph = tiny_space.subnet(uniform_genome(tiny_space, "largest", "float32")).graph
    modules = plain_network(graph)
    costs = graph_costs(graph)
    assert costs["parameters"] == sum(p.numel() for m in modules for p in m.parameters())
    assert costs["size_bytes"] == 4 * costs["parameters"]
    counted = []
    for module in modules:
        module.register_forward_hook(lambda m, taken, given: counted.append(given[0].numel() * m.weight[0].numel()))
    tensors, layers = {}, iter(modules)
    for node in graph.nodes:
        taken = [tensors[name] for name in node.inputs]
        match node:
            case Input():
                tensors[node.name] = torch.zeros(1, *node.shape)
            case Conv():
                tensors[node.name] = next(layers)(*taken)
            case Linear():
                tensors[node.name] = next(layers)(taken[0].flatten(1))
            case Add():
                tensors[node.name] = taken[0] + taken[1]
            case GlobalAveragePool():
                tensors[node.name] = taken[0].mean(dim=(2, 3), keepdim=True)
            case _:
                tensors[node.name] = taken[0]
        assert tensors[node.name].shape[1:] == node.shape
    assert costs["macs"] == sum(counted)
