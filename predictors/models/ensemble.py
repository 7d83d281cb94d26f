"""Ensembles: predictors of different kinds together."""

import math
from collections.abc import Sequence

import numpy as np
from sklearn.base import clone

from predictors.features.features import Features
from predictors.models.bagging import trees_predictor
from predictors.models.gaussian_process import WEIGHT_OF_CHOICE, GaussianProcessPredictor
from predictors.models.ridge import RidgePredictor
from predictors.predictor import PREDICTORS, CheckedPredictor, Floats, Predictor, mixture_of, relearn


class EnsemblePredictor(CheckedPredictor):
    """Members of different kinds; the variance is their mean variance plus the variance of their means.

    Args:
        members: Predictors.

    Source:
        Lakshminarayanan et al. 2017, arXiv:1612.01474, section 2.4.
    """

    def __init__(self, members: Sequence[Predictor]) -> None:
        self.members = members

    def _learn(self, X: Floats, y: Floats) -> None:  # noqa: N803
        self.members_ = [clone(member).fit(X, y) for member in self.members]

    def _relearn(self, X: Floats, y: Floats) -> None:  # noqa: N803
        for member in self.members_:
            relearn(member, X, y)

    def _mixture(self, X: Floats) -> tuple[Floats, Floats]:  # noqa: N803
        answers = [mixture_of(member, X) for member in self.members_]
        n = math.lcm(*(len(means) for means, _ in answers))  # every member weighs as much, one that is a mixture itself too
        means, deviations = (
            np.concatenate([np.repeat(part, n // len(part), axis=0) for part in column])
            for column in zip(*answers, strict=True)
        )
        return means, deviations

    def _answer(self, X: Floats, return_std: bool) -> Floats | tuple[Floats, Floats]:  # noqa: N803
        answers = [member.predict(X, return_std=True) for member in self.members_]
        means, deviations = (np.array(column) for column in zip(*answers, strict=True))
        mean = means.mean(axis=0)
        return (mean, np.sqrt((deviations**2).mean(axis=0) + means.var(axis=0))) if return_std else mean


@PREDICTORS.register("gaussian_process")
def gaussian_process_predictor(features: Features | None = None) -> EnsemblePredictor:
    """Return two Gaussian processes: lengths by choice, held tight, for few measurements; lengths by feature for many.

    Where the features say what stands next to what, two more see that too.

    Measured on NAS-Bench-201 (experiments/results/search.md): the first alone learns faster, the second ends better, and
    their mean does both; with the cell both get better (experiments/results/signals.md).
    """
    if features is None:
        return EnsemblePredictor([GaussianProcessPredictor(weight=WEIGHT_OF_CHOICE), GaussianProcessPredictor()])
    n, groups = features.n_encoded, features.groups
    counts = features.n_counts
    members = [
        GaussianProcessPredictor(groups[:n], counts or None, WEIGHT_OF_CHOICE, n_columns=n),
        GaussianProcessPredictor(np.arange(n), counts or None, n_columns=n),
    ]
    if features.n_topology:
        lines = counts + features.n_topology
        by_feature = np.concatenate([np.arange(n), n + groups[n:]])  # what is told after one round shares a length
        members += [
            GaussianProcessPredictor(groups, lines, WEIGHT_OF_CHOICE),
            GaussianProcessPredictor(by_feature, lines),
        ]
    return EnsemblePredictor(members)


@PREDICTORS.register("ensemble")
def ensemble_predictor(features: Features | None = None) -> EnsemblePredictor:
    """Return a line, Gaussian processes and trees together."""
    return EnsemblePredictor([RidgePredictor(), gaussian_process_predictor(features), trees_predictor(features)])
