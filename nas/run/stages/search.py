"""The search of a run: networks are measured where it counts, and kept in its archive."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.archive.archive import Archive
from nas.events.progress import progress_bar
from nas.objectives.columns import minimized_objective
from nas.objectives.objective import Objective
from nas.search.evolution.evolve import evolve, lower_bound, upper_bound
from nas.search.feasibility import check_feasible
from nas.search.order import Order
from nas.search.settings import SearchSettings
from nas.search.state import Measure
from nas.search.study import SearchResult, search
from search_spaces.costs import FactorTable
from search_spaces.space.baselines import baselines
from search_spaces.space.space import Genomes, SearchSpace


def search_space(
    space: SearchSpace,
    config: SearchSettings,
    metric: str,
    exact: Mapping[str, Objective],
    measure: Measure,
    archive: Archive,
    *,
    order: Order | None = None,
    workers: int,
    rng: np.random.Generator,
) -> SearchResult | None:
    """Search a space; what the archive holds is not measured again.

    Args:
        space: The space.
        config: Objectives, constraints, budget and strategy.
        metric: What is measured to steer the search.
        exact: Costs that need no measurement, latencies as predicted.
        measure: Measures it, picklable if there are several workers.
        archive: Keeps what was measured.
        order: By what networks are ranked instead of the metric.
        workers: Networks to measure at once, by joblib's backend in force.
        rng: Source of everything random.

    Returns:
        None where the metric is no objective, so that nothing had to be searched for by measuring.

    Raises:
        InvalidInputError: If no network satisfies the constraints.
    """
    tables = {name: cost for name, cost in exact.items() if isinstance(cost, FactorTable) and not cost.takes_max}
    check_feasible(space, tables, config.max, config.min)
    cheap = {name: exact[name] for name in config.objectives if name != metric}
    constraints: dict[str, Objective] = {f"max {name}": upper_bound(exact[name], x) for name, x in config.max.items()}
    constraints |= {f"min {name}": lower_bound(exact[name], x) for name, x in config.min.items()}
    with progress_bar("searching") as update:
        if metric not in config.objectives:
            genomes = search_cheap(space, cheap, constraints, config.n_measurements, rng)
            archive.measure_missing(genomes, measure, update)
            return None
        return search(
            space,
            Kept(measure, archive.names),
            objectives=(metric,),
            cheap=cheap,
            constraints=constraints,
            orders={metric: order} if order else {},
            n_measurements=config.n_measurements,
            strategy=config.strategy.name,
            options=config.strategy.options,
            batch=config.batch or None,
            noise={metric: config.noise} if config.noise else None,
            workers=workers,
            rng=rng,
            archive=archive,
            progress=update,
        )


@dataclass(frozen=True)
class Kept:
    """Measures what an archive keeps, and leaves out the rest; picklable if `measure` is.

    Attributes:
        measure: Measures it.
        names: Of what is kept.
    """

    measure: Measure
    names: tuple[str, ...]

    def __call__(self, genomes: Genomes) -> Mapping[str, NDArray[np.float64]]:
        """Return the values of genomes of shape `(n, n_genes)` by name, each `(n,)`."""
        values = self.measure(genomes)
        return {name: values[name] for name in self.names} if set(self.names) <= set(values) else values


def search_cheap(
    space: SearchSpace,
    cheap: Mapping[str, Objective],
    constraints: Mapping[str, Objective],
    n: int,
    rng: np.random.Generator,
) -> Genomes:
    """Return the networks of the front of cheap objectives, then the baselines; they are measured to be told of.

    Of a front with more than `n` networks as many are taken, evenly along its first objective.
    """
    turned = {name: minimized_objective(name, function) for name, function in cheap.items()}
    genomes = evolve(space, turned, constraints, population=100, generations=100, rng=rng).genomes
    n = min(len(genomes), n)
    genomes = genomes[np.linspace(0, len(genomes) - 1, n).round().astype(int)]
    return np.concatenate([genomes, np.array(list(baselines(space).values()))])
