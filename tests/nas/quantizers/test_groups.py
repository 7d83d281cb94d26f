"""Groups with a scale each: its sign, its search, and rounding with error feedback."""

import pytest
import torch

from nas.quantizers.compiled import compiled_quantizer
from nas.quantizers.error_feedback import round_with_feedback
from nas.quantizers.groups import choose_group_scale, dequantize_groups, fake_quantize_groups, quantize_groups
from nas.quantizers.integers import choose_scale

WEIGHT = torch.randn(24, 64, generator=torch.Generator().manual_seed(0))


def nearest(weight, group, qmax, choose=choose_scale):
    scale = choose_group_scale(weight, group, qmax, choose)
    return quantize_groups(weight, scale, qmax), scale


@pytest.mark.parametrize("qmax", [1, 7, 127])
def test_all_integers_are_used_and_the_greatest_weight_has_the_longer_side(qmax):
    integers, scale = nearest(WEIGHT, 32, qmax)
    assert integers.min() >= -qmax - 1
    assert integers.max() <= qmax
    groups = WEIGHT.reshape(24, 2, 32)
    greatest = groups.gather(2, groups.abs().argmax(dim=2, keepdim=True))[..., 0]
    if qmax < 127:
        assert (integers == -qmax - 1).any()
        assert ((greatest * scale) < 0).all()
    assert torch.equal(fake_quantize_groups(WEIGHT, scale, qmax), dequantize_groups(integers, scale))


@pytest.mark.parametrize(("qmax", "less"), [(1, 0.75), (7, 0.9)])
def test_one_integer_more_errs_less_than_symmetric_ones(qmax, less):
    integers, scale = nearest(WEIGHT, 32, qmax)
    rows = WEIGHT.reshape(-1, 32)
    symmetric = choose_scale(rows, qmax)[:, None]
    error = ((rows / symmetric).round().clamp(-qmax, qmax) * symmetric - rows).square().sum()
    assert (dequantize_groups(integers, scale) - WEIGHT).square().sum() < less * error


def test_what_lies_on_such_a_grid_stays():
    scale = torch.tensor([[0.5, -0.25]])
    weight = dequantize_groups(torch.tensor([[-8.0, *range(-7, 8), -8.0, *range(-7, 8)]]), scale)
    found, chosen = nearest(weight, 16, 7)
    assert torch.equal(chosen, scale)
    assert torch.equal(dequantize_groups(found, chosen), weight)


def test_groups_of_zeros_stay_zero():
    integers, scale = nearest(torch.zeros(2, 32), 16, 7)
    assert torch.equal(dequantize_groups(integers, scale), torch.zeros(2, 32))


def test_the_compiled_search_finds_the_same_scales():
    choose = compiled_quantizer()[1]
    for qmax in (1, 7):
        found, expected = (choose_group_scale(WEIGHT, 32, qmax, each) for each in (choose, choose_scale))
        assert torch.allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("qmax", [1, 7])
def test_error_feedback_changes_less_of_what_a_matrix_gives(qmax):
    generator = torch.Generator().manual_seed(1)
    mixing = torch.randn(64, 64, generator=generator)
    inputs = torch.randn(500, 64, generator=generator) @ mixing
    inputs[:, 5] = 0.0
    integers, scale = round_with_feedback(WEIGHT, inputs.T @ inputs / 500, 16, qmax, choose_scale)
    assert integers.dtype == torch.int8
    assert integers.min() >= -qmax - 1
    assert integers.max() <= qmax
    changes = [
        (inputs @ (dequantize_groups(found.float(), scales) - WEIGHT).T).square().mean()
        for found, scales in ((integers, scale), nearest(WEIGHT, 16, qmax))
    ]
    assert changes[0] < 0.6 * changes[1]


def test_uncorrelated_inputs_leave_the_nearest_integers():
    integers, scale = round_with_feedback(WEIGHT, torch.eye(64), 16, 7, choose_scale)
    expected, scales = nearest(WEIGHT, 16, 7)
    assert torch.allclose(scale, scales)
    assert (integers == expected).all()
