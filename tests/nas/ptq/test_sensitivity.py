"""Sensitivities: Fisher's information against measured divergence, of outputs and of groups; several surroundings."""

import itertools

import numpy as np
import pytest
from scipy.stats import kendalltau

from nas.objectives.adopted_evaluator import AdoptedEvaluator
from nas.ptq.sensitivity import SENSITIVITIES
from nas.ptq.sensitivity.sensitivity import singles, table_of
from nas.run.adoption import Adoption
from nas.tasks.divergence import Curvature, divergence
from search_spaces.errors import InvalidInputError
from tests.onnx_models import model, node, saved, small_network


def probabilities(rng, *positions):
    powers = np.exp(rng.standard_normal((6, *positions, 5)))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("kind", "draw"),
    [
        ("kl", lambda rng: rng.standard_normal((6, 5))),
        ("kl", lambda rng: rng.standard_normal((6, 4, 5))),
        ("kl", probabilities),
        ("kl", lambda rng: probabilities(rng, 4)),
        ("cosine", lambda rng: rng.standard_normal((6, 5))),
        ("noise", lambda rng: rng.standard_normal((6, 2, 3))),
    ],
)
def test_drawn_gradients_give_the_second_order_of_the_divergence(kind, draw, rng):
    reference = draw(rng)
    change = 1e-3 * rng.standard_normal(reference.shape)
    if kind == "kl" and np.allclose(reference.sum(axis=-1), 1):
        change -= change.mean(axis=-1, keepdims=True)  # they stay probabilities
    exact = divergence(kind, reference + change, reference)
    for i in range(2):
        curvature = Curvature.of(kind, reference)
        products = [float((curvature.draw(i, rng) * change[i]).sum()) for _ in range(20_000)]
        assert np.mean(np.square(products)) / 2 == pytest.approx(exact[i], rel=0.08)


def adoption(tmp_path, network, shape, **settings):
    saved(network, tmp_path / "m.onnx")
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).standard_normal((96, *shape)).astype(np.float32))
    settings = {"model": str(tmp_path / "m.onnx"), "samples": str(tmp_path / "data.npz"), **settings}
    return Adoption.create({"name": "small", "adopt": settings, "threads": 1}, tmp_path / "run")


def losses(run, name, known=None):
    kept = {}
    found = SENSITIVITIES.get(name)(run.evaluator, known or {}, kept.__setitem__)
    assert known or kept == found
    return found


def test_fisher_is_what_small_changes_are_measured_to_lose(tmp_path, monkeypatch):
    run = adoption(tmp_path, small_network(), (1, 8, 8))
    found, measured = losses(run, "fisher"), losses(run, "measured")
    assert set(found) == set(measured)
    table = {name: np.concatenate([f.values[1:] for f in table_of(run.space, x).factors])
             for name, x in (("fisher", found), ("measured", measured))}  # fmt: skip
    assert kendalltau(table["fisher"], table["measured"]).statistic > 0.6
    small = (table["measured"] > 1e-7) & (table["measured"] < 0.01)
    assert small.sum() >= 2
    ratio = table["fisher"][small] / table["measured"][small]
    assert (ratio > 0.5).all()
    assert (ratio < 2.0).all()
    monkeypatch.setattr(AdoptedEvaluator, "values", None)  # what is known is not priced again
    assert losses(run, "fisher", known=found) == found
    assert len(singles(run.space)) + 1 == len(found)


def test_fisher_prices_groups_that_are_never_float32_from_what_the_first_mixture_loses(tmp_path):
    formats = {name: ["w8a8", "w4a8"] for name in ("stem*", "body*", "head*")}
    run = adoption(tmp_path, small_network(), (1, 8, 8), formats=formats)
    found, measured = losses(run, "fisher"), losses(run, "measured")
    start = run.space.subnet(np.zeros(len(run.space.choices), np.int16)).id
    assert found[start] == pytest.approx(measured[start], rel=0.05)
    assert measured[start] > 0


def with_ends(ends):
    """Return a network that ends in convolutions, each an output."""
    rng = np.random.default_rng(3)
    constants = {
        name: rng.normal(0, 0.4, (4, 4 if name != "stem" else 1, 3, 3)).astype(np.float32) for name in ("stem", *ends)
    }
    nodes = [node("Conv", ["x", "stem"], "a", "/stem/Conv", pads=[1] * 4), node("Relu", ["a"], "r", "/stem/Relu")]
    nodes += [node("Conv", ["r", name], f"y{name}", f"/{name}/Conv", pads=[1] * 4) for name in ends]
    return model(nodes, {"x": ["N", 1, 8, 8]}, [f"y{name}" for name in ends], constants)


@pytest.mark.parametrize(("ends", "steer"), [(("one",), "mean"), (("one", "two"), "mean"), (("one", "two"), "worst")])
@pytest.mark.parametrize("formats", [{}, {"one*": ["w8a8", "w4a8"]}])
def test_fisher_of_networks_that_end_in_convolutions(tmp_path, monkeypatch, ends, steer, formats):
    monkeypatch.setattr("nas.ptq.sensitivity.fisher.N_DRAWS", 200)  # few samples hold most of what is lost
    run = adoption(tmp_path, with_ends(ends), (1, 8, 8), steer=steer, formats=formats)
    found, measured = losses(run, "fisher"), losses(run, "measured")
    for name, value in measured.items():
        assert found[name] == pytest.approx(value, rel=0.3, abs=1e-6)


def with_unknown(where):
    """Return the small network with an operator that is shipped as it is in front, or behind."""
    network = small_network()
    nodes = network.graph.node
    if where == "front":
        nodes[0].input[0] = "u"
        nodes.insert(0, node("Sign", ["x"], "u"))
    else:
        nodes[-1].output[0] = "z"
        nodes.append(node("Sign", ["z"], "y"))
    return network


def test_parts_without_gradients_may_stand_in_front_of_all_groups_only(tmp_path):
    run = adoption(tmp_path, with_unknown("front"), (1, 8, 8))
    assert min(table_of(run.space, losses(run, "fisher")).factors[0].values[1:]) > 0
    (tmp_path / "behind").mkdir()
    run = adoption(tmp_path / "behind", with_unknown("behind"), (1, 8, 8))
    with pytest.raises(InvalidInputError, match="fisher needs gradients, and '.*', which is shipped as it is, has none"):
        losses(run, "fisher")


class Interacting:
    """A network whose divergence is a known function of its formats, and in which groups interact."""

    def __init__(self, adopted, loss):
        self.adopted, self.loss, self.measured = adopted, loss, []

    def values(self, graph, part):
        assert part == "val"
        space = self.adopted.space
        (found,) = (
            g for g in itertools.product(*map(range, space.cardinalities)) if space.subnet(np.array(g)).graph == graph
        )
        self.measured.append(found)
        return {"divergence": self.loss(np.array(found))}


def test_averaged_is_the_mean_over_networks_of_one_format_and_resumes(tmp_path):
    run = adoption(tmp_path, small_network(), (1, 8, 8))
    space = run.space
    own = [np.linspace(0, i + 1.0, n) for i, n in enumerate(space.cardinalities)]

    def loss(genome):
        total = 0.25 + sum(float(values[gene]) for values, gene in zip(own, genome, strict=True))
        return float(np.tanh(total / 3) + 0.1 * genome[0] * genome[-1])

    network, kept = Interacting(run.adopted, loss), {}
    found = SENSITIVITIES.get("averaged")(network, {}, kept.__setitem__)
    n, formats = len(space.choices), int(space.cardinalities.max())
    assert len(network.measured) == len(set(network.measured)) == len(kept)
    table = table_of(space, found)
    assert table.constant == pytest.approx(loss(np.zeros(n, int)))
    for gene in range(n):
        for option in range(1, space.cardinalities[gene]):
            effects = []
            for level in range(formats):
                with_it = np.minimum(level, space.cardinalities - 1)
                without = with_it.copy()
                with_it[gene], without[gene] = option, 0
                effects.append(loss(with_it) - loss(without))
            assert table.factors[gene].values[option] == pytest.approx(np.mean(effects))
    genomes = space.sample(60, np.random.default_rng(0))
    truth = [loss(genome) for genome in genomes]
    alone = table_of(space, SENSITIVITIES.get("measured")(network, kept, lambda name, value: None))
    assert np.mean((table(genomes) - truth) ** 2) < np.mean((alone(genomes) - truth) ** 2)
    n_measured = len(network.measured)
    assert SENSITIVITIES.get("averaged")(network, kept, kept.__setitem__) == found
    assert len(network.measured) == n_measured


def test_mixtures_find_what_adds_up_among_mixtures_and_resume(tmp_path):
    run = adoption(tmp_path, small_network(), (1, 8, 8))
    space = run.space
    own = [np.linspace(0, i + 1.0, n) for i, n in enumerate(space.cardinalities)]

    def loss(genome):
        return 0.25 + sum(float(values[gene]) for values, gene in zip(own, genome, strict=True))

    network, kept = Interacting(run.adopted, loss), {}
    found = SENSITIVITIES.get("mixtures")(network, {}, kept.__setitem__)
    assert len(kept) == len(set(network.measured)) <= 3 * int((space.cardinalities - 1).sum())
    genomes = space.sample(60, np.random.default_rng(1))
    assert table_of(space, found)(genomes) == pytest.approx(np.array([loss(genome) for genome in genomes]), abs=1e-6)
    n_measured = len(network.measured)
    assert SENSITIVITIES.get("mixtures")(network, kept, kept.__setitem__) == found
    assert len(network.measured) == n_measured
