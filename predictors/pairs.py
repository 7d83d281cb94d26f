"""Effects of pairs of neighbouring blocks on what was measured: sign, size and how sure they are."""

from dataclasses import dataclass

import numpy as np

from predictors.features.features import Features
from predictors.features.topology import TRAITS
from predictors.models.ridge import RidgePredictor
from predictors.predictor import Floats
from search_spaces.space.space import Genomes, SearchSpace


@dataclass(frozen=True)
class PairEffect:
    """What one more pair of neighbouring blocks does to a line over the features, the options themselves aside.

    Attributes:
        name: Of the pair: a trait, and what both blocks have of it.
        effect: Change of the target; negative where it is good.
        deviation: Standard deviation of the effect.
    """

    name: str
    effect: float
    deviation: float


def pair_effects(space: SearchSpace, genomes: Genomes, y: Floats, n: int = 10) -> list[PairEffect]:
    """Return the effects that stand out most from what they are unsure by, the clearest first.

    Args:
        space: With slots; of one without there are none.
        genomes: Shape `(k, n_genes)`.
        y: Target, shape `(k,)`, such as the logarithm of a loss.
        n: How many at most.

    Source:
        Motifs as in NAS-BOWL, Ru et al. 2021, arXiv:2006.07556, of a Bayesian ridge in place of a Gaussian process.
    """
    features = Features(space, tuple(TRAITS)) if space.slots else Features(space, sees_cell=False)
    if not features.n_topology or np.ptp(y) == 0:
        return []
    seen = features(genomes)
    model = RidgePredictor().fit(seen, y).model_
    assert model is not None
    scale = 1 / np.sqrt(len(space.slots))
    names = [name for pairs in features.pairs for name in pairs.names]
    columns = np.arange(features.n_encoded, features.n_encoded + features.n_topology)
    effects, deviations = scale * model.coef_[columns], scale * np.sqrt(np.diag(model.sigma_)[columns])
    occurs = np.ptp(seen[:, columns], axis=0) > 0
    order = np.argsort(-np.abs(effects) / deviations)
    return [PairEffect(names[i], float(effects[i]), float(deviations[i])) for i in order if occurs[i]][:n]
