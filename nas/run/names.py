"""Names in an experiment: paths made absolute, and everything that is named looked up before anything is done."""

from pathlib import Path

from nas.run.experiment import Experiment
from nas.search.strategies import build_strategy
from search_spaces import SPACES, InvalidInputError


def checked(experiment: Experiment) -> Experiment:
    """Return an experiment with absolute paths of everything that is a user's own, whose names are all known.

    Raises:
        InvalidInputError: If one is not known, an option of the strategy is refused, or the prior is no run folder.
    """
    SPACES.get(experiment.space)
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
