"""Names in an experiment: paths made absolute, and everything that is named looked up before anything is done."""

from pathlib import Path

from nas.run.experiment import Experiment
from nas.search.strategies import build_strategy
from nas.training.samplers import SAMPLERS
from search_spaces import SPACES, InvalidInputError


def checked(experiment: Experiment) -> Experiment:
    """Return an experiment with absolute paths of everything that is a user's own, whose names are all known.

    Raises:
        InvalidInputError: If one is not known, an option of the strategy or of a sampler is refused, a sampler needs a front
            that there is not, or the prior is no run folder.
    """
    SPACES.get(experiment.space)
    SAMPLERS.build(experiment.specialise.sampler.name, experiment.specialise.sampler.options)
    sampler = experiment.training.sampler
    if getattr(SAMPLERS.build(sampler.name, sampler.options), "needs_front", False):
        raise InvalidInputError(
            f"training.sampler: '{sampler.name}' draws around the front of a search, which there is not before the first "
            "training; name it in specialise.sampler"
        )
    search = experiment.search
    build_strategy(search.strategy.name, search.strategy.options)
    if search.signals:
        from nas.objectives.signals import SIGNALS  # computed by torch

        for name in search.signals:
            SIGNALS.get(name)
    experiment = experiment.with_absolute_paths()
    if experiment.search.prior and not (Path(experiment.search.prior) / "experiment.yaml").is_file():
        raise InvalidInputError(f"search.prior: '{search.prior}' is no run folder: it holds no experiment.yaml")
    return experiment
