import numpy as np
import pytest
import torch
from torch.nn import functional

from nas.objectives.supernet_evaluator import predict
from nas.supernet import executor
from nas.supernet.calibrate import calibrate
from nas.supernet.deploy import DeployedLayers, extract, fold
from nas.supernet.folding import BATCH_NORM_EPS
from nas.supernet.layers import SharedLayers
from nas.supernet.supernet import Supernet
from search_spaces.operators.conv import Conv
from search_spaces.operators.elementwise import Add, Relu
from search_spaces.operators.linear import Linear
from search_spaces.operators.norm import Normalize
from search_spaces.operators.pool import GlobalAveragePool
from search_spaces.space.baselines import baselines, uniform_genome


def plain_float(graph, weights, images):
    """A float32 network written out with torch's functions, from extracted weights alone."""
    tensors = {graph.nodes[0].name: images}
    for node in graph.nodes[1:]:
        taken = [tensors[name] for name in node.inputs]
        w = {kind: torch.from_numpy(weights[f"{node.name}/{kind}"]) for kind in ("weight", "bias", "mean", "std")
             if f"{node.name}/{kind}" in weights}  # fmt: skip
        match node:
            case Normalize():
                y = (taken[0] - w["mean"].reshape(-1, 1, 1)) / w["std"].reshape(-1, 1, 1)
            case Conv():
                padding = node.kernel // 2
                y = functional.conv2d(taken[0], w["weight"], w["bias"], node.stride, padding, groups=node.groups)
            case Relu():
                y = functional.relu(taken[0])
            case Add():
                y = taken[0] + taken[1]
            case GlobalAveragePool():
                y = functional.adaptive_avg_pool2d(taken[0], 1)
            case Linear():
                y = functional.linear(taken[0].flatten(1), w["weight"], w["bias"])
            case _:
                y = taken[0]
        tensors[node.name] = y
    return tensors[graph.output.name]


@pytest.mark.parametrize("level", ["smallest", "middle", "largest"])
def test_supernet_equals_a_plain_network_of_extracted_weights(trained, digits, level):
    space = trained.space
    subnet = space.subnet(uniform_genome(space, level, "float32"))
    graph = subnet.graph
    images = torch.from_numpy(digits.test["images"])
    calibration = calibrate(trained, graph, torch.from_numpy(digits.train["images"]))
    weights = extract(trained, subnet.graph, calibration)
    with torch.no_grad():
        found = executor.execute(graph, images, DeployedLayers(fold(trained, graph, calibration)))
        expected = plain_float(graph, weights, images)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_calibrated_float_network_equals_batch_norm_with_its_statistics(trained, digits):
    """Folding is checked against torch's own batch norm on the first convolution."""
    space = trained.space
    graph = space.subnet(uniform_genome(space, "middle", "float32")).graph
    images = torch.from_numpy(digits.train["images"][:400])
    calibration = calibrate(trained, graph, images)
    node = graph["stem/conv"]
    layers = SharedLayers(trained)
    with torch.no_grad():
        x = layers.normalize(graph["stem/normalize"], images)
        y = functional.conv2d(x, trained.weight(node), padding=1)
        mean, var = calibration.statistics["stem/conv"]
        normed = functional.batch_norm(y, mean, var, trained.gamma(node), trained.bias(node), eps=BATCH_NORM_EPS)
        assert torch.allclose(y.mean(dim=(0, 2, 3)), mean, atol=1e-5)
        weights = fold(trained, graph, calibration)
        folded = functional.conv2d(x, weights["stem/conv/weight"], weights["stem/conv/bias"], padding=1)
    assert torch.allclose(normed, folded, atol=1e-4)


def test_elastic_layers_are_slices(tiny_space):
    supernet = Supernet(tiny_space, torch.Generator().manual_seed(1))
    shared = supernet.shared["stage2/block2/depthwise/weight"]
    assert shared.shape == (48, 1, 5, 5)
    small = tiny_space.subnet(uniform_genome(tiny_space, "smallest")).graph
    node = small["stage1/block1/depthwise"]
    whole = supernet.shared["stage1/block1/depthwise/weight"]
    assert (supernet.weight(node) == whole[:16, :, 1:4, 1:4]).all()
    expand = small["stage2/block1/expand"]
    assert (supernet.weight(expand) == supernet.shared["stage2/block1/expand/weight"][:16, :8]).all()
    assert (supernet.bias(expand) == supernet.shared["stage2/block1/expand/bias"][:16]).all()


def test_elastic_layers_equal_plain_layers_of_sliced_weights(tiny_space, rng):
    supernet = Supernet(tiny_space)
    small = tiny_space.subnet(uniform_genome(tiny_space, "smallest")).graph
    node = small["stage1/block1/depthwise"]
    plain = torch.nn.Sequential(
        torch.nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), torch.nn.BatchNorm2d(16, eps=BATCH_NORM_EPS)
    )
    with torch.no_grad():
        plain[0].weight.copy_(supernet.shared["stage1/block1/depthwise/weight"][:16, :, 1:4, 1:4])
        x = torch.from_numpy(rng.normal(size=(4, 16, 8, 8)).astype(np.float32))
        assert torch.allclose(SharedLayers(supernet).conv(node, x), plain(x), atol=1e-5)


def test_extracted_weights_do_not_follow_later_training(trained, digits):
    supernet = Supernet(trained.space)
    supernet.load_state_dict(trained.state_dict())
    subnet = trained.space.subnet(uniform_genome(trained.space, "smallest", "float32"))
    graph = subnet.graph
    weights = extract(supernet, subnet.graph, calibrate(supernet, graph, torch.from_numpy(digits.train["images"][:64])))
    before = {name: array.copy() for name, array in weights.items()}
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter += 1
        supernet.pixel_mean += 1
    assert all((weights[name] == before[name]).all() for name in weights)


def test_depth_takes_the_first_blocks(tiny_space):
    deep = uniform_genome(tiny_space, "largest")
    shallow = deep.copy()
    shallow[tiny_space.gene["stage2/depth"]] = 0
    names = [{n.name for n in tiny_space.subnet(g).graph.nodes} for g in (deep, shallow)]
    assert names[0] - names[1] == {n for n in names[0] if n.startswith("stage2/block2")}


def test_gradient_reaches_only_the_active_slice(tiny_space, digits):
    supernet = Supernet(tiny_space, torch.Generator().manual_seed(1))
    graph = tiny_space.subnet(uniform_genome(tiny_space, "smallest", "w4a4")).graph
    supernet(torch.from_numpy(digits.train["images"][:32]), graph).square().sum().backward()
    gradient = supernet.shared["stage1/block1/depthwise/weight"].grad
    assert gradient[:16, :, 1:4, 1:4].abs().sum() > 0
    gradient[:16, :, 1:4, 1:4] = 0
    assert gradient.abs().sum() == 0
    assert supernet.shared["stage1/block2/expand/weight"].grad is None
    assert supernet.log_scales.grad.abs().sum() > 0
    assert supernet.log_multipliers.grad.abs().sum() > 0


def test_extracted_integers_are_in_range(trained, digits):
    space = trained.space
    for name, genome in baselines(space).items():
        subnet = space.subnet(genome)
        graph = subnet.graph
        weights = extract(trained, subnet.graph, calibrate(trained, graph, torch.from_numpy(digits.train["images"][:256])))
        for node in graph.nodes:
            if isinstance(node, Conv | Linear) and not node.precision.is_float32:
                integers = weights[f"{node.name}/weight"]
                assert integers.dtype == np.int8
                assert np.abs(integers.astype(int)).max() <= node.precision.weights.qmax
                assert weights[f"{node.name}/bias"].dtype == np.int32
                assert weights[f"{node.name}/weight_scale"].shape == (node.shape[0],)
        assert name


def test_calibration_leaves_the_supernet_alone_and_repeats(tiny_space, digits):
    supernet = Supernet(tiny_space, torch.Generator().manual_seed(1))
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    graph = tiny_space.subnet(uniform_genome(tiny_space, "largest", "w4a4")).graph
    images = torch.from_numpy(digits.train["images"])
    first, second = (calibrate(supernet, graph, images) for _ in range(2))
    assert all((tensor == before[name]).all() for name, tensor in supernet.state_dict().items())
    assert first.scales.keys() == second.scales.keys()
    assert all((first.scales[name] == second.scales[name]).all() for name in first.scales)
    logits = [predict(supernet, graph, calibration, images[:50]) for calibration in (first, second)]
    assert (logits[0] == logits[1]).all()


def test_measured_errors_do_not_depend_on_the_number_of_threads(trained, digits):
    graph = trained.space.subnet(uniform_genome(trained.space, "largest", "w4a4")).graph
    images = torch.from_numpy(digits.train["images"][:700])
    logits = []
    for n in (1, 2):
        torch.set_num_threads(n)
        logits.append(predict(trained, graph, calibrate(trained, graph, images), images))
    assert (logits[0] == logits[1]).all()


@pytest.mark.parametrize("name", ["w8a8", "w4a4", "float32"])
def test_a_quantizer_from_zero_up_needs_no_relu(trained, digits, monkeypatch, name):
    """With and without the ReLUs that are passed over: the same answers and gradients."""
    graph = trained.space.subnet(uniform_genome(trained.space, "largest", name)).graph
    passed_over = executor._relus_of_quantizers(graph)
    assert len(passed_over) == (0 if name == "float32" else sum(isinstance(node, Relu) for node in graph.nodes))
    images = torch.from_numpy(digits.train["images"][:64])

    def gradients():
        logits = trained(images, graph)
        found = torch.autograd.grad(logits.square().mean(), [*trained.parameters()], allow_unused=True)
        return logits, [gradient for gradient in found if gradient is not None]

    without, gradients_without = gradients()
    monkeypatch.setattr(executor, "_relus_of_quantizers", lambda graph: set())
    logits, with_relus = gradients()
    assert torch.equal(without, logits)
    for one, other in zip(gradients_without, with_relus, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)
