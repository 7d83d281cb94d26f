"""How much of a difference between two networks is chance, where both are scored on the same samples."""

from collections.abc import Sequence

import numpy as np

from nas.objectives.supernet_evaluator import SupernetEvaluator
from search_spaces.space.subnet import Subnet

SIGMAS = 2.0
N_RESAMPLES = 2_000


def paired_noise(evaluator: SupernetEvaluator, reference: Subnet, others: Sequence[Subnet], *, seed: int) -> float:
    """Return the difference of a task's first metric that means nothing: two standard errors, of the median pair.

    Args:
        evaluator: Scores networks on the validation samples.
        reference: A network.
        others: Networks that are compared with it, one or more.
        seed: Of the resamples.

    Source:
        Koehn 2004, "Statistical significance tests for machine translation evaluation": a bootstrap over samples that both
        networks were scored on, so that what is hard for both takes no part.
    """
    metric = evaluator.task.metric.name
    first = evaluator.scores(reference, "val")[metric]
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(first), size=(N_RESAMPLES, len(first)))
    differences = [evaluator.scores(other, "val")[metric] - first for other in others]
    return SIGMAS * float(np.median([each[drawn].mean(axis=1).std() for each in differences]))
