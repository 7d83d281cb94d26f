"""What is read of an ONNX file computes what the file computes; every pattern is right, and can be left out."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from search_spaces.errors import InvalidInputError
from search_spaces.importing.canonical import canonicalize, read_model
from search_spaces.importing.patterns import PATTERNS
from search_spaces.importing.reader import read
from search_spaces.importing.space import adopt
from search_spaces.lowering import lower
from search_spaces.operators.opaque import Opaque
from tests.onnx_models import model, node, run, small_network

F = np.float32


def conv_then(*nodes, constants=(), channels=4, shape=(1, 3, 6, 6), output="y", **conv):
    """A convolution called `c`, then other operators."""
    rng = np.random.default_rng(1)
    size = conv.get("kernel_shape", [3, 3])
    weight = rng.normal(0, 0.5, (channels, shape[1] // conv.get("group", 1), *size)).astype(F)
    first = node("Conv", ["x", "w"], "c", **{"pads": [1] * 4, **conv})
    return model([first, *nodes], {"x": shape}, [output], {"w": weight, **dict(constants)})


def per_channel(seed, n=4, shape=(1, 4, 1, 1)):
    return np.random.default_rng(seed).normal(1, 0.3, n).astype(F).reshape(shape)


X3 = {"three": F(3), "low": F(0), "high": F(6), "six": F(6), "sixth": F(1 / 6)}
NORM = {f"n{i}": np.random.default_rng(i).uniform(0.5, 1.5, 4).astype(F) for i in range(4)}
DENSE = {"dense": np.random.default_rng(3).normal(0, 1, (64, 5)).astype(F), "flat": np.array([1, 64])}
CASES = {
    "padding": model(
        [node("Pad", ["x", "amounts"], "p"), node("Conv", ["p", "w"], "y", strides=[2, 2])],
        {"x": (1, 3, 6, 6)},
        ["y"],
        {"amounts": np.array([0, 0, 0, 1, 0, 0, 1, 2]), "w": np.random.default_rng(0).normal(0, 1, (4, 3, 3, 3)).astype(F)},
    ),
    "batch_norm": conv_then(node("BatchNormalization", ["c", "n0", "n1", "n2", "n3"], "y", epsilon=1e-3), constants=NORM),
    "line": conv_then(
        node("Mul", ["c", "m"], "d"),
        node("Add", ["b", "d"], "e"),
        node("Sub", ["k", "e"], "f"),
        node("Div", ["f", "m"], "y"),
        constants={"m": per_channel(0), "b": per_channel(1, shape=(4, 1, 1)), "k": per_channel(2, 1, (1,))},
    ),
    "hard_swish": conv_then(
        node("Add", ["c", "three"], "d"),
        node("Clip", ["d", "low", "high"], "e"),
        node("Mul", ["c", "e"], "f"),
        node("Div", ["f", "six"], "y"),
        constants=X3,
    ),
    "global_pool": conv_then(node("ReduceMean", ["c", "axes"], "y", keepdims=0), constants={"axes": np.array([-1, -2])}),
    "flatten": conv_then(
        node("Reshape", ["c", "flat"], "d"), node("MatMul", ["d", "dense"], "y"), constants=DENSE, pads=[0] * 4
    ),
    "transposed": model(
        [
            node("ConvTranspose", ["x", "w", "b"], "t", strides=[2, 2], kernel_shape=[2, 2], auto_pad="NOTSET"),
            node("Conv", ["t", "v"], "y"),
        ],
        {"x": (1, 3, 4, 5)},
        ["y"],
        {
            "w": np.random.default_rng(0).normal(0, 1, (3, 4, 2, 2)).astype(F),
            "b": per_channel(5, shape=(4,)),
            "v": np.random.default_rng(1).normal(0, 1, (2, 4, 1, 1)).astype(F),
        },
    ),
    "one_dimension": model(
        [
            node("Conv", ["x", "w", "b"], "c", strides=[2], pads=[1, 0]),
            node("Relu", ["c"], "r"),
            node("Conv", ["r", "v"], "y"),
        ],
        {"x": (1, 3, 16)},
        ["y"],
        {
            "w": np.random.default_rng(0).normal(0, 1, (4, 3, 3)).astype(F),
            "b": per_channel(5, shape=(4,)),
            "v": np.random.default_rng(1).normal(0, 1, (2, 4, 3)).astype(F),
        },
    ),
}


def as_read(proto, left_out=()):
    imported = read(canonicalize(onnx.ModelProto.FromString(proto.SerializeToString())), left_out=left_out)
    return imported, lower(adopt(imported).in_format("float32"), imported.weights)


def same(proto, mine, **inputs):
    for theirs, ours in zip(run(proto, **inputs), run(mine, **inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("name", list(PATTERNS))
def test_every_pattern_matches_and_changes_nothing(name, rng):
    proto = CASES[name]
    x = rng.standard_normal([d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]).astype(F)
    imported, mine = as_read(proto)
    assert imported.patterns[name]
    same(proto, mine, x=x)
    if name != "one_dimension":  # without which nothing is left that has formats
        others, mine = as_read(proto, PATTERNS.names)
        assert not others.patterns
        same(proto, mine, x=x)


def test_a_small_network_is_read_with_its_groups(rng):
    imported = read(canonicalize(small_network()))
    assert dict(imported.kinds()) == {
        "conv": 2,
        "relu6": 1,
        "add": 1,
        "relu": 1,
        "globalaveragepool": 1,
        "linear": 1,
    }
    assert imported.known_share == imported.read_share == 1.0
    space = adopt(imported).space
    assert [choice.name for choice in space.choices] == ["stem/Conv/format", "body/Conv/format", "head/Gemm/format"]
    assert space.size == 27


def test_formats_of_single_groups_by_a_pattern():
    imported = read(canonicalize(small_network()))
    space = adopt(imported, fixed={"*": ["w8a8"], "stem*": ["float32", "w8a8"]}).space
    assert [choice.options for choice in space.choices] == [("float32", "w8a8"), ("w8a8",), ("w8a8",)]
    with pytest.raises(InvalidInputError, match=r"no group is called 'tail'; the groups are stem/Conv"):
        adopt(imported, fixed={"tail": ["w8a8"]})


def test_what_is_not_known_stays_as_it_is(rng):
    proto = conv_then(node("Softplus", ["c"], "d"), node("Celu", ["d"], "e"), node("Sum", ["e", "c"], "y"))
    imported, mine = as_read(proto)
    assert set(imported.unknown.values()) == {"Celu"}
    assert sum(isinstance(each, Opaque) for each in imported.nodes) == 3
    same(proto, mine, x=rng.standard_normal((1, 3, 6, 6)).astype(F))
    in_integers = adopt(imported).in_format("w8a8")
    assert [each.op for each in in_integers.nodes if each.op == "quantize"] == ["quantize"] * 2  # input and convolution


def test_weights_shared_by_two_layers_may_have_different_scales(rng):
    weight = np.random.default_rng(0).normal(0, 1, (3, 3, 3, 3)).astype(F)
    nodes = [
        node("Conv", ["x", "w"], "c", pads=[1] * 4),
        node("BatchNormalization", ["c", "n0", "n1", "n2", "n3"], "d"),
        node("Conv", ["d", "w"], "y", pads=[1] * 4),
    ]
    proto = model(nodes, {"x": (1, 3, 5, 5)}, ["y"], {"w": weight, **{k: v[:3] for k, v in NORM.items()}})
    imported, mine = as_read(proto)
    first, second = (weight for name, weight in imported.weights.items() if name.endswith("/weight"))
    assert not np.allclose(first, second)
    same(proto, mine, x=rng.standard_normal((1, 3, 5, 5)).astype(F))


def test_branches_with_a_constant_condition_are_taken(rng):
    inner = helper.make_graph(
        [helper.make_node("Add", ["c", "one"], ["inside"])],
        "then",
        [],
        [helper.make_tensor_value_info("inside", TensorProto.FLOAT, None)],
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["c"], ["outside"])],
        "else",
        [],
        [helper.make_tensor_value_info("outside", TensorProto.FLOAT, None)],
    )
    chosen = helper.make_node("If", ["yes"], ["y"], name="if", then_branch=inner, else_branch=other)
    proto = conv_then(chosen, constants={"yes": np.array(True), "one": F(1)})
    _, mine = as_read(proto)
    same(proto, mine, x=rng.standard_normal((1, 3, 6, 6)).astype(F))


def test_several_inputs_and_outputs_one_of_them_taken_further_and_none_with_a_batch_axis(rng):
    nodes = [
        node("Conv", ["x", "w"], "c", pads=[1] * 4),
        node("Relu", ["c"], "r"),
        node("ReduceMean", ["r", "axes"], "m", keepdims=0),
        node("Add", ["m", "state"], "z"),
    ]
    proto = model(
        nodes,
        {"x": (1, 3, 6, 6), "state": (2, 4)},
        ["r", "z"],
        {"w": rng.normal(0, 1, (4, 3, 3, 3)).astype(F), "axes": np.array([2, 3])},
    )
    _, mine = as_read(proto)
    inputs = {"x": rng.standard_normal((1, 3, 6, 6)).astype(F), "state": rng.standard_normal((2, 4)).astype(F)}
    same(proto, mine, **inputs)
    assert [output.name for output in mine.graph.output] == ["r", "z"]


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_padding_that_an_operator_chooses_itself(mode, rng):
    weight = rng.normal(0, 1, (4, 3, 3, 3)).astype(F)
    conv = node("Conv", ["x", "w"], "y", auto_pad=mode, strides=[2, 2])
    proto = model([conv], {"x": (1, 3, 6, 7)}, ["y"], {"w": weight})
    _, mine = as_read(proto)
    same(proto, mine, x=rng.standard_normal((1, 3, 6, 7)).astype(F))


# ---------------------------------------------------------------------- what cannot be read ends in one sentence


def test_open_shapes_are_asked_for():
    proto = small_network()
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    with pytest.raises(InvalidInputError, match=r"input 'x' has the open shape \(N,1,height,8\): say it by --shape x=1"):
        canonicalize(proto)
    assert canonicalize(proto, {"x": (1, 1, 8, 8)}).shapes["x"] == (1, 1, 8, 8)
    with pytest.raises(InvalidInputError, match="input 'x' has 8 along axis 3, --shape gives 9"):
        canonicalize(proto, {"x": (1, 1, 8, 9)})
    with pytest.raises(InvalidInputError, match=r"no input \['z'\]; it has \['x'\]"):
        canonicalize(small_network(), {"z": (1,)})


def test_what_is_quantized_already_is_refused():
    scale = {"s": F(0.1), "z": np.uint8(0)}
    proto = conv_then(
        node("QuantizeLinear", ["c", "s", "z"], "q"), node("DequantizeLinear", ["q", "s", "z"], "y"), constants=scale
    )
    with pytest.raises(
        InvalidInputError, match=r"quantized already \(DequantizeLinear, QuantizeLinear\): adopt the float32"
    ):
        canonicalize(proto)


def test_half_precision_is_refused():
    proto = model([node("Relu", ["x"], "y")], {"x": (1, 3)}, ["y"], dtype=TensorProto.FLOAT16)
    with pytest.raises(InvalidInputError, match="tensor 'x' is float16: adopt the model in float32"):
        canonicalize(proto)


def test_batch_norms_in_training_mode_are_refused():
    proto = conv_then(node("BatchNormalization", ["c", "n0", "n1", "n2", "n3"], "y", "bn", training_mode=1), constants=NORM)
    with pytest.raises(InvalidInputError, match="batch norm 'bn' is in training mode"):
        canonicalize(proto)


def test_operators_of_other_domains_are_refused():
    proto = conv_then(node("Special", ["c"], "y", domain="com.mine"))
    with pytest.raises(InvalidInputError, match="operator 'Special' is of domain 'com.mine', not ONNX's own"):
        canonicalize(proto)


def test_shapes_that_depend_on_values_are_refused():
    proto = conv_then(node("NonZero", ["c"], "d"), node("Transpose", ["d"], "e"), node("Cast", ["e"], "y", to=1))
    with pytest.raises(InvalidInputError, match=r"what operator 'd' \(NonZero\) gives depends on values"):
        canonicalize(proto)


def test_an_old_opset_is_converted(rng):
    weight = rng.normal(0, 1, (4, 3, 3, 3)).astype(F)
    nodes = [node("Conv", ["x", "w"], "c"), node("Clip", ["c"], "y", min=0.0, max=6.0)]
    proto = model(nodes, {"x": (1, 3, 6, 6)}, ["y"], {"w": weight}, opset=8)
    imported, mine = as_read(proto)
    assert imported.kinds()["relu6"] == 1
    same(proto, mine, x=rng.standard_normal((1, 3, 6, 6)).astype(F))


def test_nothing_to_choose_is_refused():
    proto = model([node("Relu", ["x"], "y")], {"x": (1, 3, 4, 4)}, ["y"])
    with pytest.raises(InvalidInputError, match="no convolution or linear layer that hwnas knows"):
        adopt(read(canonicalize(proto)))


def test_files_that_are_none(tmp_path):
    file = tmp_path / "model.onnx"
    with pytest.raises(InvalidInputError, match="cannot read"):
        read_model(file)
    file.write_bytes(small_network().SerializeToString()[:300])
    with pytest.raises(InvalidInputError, match="is no ONNX model, or is cut off|holds no operators"):
        read_model(file)
    proto = small_network()
    onnx.save(proto, tmp_path / "external.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert len(read_model(tmp_path / "external.onnx").graph.node) == 7
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(InvalidInputError, match="external"):
        read_model(tmp_path / "external.onnx")


def test_operators_with_several_results_of_which_one_is_taken(rng):
    proto = conv_then(
        helper.make_node("TopK", ["c", "k"], ["y", "unused"], name="top", axis=-1), constants={"k": np.array([2])}
    )
    imported, mine = as_read(proto)
    assert set(imported.unknown.values()) == {"TopK"}
    same(proto, mine, x=rng.standard_normal((1, 3, 6, 6)).astype(F))


def test_batch_norms_and_biases_behind_layers_on_tokens(rng):
    weights = {"m": rng.normal(0, 1, (4, 7)).astype(F), "b": rng.normal(0, 1, 7).astype(F)}
    norm = {f"n{i}": rng.uniform(0.5, 1.5, 7).astype(F) for i in range(4)}
    nodes = [
        node("MatMul", ["x", "m"], "c"),
        node("BatchNormalization", ["c", "n0", "n1", "n2", "n3"], "d"),
        node("MatMul", ["d", "q"], "e"),
        node("Add", ["e", "b"], "y"),
    ]
    proto = model(nodes, {"x": (1, 7, 4)}, ["y"], {**weights, **norm, "q": rng.normal(0, 1, (7, 7)).astype(F)})
    _, mine = as_read(proto)
    same(proto, mine, x=rng.standard_normal((1, 7, 4)).astype(F))


def test_what_depends_on_no_input_or_on_values_ends_in_a_sentence():
    constants = {"w": np.ones((1, 1, 3, 3), F), "k": np.ones(2, F)}
    proto = model([node("Conv", ["x", "w"], "y")], {"x": (1, 1, 4, 4)}, ["y", "k"], constants)
    with pytest.raises(InvalidInputError, match="output 'k' does not depend on any input"):
        canonicalize(proto)
    with pytest.raises(InvalidInputError, match=r"\(NonZero\) gives depends on values"):
        canonicalize(conv_then(node("NonZero", ["c"], "y")))
    branch = helper.make_graph(
        [helper.make_node("Neg", ["c"], ["n"])], "b", [], [helper.make_tensor_value_info("n", 1, None)]
    )
    choose = helper.make_node("If", ["f"], ["y"], name="if", then_branch=branch, else_branch=branch)
    nodes = [node("ReduceMax", ["c"], "m", keepdims=0), node("Greater", ["m", "zero"], "f"), choose]
    with pytest.raises(InvalidInputError, match=r"operator 'if' \(If\) chooses by what the model computes"):
        canonicalize(conv_then(*nodes, constants={"zero": F(0)}))
