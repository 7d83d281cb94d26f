import numpy as np
import pytest
import torch

from nas.export.verification.parity import check_parity
from nas.objectives.supernet_evaluator import SupernetEvaluator, predict
from nas.supernet.deploy import extract
from nas.supernet.supernet import Supernet
from nas.supernet.weights import cut
from nas.training.checkpoint import save_tensors
from nas.training.trainer import init_from, train
from search_spaces import SPACES, InvalidInputError, lower
from search_spaces.space.baselines import uniform_genome
from search_spaces.space.narrowing import NarrowedSpace


def with_experts(space, digits, n=2):
    supernet = Supernet(space, torch.Generator().manual_seed(0), experts=n)
    supernet.set_input_statistics(*digits.input_statistics())
    return supernet


@pytest.fixture(scope="module")
def mixed(tiny_space, digits, make_schedule, tmp_path_factory, task):
    supernet = with_experts(tiny_space, digits)
    schedule = make_schedule(float_epochs=3, quantized_epochs=2, experts=2)
    records = train(supernet, task, digits, schedule, seed=0, checkpoint=tmp_path_factory.mktemp("c") / "c", identity={})
    assert records[-1]["error_largest"] < 30
    return supernet.eval()


def layer(space, size, precision="float32"):
    """A layer whose sizes differ between smallest and largest network."""
    graph = space.subnet(uniform_genome(space, size, precision)).graph
    return next(node for node in reversed(graph.nodes) if node.name.endswith("expand/conv") or node.name.endswith("expand"))


def test_it_begins_as_a_supernet_without(tiny_space, digits):
    plain, supernet = Supernet(tiny_space, torch.Generator().manual_seed(0)), with_experts(tiny_space, digits)
    graph = tiny_space.subnet(uniform_genome(tiny_space, "middle", "w4a4")).graph
    inputs = torch.from_numpy(digits.train["images"][:8])
    plain.set_input_statistics(*digits.input_statistics())
    assert torch.equal(plain(inputs, graph), supernet(inputs, graph))


def test_what_differs_in_size_or_bits_has_a_mixture_of_its_own(mixed, tiny_space):
    largest, smallest, few = (layer(tiny_space, *which) for which in (("largest",), ("smallest",), ("largest", "w4a4")))
    with torch.no_grad():
        shared = mixed.shared[f"{largest.name}/weight"]
        slices = {node.precision.name + str(node.shape): mixed.weight(node) for node in (largest, smallest, few)}
        whole, small, rounded = slices.values()
        assert whole.shape == shared.shape
        assert not torch.equal(whole, shared)
        assert not torch.equal(small, cut(whole, smallest.spec_of["weight"]))
        assert not torch.equal(whole, rounded)
    assert all(float(change.detach().abs().max()) > 0 for change in mixed.experts.changes.values())


@pytest.mark.parametrize("precision", ["float32", "w4a4"])
def test_what_is_cut_out_holds_the_sum(mixed, tiny_space, digits, task, precision):
    evaluator, images = SupernetEvaluator(mixed, task, digits), digits.val["images"][:64]
    graph = tiny_space.subnet(uniform_genome(tiny_space, "middle", precision)).graph
    calibration = evaluator.calibrate(graph)
    weights = extract(mixed, graph, calibration)
    assert not any("experts" in name for name in weights)
    expected = predict(mixed, graph, calibration, torch.from_numpy(images)).numpy()
    parity = check_parity(lower(graph, weights), graph, weights, images, expected, task.agreement)
    assert not parity.reasons


def test_a_part_takes_its_slices(mixed, tiny_space, digits, tmp_path):
    path = tmp_path / "supernet.safetensors"
    save_tensors(path, mixed.state_dict(), {})
    choice = next(choice for choice in tiny_space.choices if choice.name.endswith("width") and len(choice.options) > 1)
    part = NarrowedSpace(tiny_space, {choice.name: choice.options[:1]})
    supernet = with_experts(part, digits)
    init_from(supernet, path)
    genome = part.sample(1, np.random.default_rng(0))[0]
    graph = part.subnet(genome).graph
    name = next(
        name for name in supernet.experts.changes if supernet.experts.changes[name].shape[1:] == mixed.shared[name].shape
    )
    assert torch.equal(supernet.experts.changes[name], mixed.experts.changes[name])
    assert supernet(torch.from_numpy(digits.val["images"][:4]), graph).isfinite().all()
    plain = Supernet(part)
    init_from(plain, path)
    assert torch.equal(plain.shared[name], mixed.shared[name])
    with pytest.raises(InvalidInputError, match=f"has {mixed.experts.n} experts a weight, training.experts is 5"):
        init_from(Supernet(part, experts=5), path)


def test_language_models_have_none():
    with pytest.raises(InvalidInputError, match="training.experts: weights of space 'decoder-tiny' are sorted"):
        Supernet(SPACES.get("decoder-tiny")(), experts=2)
