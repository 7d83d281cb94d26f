"""What single blocks change of the loss, by its curvature: a signal that is a sum of tables, free once it is computed."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from nas.objectives.signals.supernet import SIGNALS, TrainingLayers
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.supernet.calibrate import CalibratingLayers
from nas.supernet.executor import execute
from nas.supernet.ops import ParameterSource
from nas.tasks.metric import metric_of
from predictors import Signal
from search_spaces.costs import FactorTable
from search_spaces.errors import InvalidInputError
from search_spaces.graph.graph import Graph
from search_spaces.precision.formats import FLOAT32
from search_spaces.precision.placement import place_quantizers
from search_spaces.space.assembly import Block
from search_spaces.space.baselines import uniform_genome
from search_spaces.space.factor import Factor

N_POSITIONS = 4096  # samples, or tokens of samples, of the training split
N_AT_ONCE = 1024  # whose gradients are held
CROSS_ENTROPIES = ("cross_entropy", "bits_per_byte")


@SIGNALS.register("fisher")
def fisher(evaluator: SupernetEvaluator) -> Signal:
    """Return the sum over blocks of what each alone, in the largest network, changes of the logarithm of the loss.

    With the change D that a block makes of what it gives, and the gradient g of the loss of a position, a sample or a token,
    it is half the mean square of g D: the second-order term of the loss, its curvature taken to be Fisher's information.

    It estimates the loss where that is a cross-entropy; elsewhere predictors learn what it says.

    Raises:
        InvalidInputError: If networks are no chains, or a block gives tensors of several shapes.

    Source:
        Fisher's information as curvature: Theis et al. 2018, arXiv:1801.05787; for the choice of formats: Dong et al. 2020,
        HAWQ-V2, arXiv:1911.03852, which takes the trace of the Hessian instead.
    """
    task = evaluator.task
    is_estimate = metric_of(task.metric.loss or task.metric.name).name in CROSS_ENTROPIES
    return Signal("Fisher information of blocks", _table(evaluator), slope=float(is_estimate))


def _table(evaluator: SupernetEvaluator) -> FactorTable:
    space = evaluator.supernet.space
    if not space.is_chain:
        raise InvalidInputError(f"the signal fisher needs networks that are chains; those of space '{space.name}' are none")
    changed: list[dict[Block | None, float]] = [{} for _ in space.blocks]
    loss = sum(_add_changes(evaluator, batch, changed) for batch in _batches(evaluator))
    factors = []
    for factor, change in zip(space.blocks, changed, strict=True):
        values = np.frompyfunc(lambda block, change=change: change[block] / (2 * loss), 1, 1)(factor.values)
        factors.append(Factor(factor.genes, values.astype(np.float64)).reduced())
    return FactorTable(tuple(factors))


def _batches(evaluator: SupernetEvaluator) -> Iterator[dict[str, Tensor]]:
    """Yield the first training samples, as many at once as their gradients fit."""
    per_sample = _positions(evaluator)
    batches = evaluator.data.batches("train", max(1, N_AT_ONCE // per_sample))
    for batch, _ in zip(batches, range(0, N_POSITIONS, N_AT_ONCE), strict=False):
        yield {name: torch.from_numpy(array).to(evaluator.supernet.device) for name, array in batch.items()}


def _positions(evaluator: SupernetEvaluator) -> int:
    shape = evaluator.task.outputs[0].shape
    return shape[0] if len(shape) == 2 else 1


def _add_changes(
    evaluator: SupernetEvaluator, batch: Mapping[str, Tensor], changed: list[dict[Block | None, float]]
) -> float:
    """Add the squares of a batch to those of every block; return the sum of the losses of its positions."""
    supernet, space = evaluator.supernet, evaluator.supernet.space
    genome = uniform_genome(space, "largest")
    largest = [factor(genome[None])[0] for factor in space.blocks]
    with torch.enable_grad():
        given = [batch[evaluator.data.inputs]]
        for block in largest:
            given.append(_run(block, given[-1], TrainingLayers(supernet)))
        mean_loss = evaluator.task.loss(given[-1], dict(batch))
        gradients = torch.autograd.grad(mean_loss, given[1:])
    n = len(given[0]) * _positions(evaluator)
    first = 2 if _positions(evaluator) > 1 else 1  # of the axes that are summed over; tokens that are answered are positions
    given = [tensor.detach() for tensor in given]
    for slot, factor, mine, taken, kept, gradient, found in zip(
        space.slots, space.blocks, largest, given[:-1], given[1:], gradients, changed, strict=True
    ):
        for block in dict.fromkeys(factor.values.flat):
            square = 0.0
            if block != mine:
                with torch.no_grad():
                    other = _run(block, taken, CalibratingLayers(supernet))
                if other.shape != kept.shape:
                    raise InvalidInputError(
                        f"the signal fisher needs blocks that give tensors of one shape; those of '{slot.name}' do not"
                    )
                products = (gradient * (other - kept)).flatten(first).sum(dim=-1) * n
                square = float(products.double().square().sum())
            found[block] = found.get(block, 0.0) + square
    return float(mean_loss.detach()) * n


def _run(block: Block | None, taken: Tensor, source: ParameterSource) -> Tensor:
    """Compute a block on its own, behind a tensor in float32; none gives what it takes."""
    if block is None:
        return taken
    return execute(Graph(place_quantizers(block, [FLOAT32])), taken, source)
