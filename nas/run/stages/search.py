"""The search of a run: networks are measured where it counts, and kept in its archive."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas.events.progress import progress_bar
from nas.objectives.columns import minimized_objective
from nas.objectives.objective import Objective
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.run.signals import signals_of
from nas.run.stages.specialise import first_networks
from nas.search.evolution.evolve import evolve
from nas.search.feasibility import check_feasible, constraints_of
from nas.search.state import Measure
from nas.search.study import SearchResult, search
from nas.tasks.metric import Metric, metric_of
from search_spaces.costs import FactorTable
from search_spaces.space.baselines import baselines
from search_spaces.space.space import Genomes, SearchSpace

if TYPE_CHECKING:
    from nas.run.run import Run


def search_run(
    run: "Run", evaluator: SupernetEvaluator, measure: Measure, *, noise: float, workers: int
) -> SearchResult | None:
    """Search the space of a run; what its archive holds is not measured again.

    Args:
        run: Its settings say what is minimised, limited and learned from.
        evaluator: Measures networks, and gives signals.
        measure: What measures them for the search, picklable if there are several workers.
        noise: A difference of the metric that means nothing; 0: none.
        workers: Networks to measure at once, by joblib's backend in force.

    Returns:
        None where the metric is no objective, so that nothing had to be searched for by measuring.

    Raises:
        InvalidInputError: If no network satisfies the constraints.
    """
    space, config, metric, archive = run.space, run.experiment.search, run.task.metric.name, run.archives.validation
    rng, order = np.random.default_rng(run.experiment.seed), run.archives.order
    exact: dict[str, Objective] = {each.name: each.predicted() for each in run.latencies}
    exact |= run.static_costs()
    tables = {name: cost for name, cost in exact.items() if isinstance(cost, FactorTable) and not cost.takes_max}
    check_feasible(space, tables, config.max, config.min)
    cheap = {name: exact[name] for name in config.objectives if name != metric}
    constraints = constraints_of(exact, config.max, config.min)
    first = first_networks(run)
    with progress_bar("searching") as update:
        if metric not in config.objectives:
            genomes = search_cheap(space, cheap, constraints, config.n_measurements, rng)
            archive.measure_missing(genomes, evaluator.measure, update)
            return None
        return search(
            space,
            Kept(measure, archive.names),
            objectives=(metric,),
            cheap=cheap,
            constraints=constraints,
            orders={metric: order} if order else {},
            signals=signals_of(run, evaluator),
            limits={metric: (config.min.get(metric, -np.inf), config.max.get(metric, np.inf))},
            n_measurements=max(config.n_measurements, 0 if first is None else len(first)),
            strategy=config.strategy.name,
            options=config.strategy.options,
            batch=config.batch or None,
            noise=_noise(run.task.metric, noise),
            workers=workers,
            rng=rng,
            archive=archive,
            first=first,
            progress=update,
        )


def _noise(metric: Metric, noise: float) -> dict[str, float] | None:
    """Return what means nothing of the metric and, in proportion, of its loss; None where a search never ends early."""
    if not noise:
        return None
    loss = metric_of(metric.loss)
    return {metric.name: noise, **({loss.name: loss.noise * noise / metric.noise} if metric.loss and metric.noise else {})}


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
