"""Fisher's information against measured divergence: of outputs, and of the groups of a small network."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from nas.objectives.adopted_evaluator import AdoptedEvaluator
from nas.ptq.sensitivity import SENSITIVITIES
from nas.ptq.sensitivity.sensitivity import singles, table_of
from nas.run.adoption import Adoption
from nas.tasks.divergence import divergence, drawn_gradients
from search_spaces.errors import InvalidInputError
from tests.onnx_models import node, saved, small_network


def probabilities(rng):
    powers = np.exp(rng.standard_normal((6, 5)))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("kind", "draw"),
    [
        ("kl", lambda rng: rng.standard_normal((6, 5))),
        ("kl", lambda rng: rng.standard_normal((6, 4, 5))),
        ("kl", probabilities),
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
        products = [float((v * change[i]).sum()) for v in drawn_gradients(kind, reference, i, 20_000, rng)]
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
    assert found[start] == measured[start] > 0


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
