"""What a run's predictors may see besides: signals of its supernet, and what an earlier run has measured."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.objectives.signals import SIGNALS
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.search.acquisition import Scale
from predictors import Features, Signal, build_predictor
from search_spaces.errors import InvalidInputError

if TYPE_CHECKING:
    from nas.run.run import Run

logger = logging.getLogger(__name__)

ENOUGH = 8  # networks below which an earlier run says nothing


def signals_of(run: "Run", evaluator: SupernetEvaluator) -> dict[str, tuple[Signal, ...]]:
    """Return the signals of a run's metric: what an earlier run or the round before predicts, then those of its supernet.

    Args:
        run: Its settings name them.
        evaluator: Measures its networks.

    Raises:
        InvalidInputError: If the earlier run is of another space, or has measured too little.
    """
    search = run.experiment.search
    found = tuple(SIGNALS.get(name)(evaluator) for name in search.signals)
    if search.prior:
        if Path(search.prior).resolve() == run.folder.path.resolve():
            raise InvalidInputError("search.prior: a run cannot be its own prior; name another one")
        found = (prior_signal(run, type(run).open(search.prior)), *found)
    if (before := run.before) is not None and len(before.archives.genomes()) >= ENOUGH:
        found = (prior_signal(run, before), *found)
    return {run.task.metric.name: found} if found else {}


def prior_signal(run: "Run", earlier: "Run") -> Signal:
    """Return what an earlier run's measurements predict of what networks are ranked by; it costs nothing.

    Data, devices and supernet may be others, but the choices must be the same. Where the other run ranks networks by
    something else, such as an error because it kept no losses, no slope is expected of it.

    Args:
        run: The run that is searched.
        earlier: Another run.

    Raises:
        InvalidInputError: If its space has other choices, or it has measured too few networks.
    """
    name, features = str(earlier.folder.path), Features(earlier.space.origin)
    mine, theirs = run.space.origin.choices, earlier.space.origin.choices
    if mine != theirs:
        other = next((a.name for a, b in zip(mine, theirs, strict=False) if a != b), "their number")
        raise InvalidInputError(
            f"search.prior: the run '{name}' is of a space with other choices, {other} differs; a prior needs the same"
        )
    genomes = earlier.archives.genomes()
    if len(genomes) < ENOUGH:
        raise InvalidInputError(f"search.prior: the run '{name}' has measured {len(genomes)} networks; {ENOUGH} are needed")
    y = earlier.archives.ranked()
    is_alike = earlier.task.metric == run.task.metric and type(earlier.archives.order) is type(run.archives.order)
    if not is_alike:
        logger.warning("search.prior: the run '%s' ranks networks by something else; how much that says is learned", name)
    learned = features(earlier.space.in_origin(genomes))
    model = build_predictor("gaussian_process", features).fit(learned, Scale.of(y).forward(y))
    return Signal(
        f"what {Path(name).name} predicts",
        lambda g: np.asarray(model.predict(features(run.space.in_origin(g)))),
        float(is_alike),
    )
