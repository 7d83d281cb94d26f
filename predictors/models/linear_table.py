"""A linear predictor as a sum of small tables, so that its predictions have an exact front."""

import numpy as np

from predictors.features.encoding import option_features
from predictors.models.ridge import RidgePredictor
from search_spaces.costs import FactorTable
from search_spaces.errors import InvalidInputError
from search_spaces.space.factor import Factor
from search_spaces.space.space import SearchSpace


def linear_table(space: SearchSpace, predictor: RidgePredictor) -> FactorTable:
    """Return a fitted ridge's predictions as a table over genomes.

    Args:
        space: The one whose encoded genomes the predictor was fitted on, see `encode`.
        predictor: Fitted.

    Raises:
        InvalidInputError: If the predictor was fitted on something else.
    """
    features = option_features(space)
    if predictor.n_features_in_ != features.shape[1]:
        raise InvalidInputError(
            f"the predictor was fitted on {predictor.n_features_in_} features, not on space '{space.name}'"
        )
    if predictor.model_ is None:
        return FactorTable((), float(predictor.constant_ or 0.0))
    values = np.split(features @ predictor.model_.coef_, np.cumsum(space.cardinalities)[:-1])
    factors = [_where_it_matters(space, gene, value) for gene, value in enumerate(values)]
    return FactorTable(tuple(factors), float(predictor.model_.intercept_))


def _where_it_matters(space: SearchSpace, gene: int, values: np.ndarray) -> Factor:
    name = space.choices[gene].name
    if name not in space.conditions:
        return Factor((gene,), values)
    parent, active_for = space.activation(name)
    table = np.outer(active_for, values)
    return Factor((parent, gene), table) if parent < gene else Factor((gene, parent), table.T)
