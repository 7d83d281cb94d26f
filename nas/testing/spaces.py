"""Contract of a search space with networks."""

import numpy as np

from latency_tables.runtimes.onnxruntime import open_session
from search_spaces.costs import ADDITIVE, cost_table, graph_costs
from search_spaces.lowering import lower
from search_spaces.space.baselines import baselines
from search_spaces.space.space import SearchSpace


def check_space(space: SearchSpace, n: int = 12) -> None:
    """Check a space: tables equal graphs, distinct genomes are distinct networks, and networks run whatever their batch.

    Args:
        space: The space.
        n: Random networks to look at, besides the baselines.
    """
    rng = np.random.default_rng(0)
    genomes = np.unique(np.array([*space.sample(n, rng), *baselines(space).values()]), axis=0)
    graphs = [space.subnet(genome).graph for genome in genomes]
    for cost in (*ADDITIVE, *(["peak_activation_bytes"] if space.is_chain else [])):
        expected = [graph_costs(graph)[cost] for graph in graphs]
        found = cost_table(space, cost)(genomes).tolist()
        assert found == expected, f"the table of {cost} is not the graphs'"
    assert len({graph.nodes for graph in graphs}) == len(genomes), "genomes that differ are the same network"
    for graph in graphs[:3]:
        session = open_session(lower(graph, batch="batch").SerializeToString())
        (taken,) = graph.inputs
        shape, is_whole = (3, *taken.shape), taken.outputs[0].dtype == "int64"
        inputs = rng.integers(0, 5, shape) if is_whole else rng.random(shape).astype(np.float32)
        (together,) = session.run(None, {taken.name: inputs})
        (alone,) = session.run(None, {taken.name: inputs[1:2]})
        assert together.shape == (3, *graph.output.shape)
        assert np.isfinite(together).all()
        assert np.allclose(together[1:2], alone, atol=1e-4), "a sample's answer depends on its batch"
