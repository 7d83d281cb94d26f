"""The search of an adopted model: what sensitivities predict says which mixtures are measured."""

from typing import TYPE_CHECKING

import numpy as np

from nas.events.progress import progress_bar
from nas.objectives.objective import Objective
from nas.ptq.sensitivity.sensitivity import corrected
from nas.search.evolution.evolve import lower_bound, upper_bound
from nas.search.exact import exact_front
from nas.search.feasibility import check_feasible
from nas.search.strategies.sums import SumsStrategy
from nas.search.study import SearchResult, search
from nas.tasks.divergence import DIVERGENCE, ERROR
from predictors import Signal
from search_spaces.costs import FactorTable
from search_spaces.errors import InvalidInputError
from search_spaces.space.space import Genomes

if TYPE_CHECKING:
    from nas.run.adoption import Adoption


def search_adopted(run: "Adoption", table: FactorTable, *, workers: int = 1) -> SearchResult:
    """Measure mixtures; what the archive holds is not measured again.

    Args:
        run: Its settings say what is minimised and limited.
        table: Predicts the divergence.
        workers: Networks to measure at once.

    Raises:
        InvalidInputError: If no mixture satisfies the constraints, or none reaches the floor.
    """
    config, settings, archive = run.experiment.search, run.experiment.adopt, run.archives.validation
    exact: dict[str, Objective] = {each.name: each.predicted() for each in run.latencies} | run.static_costs()
    tables = {name: cost for name, cost in exact.items() if isinstance(cost, FactorTable) and not cost.takes_max}
    check_feasible(run.space, tables, config.max, config.min)
    cheap = {name: exact[name] for name in config.objectives if name != DIVERGENCE.name}
    constraints: dict[str, Objective] = {f"max {name}": upper_bound(exact[name], x) for name, x in config.max.items()}
    constraints |= {f"min {name}": lower_bound(exact[name], x) for name, x in config.min.items()}
    by_sums = settings.choose == "sums"
    if settings.floor:
        bisect(run, table, tables[next(iter(cheap))])
    with progress_bar("searching") as update:
        return search(
            run.space,
            run.evaluator.measure,
            objectives=(DIVERGENCE.name,),
            cheap=cheap,
            constraints=constraints,
            n_measurements=config.n_measurements,
            strategy=SumsStrategy(table, corrected) if by_sums else config.strategy.name,
            options=None if by_sums else config.strategy.options,
            signals=None if by_sums else {DIVERGENCE.name: (Signal("predicted", table),)},
            batch=config.batch or (max(1, config.n_measurements // 6) if by_sums else None),
            workers=workers,
            rng=np.random.default_rng(run.experiment.seed),
            archive=archive,
            progress=update,
        )


def bisect(run: "Adoption", table: FactorTable, cost: FactorTable) -> Genomes:
    """Return the cheapest mixture on the predicted front that reaches the floor, found by bisection of measured ones.

    Args:
        run: Its settings say what must be reached.
        table: Predicts the divergence.
        cost: What is to be small.

    Raises:
        InvalidInputError: If not even the original's formats reach the floor.
    """
    floor, archive = run.experiment.adopt.floor, run.archives.validation
    if "error_drop" in floor:
        run.samples.check_answers("error_drop")
    start = run.evaluator.values(run.adopted.in_format("float32"), "val")

    def reaches(genome: Genomes) -> bool:
        archive.measure_missing(genome[None], run.evaluator.measure, lambda *done: None)
        (values,) = archive.lookup(genome[None])
        assert values is not None
        drop = values.get(ERROR.name, np.nan) - start.get(ERROR.name, np.nan)
        found = {"divergence": values[DIVERGENCE.name], "error_drop": drop}
        return all(found[name] <= bound for name, bound in floor.items())

    members = exact_front(run.space, {"predicted": table, "cost": cost}).genomes  # from the best to the cheapest
    if not reaches(members[0]):
        raise InvalidInputError(
            f"no mixture reaches {floor}: not even {run.space.subnet(members[0]).id}, the most exact, does"
        )
    good, bad = 0, len(members)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if reaches(members[middle]) else (good, middle)
    found: Genomes = members[good]
    return found
