"""A new predictor of a name, for the features that it will see."""

from predictors.features.features import Features
from predictors.models.residual import ResidualPredictor
from predictors.predictor import PREDICTORS, Predictor


def build_predictor(name: str, features: Features | None = None) -> Predictor:
    """Return a new predictor of a registered kind; where there are signals, one of what they leave to be learned.

    Args:
        name: Its name.
        features: What it will see; None: the features are something else.

    Raises:
        InvalidInputError: If there is no such predictor.
    """
    predictor = PREDICTORS.get(name)(features)
    if features is None or not features.signals:
        return predictor
    return ResidualPredictor(predictor, tuple(s.slope for s in features.signals for _ in range(s.n_columns)))
