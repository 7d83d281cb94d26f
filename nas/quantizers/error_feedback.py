"""Rounding in groups with error feedback: what rounding a weight changes is made up for by those behind it."""

import torch
from torch import Tensor

from nas.quantizers.groups import choose_group_scale
from nas.quantizers.integers import ChooseScale

DAMPING = 0.01  # of the mean of the diagonal


@torch.no_grad()
def round_with_feedback(
    weight: Tensor, moments: Tensor, group: int, qmax: int, choose: ChooseScale
) -> tuple[Tensor, Tensor]:
    """Round a weight so that what the layer gives changes least on its inputs.

    One input after the other is rounded; the scales of a group are chosen when it is reached.

    Args:
        weight: Shape `(out, in)`.
        moments: Means of products of inputs, shape `(in, in)`.
        group: Divides `in`.
        qmax: Greatest integer; the least is `-qmax - 1`.
        choose: Chooses the scales of rows, see `choose_scale`.

    Returns:
        The integers as 8 bits, shape `(out, in)`, and the scales `(out, in / group)`.

    Source:
        GPTQ: Frantar et al. 2022, arXiv:2210.17323.
    """
    upper = _upper(moments)
    left = weight.T.clone(memory_format=torch.contiguous_format)
    integers, scales = torch.empty_like(left), []
    for start in range(0, len(left), group):
        end = start + group
        rows, within = left[start:end], upper[start:end, start:end]
        scale = choose_group_scale(rows.T.contiguous(), group, qmax, choose)[:, 0]
        errors = torch.empty_like(rows)
        for j in range(group):
            integers[start + j] = (rows[j] / scale).round().clamp(-qmax - 1, qmax)
            errors[j] = (rows[j] - integers[start + j] * scale) / within[j, j]
            rows[j + 1 :].addr_(within[j, j + 1 :], errors[j], alpha=-1)
        left[end:].addmm_(upper[start:end, end:].T, errors, alpha=-1)
        scales.append(scale)
    return integers.T.contiguous().to(torch.int8), torch.stack(scales, dim=1)


def _upper(moments: Tensor) -> Tensor:
    """Return the upper factor of the inverse of damped moments; an input that is always zero gets the damping alone."""
    damped = moments.double().clone()
    damped.diagonal().add_(DAMPING * float(damped.diagonal().mean()) + 1e-10)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    upper: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return upper.float()
