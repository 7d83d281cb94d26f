import pytest
import torch

from nas.quantizers.integers import (
    choose_scale,
    choose_scale_and_zero_point,
    dequantize,
    fake_quantize,
    quantize,
    round_ste,
    scale_gradient,
)
from nas.supernet.folding import CLEAR_OF_TIES, MAX_BIAS, batch_norm_line, fold_integers, nudge_scales


def test_rounding_ties_and_saturation():
    values = torch.tensor([-9.0, -2.5, -1.5, -0.5, 0.0, 0.5, 1.5, 2.5, 9.0])
    assert quantize(values, torch.tensor(1.0), -3, 3).tolist() == [-3, -2, -2, 0, 0, 0, 2, 2, 3]
    assert dequantize(torch.tensor([-3.0, 2.0]), torch.tensor(0.5)).tolist() == [-1.5, 1.0]


@pytest.mark.parametrize("bits", range(2, 9))
def test_every_representable_value_stays(bits):
    qmax = 2 ** (bits - 1) - 1
    values = torch.arange(-qmax, qmax + 1) * 0.25
    assert (fake_quantize(values, torch.tensor(0.25), -qmax, qmax) == values).all()


def test_gradients_are_those_of_lsq():
    x = torch.tensor([-5.0, 0.3, 1.2, 9.0], requires_grad=True)
    scale = torch.tensor(0.5, requires_grad=True)
    fake_quantize(x, scale, 0, 7).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 0]
    # In range: round(x / s) - x / s; saturated: the bound.
    assert scale.grad.item() == pytest.approx(0 + (1 - 0.6) + (2 - 2.4) + 7)
    y = torch.tensor(3.0, requires_grad=True)
    scaled = scale_gradient(y, 0.1)
    scaled.backward()
    assert (scaled.item(), y.grad.item()) == pytest.approx((3.0, 0.1))


@pytest.mark.parametrize("qmax", [1, 3, 7, 127])
def test_scale_has_the_least_error(qmax):
    values = torch.randn(5, 400, generator=torch.Generator().manual_seed(qmax))
    found = choose_scale(values, qmax)

    def error(scale):
        return (fake_quantize(values, scale[:, None], -qmax, qmax) - values).square().sum(dim=1)

    assert found.shape == (5,)
    if qmax < 127:
        for factor in torch.linspace(0.25, 1, 40):
            assert (error(found) <= error(factor * values.abs().amax(dim=1) / qmax) * (1 + 1e-5)).all()
    else:
        assert (found == values.abs().amax(dim=1) / qmax).all()


def test_scale_of_zeros_is_positive():
    assert (choose_scale(torch.zeros(2, 9), 7) > 0).all()


def folded_output(integers, scale, bias, input_scale, x):
    return (integers * scale[:, None]) @ (x * input_scale) + bias * scale * input_scale


@pytest.mark.parametrize("gamma", [1.0, -1.0, 1e-3, -1e-6, 1e-12, 0.0])
def test_folding_equals_batch_norm(gamma):
    generator = torch.Generator().manual_seed(0)
    integers = torch.randint(-7, 8, (4, 20), generator=generator).double()
    scale = torch.rand(4, generator=generator).double() + 0.1
    mean, var = torch.randn(4, generator=generator).double(), torch.rand(4, generator=generator).double() + 0.5
    beta = torch.tensor([0.5, -0.5, 0.0, 100.0]).double()
    input_scale = torch.tensor(0.05).double()
    slope, intercept = batch_norm_line(torch.full((4,), gamma).double(), beta, mean, var)
    folded, new_scale, bias = fold_integers(integers, scale, slope, intercept, input_scale)
    assert (folded.abs() <= 7).all()
    assert (bias.abs() <= MAX_BIAS).all()
    assert (bias == bias.round()).all()
    assert (new_scale > 0).all()
    x = torch.randint(0, 16, (20,), generator=generator).double()
    expected = ((integers * scale[:, None]) @ (x * input_scale)) * slope + intercept
    found = folded_output(folded, new_scale, bias, input_scale, x)
    step = input_scale * new_scale  # a bias is rounded to this
    assert ((found - expected).abs() <= 0.5 * step + 1e-6 * expected.abs() + 1e-6).all()


def test_a_channel_without_influence_and_bias_is_zero():
    zero = torch.zeros(1).double()
    folded, scale, bias = fold_integers(torch.ones(1, 3).double(), torch.ones(1).double(), zero, zero, torch.tensor(0.1))
    assert (folded.abs().sum(), scale.item(), bias.item()) == (0, 1.0, 0)


def distances_from_ties(scale, max_value):
    """Return how far the nearest sum is from lying between two output integers, as a share of it; other scales are 1."""
    sums = torch.arange(1, int((max_value + 1) / scale.min()) + 1).double()
    values = sums * scale.double()[:, None]
    distance = (values - values.floor() - 0.5).abs() / values
    return torch.where(values < max_value, distance, torch.inf).amin(dim=1)


def test_no_sum_of_few_bits_lies_between_two_integers():
    one = torch.tensor(1.0)
    scale = torch.cat(
        [torch.tensor([23 / 68, 0.5, 0.25]), 0.02 + torch.rand(2000, generator=torch.Generator().manual_seed(0))]
    )
    assert distances_from_ties(scale, 15)[0] < 1e-7  # 34 of these are 11.5
    assert (distances_from_ties(scale, 15) < CLEAR_OF_TIES).sum() > 10
    moved = nudge_scales(scale, one, one, 15)
    assert (distances_from_ties(moved, 15) > CLEAR_OF_TIES).all()
    assert (moved >= scale).all()
    assert (moved <= 1.0016 * scale).all()
    free = distances_from_ties(scale, 15) > 1.01 * CLEAR_OF_TIES
    assert (moved[free] == scale[free]).all()


def test_scales_that_no_hair_frees_of_ties_move_away_from_them():
    scale = 0.002 + 0.01 * torch.rand(50, generator=torch.Generator().manual_seed(0))
    one = torch.tensor(1.0)
    moved = nudge_scales(scale, one, one, 255)
    assert (distances_from_ties(moved, 255) >= distances_from_ties(scale, 255) * 0.9).all()


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("zero_share", [0.0, 0.3, 1.0])
def test_every_asymmetric_integer_stays(bits, zero_share):
    """Each integer, the ties between them, and what lies outside."""
    zero_point = round(zero_share * (2**bits - 1))
    qmin, qmax = -zero_point, 2**bits - 1 - zero_point
    integers = torch.arange(qmin, qmax + 1)
    ends = torch.tensor(float(qmin)), torch.tensor(float(qmax))
    assert torch.equal(fake_quantize(integers * 0.25, torch.tensor(0.25), *ends), integers * 0.25)
    ties = integers[:-1] + 0.5
    assert torch.equal(quantize(ties, torch.tensor(1.0), qmin, qmax), 2 * (ties / 2).round())
    outside = torch.tensor([-1e9, 1e9, 0.0, -0.0])
    assert quantize(outside, torch.tensor(1.0), qmin, qmax).tolist() == [qmin, qmax, 0, 0]


def test_the_range_of_asymmetric_integers_learns():
    qmin, qmax = torch.tensor(-1.0, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    fake_quantize(torch.tensor([-5.0, 0.2, 9.0, 9.0]), torch.tensor(0.5), qmin, qmax).sum().backward()
    assert (qmin.grad.item(), qmax.grad.item()) == (0.5, 1.0)


def test_a_zero_point_out_of_range_can_come_back():
    for start, expected in ((-3.0, 0.0), (20.0, 15.0), (7.4, 7.0)):
        zero_point = torch.tensor(start, requires_grad=True)
        rounded = round_ste(zero_point, 0, 15)
        rounded.backward()
        assert rounded.item() == pytest.approx(expected, abs=1e-6)
        assert zero_point.grad == 1


@pytest.mark.parametrize("qmax", [3, 15, 255])
def test_scale_and_zero_point_fit_the_values(qmax):
    values = torch.nn.functional.hardswish(torch.randn(4000, generator=torch.Generator().manual_seed(0)) * 2)
    scale, zero_point = choose_scale_and_zero_point(values, qmax)
    assert zero_point == zero_point.round()
    assert 0 <= zero_point <= qmax

    def error(scale, zero_point):
        rounded = fake_quantize(values, scale, -zero_point, qmax - zero_point)
        return float((rounded - values).square().mean())

    symmetric = choose_scale(values[None], (qmax + 1) // 2 - 1)[0]
    assert error(scale, zero_point) <= error(symmetric, torch.tensor((qmax + 1) / 2))
    whole_range = (values.max() - values.min()) / qmax
    assert error(scale, zero_point) <= 1.001 * error(whole_range, (-values.min() / whole_range).round())
    assert choose_scale_and_zero_point(torch.zeros(5), qmax)[0] > 0
    assert choose_scale_and_zero_point(torch.tensor([1.0, torch.nan]), qmax)[0].isnan()


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN cannot be quantized"):
        quantize(torch.tensor([0.0, torch.nan]), torch.tensor(1.0), -3, 3)
