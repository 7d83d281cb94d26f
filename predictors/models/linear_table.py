"""A linear predictor as a sum of small tables, so that its predictions have an exact front."""

import numpy as np

from predictors.features.features import Features
from predictors.models.residual import ResidualPredictor
from predictors.models.ridge import RidgePredictor
from predictors.predictor import Predictor
from search_spaces.costs import FactorTable
from search_spaces.errors import InvalidInputError


def linear_table(features: Features, predictor: Predictor) -> FactorTable:
    """Return a fitted ridge's predictions, or those of one over signals that are tables, as a table over genomes.

    Args:
        features: What the predictor was fitted on.
        predictor: Fitted; a `ResidualPredictor` whose residual is a ridge where there are signals.

    Raises:
        InvalidInputError: If the predictor was fitted on something else, or a feature is no sum of small tables.
    """
    if not isinstance(predictor, RidgePredictor | ResidualPredictor):
        raise InvalidInputError(f"only the predictions of a ridge are a sum of small tables, not those of {predictor!r:.60}")
    if predictor.n_features_in_ != len(features):
        raise InvalidInputError(
            f"the predictor was fitted on {predictor.n_features_in_} features, not on the {len(features)} of space "
            f"'{features.space.name}'"
        )
    if isinstance(predictor, RidgePredictor):
        return features.table(*_line(predictor))
    coefficients, constant = _line(predictor.residual_)
    constant -= float(predictor.mean_ @ predictor.slopes_)
    return features.table(np.concatenate([coefficients, predictor.slopes_]), constant)


def _line(ridge: object) -> tuple[np.ndarray, float]:
    """Return coefficients and constant of a fitted ridge."""
    if not isinstance(ridge, RidgePredictor):
        raise InvalidInputError(f"only the predictions of a ridge are a sum of small tables, not those of {ridge!r:.60}")
    if ridge.model_ is None:
        return np.zeros(ridge.n_features_in_), float(ridge.constant_ or 0.0)
    return ridge.model_.coef_, float(ridge.model_.intercept_)
