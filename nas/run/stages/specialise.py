"""Rounds around the front: what was found is trained on, searched anew, and kept if the front has gained."""

import logging
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.objectives.columns import Column
from nas.report.results import round_line
from nas.search.acquisition import Scale
from nas.search.narrowing import n_architectures, narrow
from nas.search.pareto import Front, hypervolume
from nas.search.rounds import Round
from nas.training.samplers import Around
from predictors import Features, RidgePredictor, linear_table
from search_spaces.costs import FactorTable
from search_spaces.errors import InvalidInputError
from search_spaces.space.baselines import baselines
from search_spaces.space.narrowing import NarrowedSpace
from search_spaces.space.space import Genomes

if TYPE_CHECKING:
    from nas.run.run import Run

logger = logging.getLogger(__name__)


def specialise_run(run: "Run", **search: Any) -> list[Round]:
    """Make the rounds of a run that are still to be made, until one gains too little; each goes on where it was stopped.

    Args:
        run: It was searched.
        search: See `Run.search`.

    Returns:
        All rounds that are done.

    Raises:
        NotReadyError: If it was not searched.
        InvalidInputError: If no network of its front keeps the limits, or nothing that it measured can be narrowed by.
    """
    settings, file = run.experiment.specialise, run.folder.rounds
    if settings.rounds and run.metric.name not in run.experiment.search.objectives:
        raise InvalidInputError(f"specialise: training changes the {run.metric.title}, which is none of the objectives")
    done, _ = file.read(), (run.data, run.task)  # which all rounds share
    while len(done) < settings.rounds and (not done or done[-1].pays):
        after = run.at(len(done) + 1)
        _narrow(after)
        after.train()
        start = time.perf_counter()
        after.search(**search)
        done = [*done, _judged(after, (time.perf_counter() - start) / 60)]
        file.write(done)
        logger.info(round_line(done[-1]))
    return done


def around(before: "Run", after: "Run") -> Around:
    """Return what a round has found, as genomes of the space of the next one.

    Args:
        before: The round before, which was searched.
        after: The round that is to be trained.

    Raises:
        NotReadyError: If it has no front.
        InvalidInputError: If no network of its front keeps the limits and is in the space.
    """
    front, (rank, cost), part = _front_within(before, after), _tables(before), after.space
    if not isinstance(part, NarrowedSpace) or part.choices == before.space.choices:
        return Around(front, rank, cost)
    return Around(front, lambda g: rank(part.widened(g)), lambda g: cost(part.widened(g)))


def first_networks(run: "Run") -> Genomes | None:
    """Return what the search of a round measures first: the front of the round before and the baselines; None in round 0."""
    if run.before is None:
        return None
    uniform = np.array(list(baselines(run.space).values()))
    return np.concatenate([_front_within(run.before, run), uniform])


def _front_within(before: "Run", after: "Run") -> Genomes:
    """Return the networks of a round's front that the space of the next one has, as its genomes, shape `(n, n_genes)`."""
    front = _front(before)
    if not isinstance(after.space, NarrowedSpace):
        return front
    inside, _ = after.space.taken_in(before.space.in_origin(front))
    if not len(inside):
        raise InvalidInputError(
            f"no network of the front of '{before.folder.path}' is left in the narrowed space; raise specialise.size"
        )
    return inside


def _front(run: "Run") -> Genomes:
    """Return the networks of a run's front that keep its limits, shape `(n, n_genes)`."""
    rows = _within_limits(run)
    if not len(rows):
        raise InvalidInputError(f"no network of the front of '{run.folder.path}' keeps the limits; search within them first")
    by_id = {subnet.id: subnet.genome for subnet in run.space.subnets(run.archives.genomes())}
    return np.array([by_id[name] for name in rows["id"]], np.int16)


def _within_limits(run: "Run") -> pd.DataFrame:
    """Return the rows of a run's front that keep its limits."""
    limits = run.experiment.search
    upper, lower = ({Column.of_objective(name).name: x for name, x in each.items()} for each in (limits.max, limits.min))
    return run.folder.front(upper, lower)


def _tables(run: "Run") -> tuple[FactorTable, FactorTable]:
    """Return the predicted rank of a run's networks and the first cost that it minimises, as sums of tables."""
    genomes, ranks = run.archives.genomes(), run.archives.ranked()
    features = Features(run.space)
    rank = linear_table(features, RidgePredictor().fit(features(genomes), Scale.of(ranks).forward(ranks)))
    costs = {each.name: each.predicted() for each in run.latencies} | run.static_costs()
    names = [name for name in run.experiment.search.objectives if name != run.metric.name]
    for name in (*names, "macs"):
        cost, is_minimized = costs.get(name), Column.of_objective(name).quantity.sign > 0
        if isinstance(cost, FactorTable) and not cost.takes_max and is_minimized and cost(genomes).min() > 0:
            return rank, cost
    raise InvalidInputError(f"specialise needs a cost above 0 that is a sum of tables and minimised, got {names}")


def _narrow(after: "Run") -> None:
    """Write what the space of a round is narrowed to: as the round before, or anew, or not at all."""
    before, file, size = after.before, after.folder.part, after.experiment.specialise.size
    assert before is not None
    known = before.folder.part.read()
    if known and size not in (0, known["size"]):
        raise InvalidInputError(
            f"specialise.size: '{before.folder.path}' was narrowed to {known['size']:,} networks before; "
            "narrow a copy of the run that it was made of instead"
        )
    if known:
        file.write({**known, "drops": []})
    if known or not size or (file.path.exists() and after.folder.begun.exists()):
        return
    rank, cost = _tables(before)
    genomes, ranks = before.archives.genomes(), before.archives.ranked()
    is_front = (genomes[:, None] == _front(before)[None]).all(axis=2).any(axis=1)
    found = np.column_stack([Scale.of(ranks).forward(ranks), cost(genomes)])[is_front]
    part = narrow(before.space, rank, cost, size, Front.from_points(("rank", "cost"), genomes[is_front], found))
    if not NarrowedSpace(before.space, part.kept, part.ties).taken_in(genomes[is_front])[1].any():
        raise InvalidInputError(
            f"of {size:,} networks none would be on the front of '{before.folder.path}'; raise specialise.size"
        )
    drops = [(str(drop), loss) for drop, loss in part.drops]
    kept = {name: list(options) for name, options in part.kept.items()}
    file.write({"kept": kept, "ties": dict(part.ties), "drops": drops, "size": size})


def _judged(after: "Run", search_minutes: float) -> Round:
    """Return what a round gained, by what both rounds have measured."""
    before = after.before
    assert before is not None
    volumes, n_samples = _volumes(before, after), after.data.size("train")
    part = after.space
    lost, gone = _left_out(part, before) if isinstance(part, NarrowedSpace) else ((), ())
    return Round(
        number=after.folder.number,
        training_minutes=round(sum(n_samples / each["samples_per_second"] for each in after.training_records()) / 60, 2),
        search_minutes=round(search_minutes, 2),
        n_networks=n_architectures(part),
        before=volumes[0],
        after=volumes[1],
        pays=volumes[1] > (1 + after.experiment.specialise.gain) * volumes[0],
        drops=tuple((name, float(loss)) for name, loss in after.folder.part.read().get("drops", ())),
        lost=lost,
        gone=gone,
    )


def _left_out(part: NarrowedSpace, before: "Run") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the ids of the front before, and the names of the uniform networks of the whole space, that a part lacks."""
    front = _front(before)
    _, is_in = part.taken_in(before.space.in_origin(front))
    lost = [subnet.id for subnet in before.space.subnets(front[~is_in])]
    uniform = baselines(part.origin)
    _, are_in = part.taken_in(np.array(list(uniform.values())))
    return tuple(lost), tuple(name for name, is_there in zip(uniform, are_in, strict=True) if not is_there)


def _volumes(before: "Run", after: "Run") -> tuple[float, float]:
    """Return the hypervolumes of two rounds' fronts, in units in which both fronts fit; costs as predicted."""
    points = [_points(run) for run in (before, after)]
    fronts = np.concatenate(points)
    low, width = fronts.min(axis=0), np.ptp(fronts[np.isfinite(fronts).all(axis=1)], axis=0)
    scaled = [(each - low) / np.where(width > 0, width, 1) for each in points]
    first, second = (hypervolume(each, np.full(each.shape[1], 1.1)) for each in scaled)
    return first, second


def _points(run: "Run") -> NDArray[np.float64]:
    """Return the objectives of the front of what a run has measured within its limits, shape `(n, m)`."""
    measured, search = run.measurements(), run.experiment.search

    def known(name: str) -> Column:
        column = Column.of_objective(name)
        return column.predicted if column.predicted in measured else column

    upper, lower = ({known(name): bound for name, bound in limits.items()} for limits in (search.max, search.min))
    columns = [known(name) for name in search.objectives]
    among = measured.satisfying(upper, lower)
    if not among.any():  # by the table; some may keep them as measured
        among = np.isin([subnet.id for subnet in measured.subnets], _within_limits(run)["id"])
    rows, _ = measured.front(columns, among=among)
    return measured.take(rows).ranked(columns) if len(rows) else np.full((1, len(columns)), np.inf)
