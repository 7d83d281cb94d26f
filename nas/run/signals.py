"""What a run's predictors may see besides: signals of its supernet, and what an earlier run has measured."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.objectives.columns import Column
from nas.objectives.signals import SIGNALS
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.search.acquisition import Scale
from predictors import Features, Signal, build_predictor
from search_spaces.errors import InvalidInputError
from search_spaces.space.space import SearchSpace

if TYPE_CHECKING:
    from nas.run.run import Run

ENOUGH = 8  # networks below which an earlier run says nothing


def signals_of(run: "Run", evaluator: SupernetEvaluator) -> dict[str, tuple[Signal, ...]]:
    """Return the signals of a run's metric: what an earlier run predicts, then those of its supernet.

    Args:
        run: Its settings name them.
        evaluator: Measures its networks.

    Raises:
        InvalidInputError: If the earlier run is of another space, or has measured too little.
    """
    search = run.experiment.search
    found = tuple(SIGNALS.get(name)(evaluator) for name in search.signals)
    if search.prior:
        found = (prior_signal(run.space, type(run).open(search.prior)), *found)
    return {run.task.metric.name: found} if found else {}


def prior_signal(space: SearchSpace, earlier: "Run") -> Signal:
    """Return what an earlier run's measurements predict of what networks are ranked by; it costs nothing.

    Data, devices and supernet may be others, but the choices must be the same.

    Args:
        space: Of the run that is searched.
        earlier: Another run.

    Raises:
        InvalidInputError: If its space has other choices, or it has measured too few networks.
    """
    name, mine, theirs = str(earlier.folder.path), space.choices, earlier.space.choices
    if mine != theirs:
        other = next((a.name for a, b in zip(mine, theirs, strict=False) if a != b), "their number")
        raise InvalidInputError(
            f"search.prior: the run '{name}' is of a space with other choices, {other} differs; a prior needs the same"
        )
    genomes = earlier.archives.genomes()
    if len(genomes) < ENOUGH:
        raise InvalidInputError(f"search.prior: the run '{name}' has measured {len(genomes)} networks; {ENOUGH} are needed")
    column = Column(earlier.task.metric.name, "val")
    y = earlier.measurements().ranked([column])[:, 0]
    features = Features(space)
    model = build_predictor("gaussian_process", features).fit(features(genomes), Scale.of(y).forward(y))
    return Signal(f"what {Path(name).name} predicts", lambda g: np.asarray(model.predict(features(g))), slope=1.0)
