"""A linear predictor as a sum of small tables, so that its predictions have an exact front."""

from predictors.features.features import Features
from predictors.models.ridge import RidgePredictor
from search_spaces.costs import FactorTable
from search_spaces.errors import InvalidInputError


def linear_table(features: Features, predictor: RidgePredictor) -> FactorTable:
    """Return a fitted ridge's predictions as a table over genomes.

    Args:
        features: What the predictor was fitted on.
        predictor: Fitted.

    Raises:
        InvalidInputError: If the predictor was fitted on something else, or a feature is no sum of small tables.
    """
    n = features.n_encoded + features.n_topology + len(features.signals)
    if predictor.n_features_in_ != n:
        raise InvalidInputError(
            f"the predictor was fitted on {predictor.n_features_in_} features, not on the {n} of space "
            f"'{features.space.name}'"
        )
    if predictor.model_ is None:
        return FactorTable((), float(predictor.constant_ or 0.0))
    return features.table(predictor.model_.coef_, float(predictor.model_.intercept_))
