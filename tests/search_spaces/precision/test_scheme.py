import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import InvalidInputError, QuantScheme, mobilenet
from search_spaces.families.heads import TEN_CLASSES
from search_spaces.families.stages import Stage
from search_spaces.precision.granularity import PerAxis, PerGroup, PerTensor
from search_spaces.precision.grouped import dequantize_groups, pack_codes, round_rows, unpack_codes

GROUPED = ["w4a32-g16", "w4a32-g128", *(f"w{b}a8d-g{g}" for b in (2, 4, 8) for g in (32, 64, 128)), "w8a8d-g16"]


@pytest.mark.parametrize("name", GROUPED)
def test_names_of_groups_come_back_and_answer_the_five_questions(name):
    scheme = QuantScheme.from_name(name)
    assert scheme.name == name
    assert scheme.is_grouped
    assert not (scheme.is_static)
    assert not (scheme.is_float32)
    assert not (scheme.is_minifloat)
    assert isinstance(scheme.granularity, PerGroup)
    assert scheme.group == int(name.rpartition("g")[2])
    assert scheme.is_dynamic == ("8d" in name)
    assert scheme.border.is_float32
    assert scheme.price_class == "float32"
    assert scheme.n_scales((3, 256)) == 3 * 256 // scheme.group


def test_granularity_of_others():
    assert QuantScheme.from_name("w8a8").granularity == PerAxis()
    assert QuantScheme.from_name("w8a8-tensor").granularity == PerTensor()
    assert [QuantScheme.from_name(n).n_scales((7, 5)) for n in ("float32", "w8a8", "w8a8-tensor")] == [0, 7, 1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("w8a8d", "'w8a8d' would have one scale for all tokens of a call.*name a group, as 'w8a8d-g32'"),
        ("w4a32", "'w4a32' would have one scale for all tokens"),
        ("w3a8d-g32", "weights in groups have 2, 4 or 8 bits in groups of 16, 32, 64, 128, got 'w3a8d-g32'"),
        ("w4a8d-g48", "in groups of 16, 32, 64, 128, got 'w4a8d-g48'"),
        ("w8a32-g32", "'w8a32-g32' unpacks the whole weight at every call.*use 'w8a8d-g32' or 'w4a32-g32'"),
        ("w2a8d-g16", "2 bits have kernels in groups of 32, 64 and 128, got 'w2a8d-g16'"),
    ],
)
def test_schemes_without_kernels_are_refused(name, message):
    with pytest.raises(InvalidInputError, match=message):
        QuantScheme.from_name(name)


def test_convolutions_have_no_groups():
    stages = (Stage(depths=(1,), widths=(16,)),)
    settings = {"stem_width": 16, "stages": stages, "formats": ("float32", "w4a8d-g16")}
    with pytest.raises(InvalidInputError, match="'conv' has no kernel for 'w4a8d-g16', which is for layers on tokens"):
        mobilenet("m", input_shape=(1, 8, 8), outputs=TEN_CLASSES, **settings)


@given(st.sampled_from([2, 4, 8]), st.sampled_from([16, 32]), st.integers(0, 2**32 - 1))
def test_codes_come_back(bits, group, seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (3, 2 * group)).astype(np.int8)
    packed = pack_codes(codes, bits, group)
    assert packed.shape == (3, 2, group * bits // 8)
    assert (unpack_codes(packed, bits, codes.shape) == codes).all()


def test_codes_lie_low_bits_first_around_the_middle():
    assert pack_codes(np.array([[-8, 7] + [0] * 14]), 4, 16)[0, 0, 0] == 0xF0
    assert pack_codes(np.array([[-2, -1, 0, 1] + [0] * 12]), 2, 16)[0, 0, 0] == 0b11_10_01_00


def test_activations_are_rounded_by_row_and_group():
    x = np.array([[127.0, 1.4, 0.0, -2.6, 1e-3, 0.0, 0.0, 0.0]], np.float32)
    assert round_rows(x, 4)[0, :4].tolist() == [127.0, 1.0, 0.0, -3.0]
    assert round_rows(x, 4)[0, 4] == np.float32(1e-3)  # the greatest of its group
    assert (round_rows(np.zeros((2, 8), np.float32), 4) == 0).all()
    assert dequantize_groups(np.array([[1, 2, 3, 4]]), np.array([[0.5, 2.0]])).tolist() == [[0.5, 1.0, 6.0, 8.0]]
