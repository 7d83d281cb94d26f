"""Every integer format that a space can offer is trained, exported and proven."""

import numpy as np
import pytest
import torch

from nas.export.bundle import parity_inputs
from nas.export.verification.parity import check_parity
from nas.objectives.supernet_evaluator import SupernetEvaluator, predict
from nas.supernet.calibrate import CalibratingLayers, Calibration, calibrate
from nas.supernet.deploy import DeployedLayers, extract, fold
from nas.supernet.executor import execute
from nas.supernet.supernet import Supernet
from nas.training.trainer import train
from search_spaces import SPACES, InvalidInputError, Stage, classes, lower, mobilenet
from search_spaces.operators.conv import Conv
from search_spaces.operators.elementwise import HardSwish
from search_spaces.operators.quantize import Quantize
from search_spaces.precision.formats import MINIFLOATS
from search_spaces.space.baselines import uniform_genome

EVERY_WIDTH = tuple(f"w{weights}a{activations}" for weights in range(2, 9) for activations in range(2, 9))
AWKWARD = tuple(f"w{bits}a{bits}{kind}" for bits in range(2, 9) for kind in ("-tensor", "-asymmetric", "-tensor-asymmetric"))


def one_block_each(formats):
    """A space of hard-swish and squeeze-and-excite behind plain blocks, with nothing elastic but the formats."""
    stages = (Stage(depths=(1,), widths=(8,)),
              Stage(depths=(1,), widths=(12,), stride=2, activation=HardSwish, squeeze_excite=True))  # fmt: skip
    settings = {"stem_width": 8, "stages": stages, "expand_ratios": (2,), "kernels": (3,), "formats": formats}
    return mobilenet("formats", input_shape=(1, 8, 8), outputs=classes(10), **settings)


@pytest.fixture(scope="module")
def learned(digits, task, make_schedule, tmp_path_factory):
    """`learned(space)`: an evaluator of a supernet that has seen the formats of a space."""

    def learn(space):
        supernet = Supernet(space, torch.Generator().manual_seed(0))
        supernet.set_input_statistics(*digits.input_statistics())
        schedule = make_schedule(float_epochs=4, quantized_epochs=3, progressive_bits=False, uniform_share=1.0)
        train(supernet, task, digits, schedule, seed=0, checkpoint=tmp_path_factory.mktemp("c") / "c", identity={})
        return SupernetEvaluator(supernet, task, digits, n_calibration=400)

    return learn


def parity_of(evaluator, genome, images):
    supernet = evaluator.supernet
    subnet = supernet.space.subnet(genome)
    graph = subnet.graph
    calibration = evaluator.calibrate(graph)
    weights = extract(supernet, subnet.graph, calibration)
    expected = predict(supernet, graph, calibration, torch.from_numpy(images)).numpy()
    return check_parity(lower(graph, weights), graph, weights, images, expected, evaluator.task.agreement), weights


@pytest.mark.parametrize("formats", [EVERY_WIDTH, AWKWARD], ids=["every pair of bits", "per tensor and asymmetric"])
def test_every_integer_format_is_trained_exported_and_proven(formats, learned, digits, task):
    space = one_block_each(("float32", *formats))
    evaluator = learned(space)
    images = parity_inputs(task, digits, seed=0, n=100)
    for name in formats:
        genome = uniform_genome(space, "largest", name)
        parity, weights = parity_of(evaluator, genome, images)
        assert parity.integer_mismatches == parity.float_mismatches == parity.float_conv == 0, name
        assert parity.agreement >= 98, name
        graph = space.subnet(genome).graph
        for node in graph.nodes:
            if isinstance(node, Conv) and "-tensor" in name and node.name != "stem/conv":
                assert len(set(weights[f"{node.name}/weight_scale"].tolist())) == 1
            if isinstance(node, Quantize) and node.format.asymmetric:
                assert node.format.signed
                assert 0 <= weights[f"{node.name}/zero_point"] <= node.format.n_levels - 1
        asymmetric = [node for node in graph.nodes if isinstance(node, Quantize) and node.format.asymmetric]
        assert bool(asymmetric) == name.endswith("-asymmetric")
    assert evaluator.evaluate([space.subnet(uniform_genome(space, "largest", formats[-1]))], "test")["error"][0] < 40


@pytest.mark.parametrize("name", ["w8a8-tensor", "w8a8-asymmetric", "w8a8-tensor-asymmetric", "e4m3", "w8a8", "float32"])
def test_what_is_shipped_is_what_was_trained(name, learned, digits):
    """Layers on shared weights against folded ones, on the batch that calibrates; apart by rounded biases only."""
    space = one_block_each(("float32", name) if name != "float32" else (name,))
    supernet = learned(space).supernet
    graph = space.subnet(uniform_genome(space, "largest", name)).graph
    images = torch.from_numpy(digits.train["images"][:400])
    calibration = calibrate(supernet, graph, images)
    with torch.no_grad():
        shared = execute(
            graph,
            images,
            CalibratingLayers(supernet, Calibration(scales=calibration.scales, zero_points=calibration.zero_points)),
        )
        deployed = execute(graph, images, DeployedLayers(fold(supernet, graph, calibration)))
    assert (shared.argmax(dim=1) == deployed.argmax(dim=1)).float().mean() > 0.95
    assert (shared - deployed).abs().median() < 0.02 * shared.std()


def test_minifloats_are_trained_and_costed_but_not_exported(learned):
    space = one_block_each(("float32", "w8a8", *MINIFLOATS))
    evaluator = learned(space)
    for name in MINIFLOATS:
        genome = uniform_genome(space, "largest", name)
        assert evaluator.evaluate([space.subnet(genome)])["error"][0] < 40
        graph = space.subnet(genome).graph
        assert graph["stem/conv"].precision.is_float32
        assert {n.format.name for n in graph.nodes if isinstance(n, Quantize)} == {name}
        with pytest.raises(InvalidInputError, match=f"onnxruntime has no kernels for {name}: such networks can be trained"):
            lower(graph)


def test_a_weight_with_one_scale_and_nothing_in_it(digits, task):
    """A bias must fit int32 whatever the scale, which here is as small as scales get."""
    space = one_block_each(("float32", "w4a4-tensor"))
    supernet = Supernet(space)
    supernet.set_input_statistics(*digits.input_statistics())
    with torch.no_grad():
        for name, weight in supernet.shared.items():
            if name.endswith(("project/weight", "depthwise/gamma")):
                weight.zero_()
            if name.endswith("/bias"):
                weight.fill_(0.5)
    genome = uniform_genome(space, "largest", "w4a4-tensor")
    evaluator = SupernetEvaluator(supernet, task, digits, n_calibration=200)
    parity, weights = parity_of(evaluator, genome, parity_inputs(task, digits, 0, n=50))
    assert parity.integer_mismatches == 0
    assert all(np.abs(array.astype(np.int64)).max() <= 2**30 for name, array in weights.items() if name.endswith("/bias"))


@pytest.mark.parametrize("name", ["resnet-digits", "vit-digits", "mobilenet-v3-digits"])
def test_every_family_is_exported_and_proven(name, learned, digits, rng, task):
    space = SPACES.get(name)()
    evaluator = learned(space)
    images = parity_inputs(task, digits, seed=0, n=100)
    for genome in (uniform_genome(space, "largest", "w8a8"), *space.sample(5, rng)):
        parity, _ = parity_of(evaluator, genome, images)
        assert parity.integer_mismatches == parity.float_mismatches == parity.float_conv == 0
        assert parity.agreement >= 98
        assert parity.output_error < 1e-4
