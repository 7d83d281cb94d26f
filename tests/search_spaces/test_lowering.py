import numpy as np
import onnx
import onnxruntime
import pytest

from latency_tables.runtimes.onnxruntime import open_session
from nas.export.verification.parity import optimized_operators, predictions
from search_spaces import lower
from search_spaces.lowering import is_int4
from search_spaces.operators.conv import Conv
from search_spaces.operators.elementwise import Add
from search_spaces.operators.quantize import Quantize
from search_spaces.space.baselines import baselines


def n_nodes(graph, kind, *, is_float):
    return sum(isinstance(node, kind) and node.precision.is_float32 == is_float for node in graph.nodes)


def every_border(space):
    """Uniform networks, and networks whose format changes after each block in each direction."""
    genes = [space.gene[f"stage{s}/block{b}/format"] for s in (1, 2) for b in (1, 2)]
    deep = np.zeros(len(space.choices), np.int16)
    deep[[space.gene["stage1/depth"], space.gene["stage2/depth"]]] = 1
    for pattern in [(0, 1, 0, 1), (1, 0, 1, 0), (0, 2, 0, 2), (2, 0, 2, 0), (1, 2, 1, 2), (2, 1, 0, 0), (0, 0, 1, 2)]:
        genome = deep.copy()
        genome[genes] = pattern
        yield genome
    yield from baselines(space).values()


def test_integer_blocks_run_in_integers(tiny_space):
    for genome in every_border(tiny_space):
        graph = tiny_space.subnet(genome).graph
        operators = optimized_operators(lower(graph))
        assert operators.get("QLinearConv", 0) == n_nodes(graph, Conv, is_float=False)
        assert operators.get("Conv", 0) + operators.get("FusedConv", 0) == n_nodes(graph, Conv, is_float=True)
        assert operators.get("QLinearAdd", 0) == n_nodes(graph, Add, is_float=False)
        assert operators.get("QGemm", 0) + operators.get("Gemm", 0) == 1


def test_versions_are_written_and_the_file_takes_raw_pixels(tiny_space):
    graph = tiny_space.subnet(np.zeros(len(tiny_space.choices), np.int16)).graph
    model = lower(graph)
    assert (model.ir_version, model.opset_import[0].version) == (10, 21)
    session = open_session(model.SerializeToString())
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.shape, taken.type) == ("images", [1, 1, 8, 8], "tensor(float)")
    assert (given.name, given.shape) == ("logits", [1, 10])


def test_dynamic_batch(tiny_space, rng):
    graph = tiny_space.subnet(baselines(tiny_space)["w4a4 middle"]).graph
    session = open_session(lower(graph, batch="batch").SerializeToString())
    images = rng.random((5, 1, 8, 8)).astype(np.float32)
    (together,) = session.run(None, {"images": images})
    apart = [session.run(None, {"images": image[None]})[0] for image in images]
    assert np.allclose(together, np.concatenate(apart))


@pytest.mark.parametrize("number_format", ["w4a4", "w8a8"])
def test_int4_weights_take_less_room_and_compute_the_same(tiny_space, rng, number_format):
    graph = tiny_space.subnet(baselines(tiny_space)[f"{number_format} largest"]).graph
    plain, packed = lower(graph), lower(graph, int4=True)
    images = rng.random((4, 1, 8, 8)).astype(np.float32)
    assert np.array_equal(predictions(plain, images), predictions(packed, images))
    assert optimized_operators(plain) == optimized_operators(packed)
    saved = sum(np.prod(node.weights()[0].shape) // 2 for node in graph.nodes if isinstance(node, Conv) and is_int4(node))
    assert (saved > 0) == (number_format == "w4a4")
    stored = [sum(len(tensor.raw_data) for tensor in model.graph.initializer) for model in (plain, packed)]
    assert stored[0] - stored[1] >= saved


def test_activations_below_eight_bits_are_clipped(tiny_space):
    graph = tiny_space.subnet(baselines(tiny_space)["w4a4 smallest"]).graph
    model = lower(graph)
    names = {node.name: node.format for node in graph.nodes if isinstance(node, Quantize)}
    narrow = [name for name, number_format in names.items() if number_format.bits == 4]
    for name in narrow:
        model.graph.output.append(onnx.helper.make_tensor_value_info(f"{name}/integers", onnx.TensorProto.UINT8, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = 5 * np.random.default_rng(0).standard_normal((1, 1, 8, 8)).astype(np.float32)
    for integers in session.run([f"{name}/integers" for name in narrow], {"images": images}):
        assert integers.max() <= 15


def test_missing_weights_are_a_fault(tiny_space):
    graph = tiny_space.subnet(np.zeros(len(tiny_space.choices), np.int16)).graph
    with pytest.raises(KeyError, match="stem/normalize/mean"):
        lower(graph, {})
