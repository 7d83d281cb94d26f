"""evolve: NSGA-II, or NSGA-III from three objectives on, over genomes, for objectives that are cheap to compute."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.base.genetic import GeneticAlgorithm
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.core.problem import Problem
from pymoo.util.ref_dirs import get_reference_directions

from nas.objectives.objective import Objective
from nas.search.evolution.variation import GenomeMating, first_generation
from nas.search.pareto import Front
from search_spaces.errors import InvalidInputError
from search_spaces.space.baselines import baselines
from search_spaces.space.space import Genomes, SearchSpace

KEPT = 20_000  # networks evaluated since the front was last made


@dataclass(frozen=True)
class Bound:
    """A constraint in the form that `evolve` takes: called, it gives by how much genomes break it, 0 or less if they do not.

    Attributes:
        function: What is limited.
        bound: The limit.
        sign: 1: `function` must be at most `bound`; -1: at least.
    """

    function: Objective
    bound: float
    sign: int = 1

    def __call__(self, genomes: Genomes) -> NDArray[np.float64]:
        """Return the excess, shape `(n,)`."""
        return self.sign * (self.function(genomes) - self.bound)


def upper_bound(function: Objective, bound: float) -> Bound:
    """Return the constraint `function(genomes) <= bound`."""
    return Bound(function, bound)


def lower_bound(function: Objective, bound: float) -> Bound:
    """Return the constraint `function(genomes) >= bound`."""
    return Bound(function, bound, -1)


def evolve(
    space: SearchSpace,
    objectives: Mapping[str, Objective],
    constraints: Mapping[str, Objective] | None = None,
    *,
    population: int,
    generations: int,
    rng: np.random.Generator,
    initial: Genomes | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Front:
    """Search for the networks that none beats.

    Args:
        space: The space.
        objectives: By name: genomes `(n, n_genes)` to values `(n,)`, minimised.
        constraints: By name: genomes to values that must be 0 or less, see `upper_bound` and `lower_bound`.
        population: Networks in a generation, at least 2.
        generations: At least 1, the first one counted.
        rng: Source of everything random: the same generator state gives the same front.
        initial: Genomes to start from beside the baselines of the space.
        progress: Called after each generation with generations done and in all.

    Returns:
        The feasible, non-dominated of all networks that were evaluated.

    Raises:
        InvalidInputError: If there is no objective, a number is too small, or no feasible network was found; then the
            message says which constraints bind and how near the search came.

    Source:
        Deb et al. 2002, NSGA-II, and Deb and Jain 2014, NSGA-III, as in pymoo; children as in `operators.py`.
    """
    if not objectives:
        raise InvalidInputError("a search needs at least one objective, got none")
    if population < 2 or generations < 1:
        raise InvalidInputError(
            f"population must be 2 or more and generations 1 or more, got {population} and {generations}"
        )
    constraints = constraints or {}
    seeds = np.array(list(baselines(space).values()))
    start = seeds if initial is None else np.concatenate([seeds, initial])
    problem = _GenomeProblem(space, objectives, constraints)
    algorithm = build_algorithm(space, len(objectives), population, first_generation(space, start, population, rng))
    algorithm.setup(problem, termination=("n_gen", generations), seed=int(rng.integers(2**31)))
    for generation in range(1, generations + 1):
        if not algorithm.has_next():  # no network is left to be found
            break
        algorithm.next()
        progress(generation, generations)
    front = problem.front()
    if not len(front):
        raise InvalidInputError(problem.explain_infeasible())
    return front


def build_algorithm(space: SearchSpace, n_objectives: int, population: int, first: Genomes) -> GeneticAlgorithm:
    """Return pymoo's algorithm for so many objectives, with the mating of genomes.

    Args:
        space: The space.
        n_objectives: Up to 2: NSGA-II. From 3 on: NSGA-III, which spreads a front of many dimensions better.
        population: Networks in a generation.
        first: The first generation, shape `(n, n_genes)`, distinct.
    """
    settings = {"pop_size": population, "sampling": first, "mating": GenomeMating(space), "eliminate_duplicates": False}
    if n_objectives <= 2:
        return NSGA2(**settings)
    return NSGA3(reference_directions(n_objectives, population), **settings)


def reference_directions(n_objectives: int, n: int) -> NDArray[np.float64]:
    """Return the finest even grid of at most `n` directions, at least one for each objective; shape `(k, n_objectives)`."""
    directions = np.eye(n_objectives)
    for partitions in itertools.count(1):
        finer = get_reference_directions("das-dennis", n_objectives, n_partitions=partitions)
        if len(finer) > max(n, n_objectives):
            break
        directions = finer
    return directions


class _GenomeProblem(Problem):  # type: ignore[misc]
    """pymoo's view of the objectives; keeps the best of everything it evaluated."""

    def __init__(
        self, space: SearchSpace, objectives: Mapping[str, Objective], constraints: Mapping[str, Objective]
    ) -> None:
        super().__init__(
            n_var=len(space.choices),
            n_obj=len(objectives),
            n_ieq_constr=len(constraints),
            xl=np.zeros(len(space.choices)),
            xu=space.cardinalities - 1,
            vtype=int,
        )
        self.objectives = objectives
        self.constraints = constraints
        self.nearest = dict.fromkeys(constraints, np.inf)
        self._genomes = [np.empty((0, len(space.choices)), np.int16)]
        self._values = [np.empty((0, len(objectives)))]
        self._n_kept = 0

    def _evaluate(self, x: NDArray[np.int64], out: dict[str, NDArray[np.float64]], *args: object, **kw: object) -> None:
        genomes = np.asarray(x, dtype=np.int16)
        out["F"] = np.column_stack([function(genomes) for function in self.objectives.values()])
        feasible: NDArray[np.bool_] = np.ones(len(genomes), dtype=bool)
        if self.constraints:
            out["G"] = np.column_stack([function(genomes) for function in self.constraints.values()])
            feasible = np.all(out["G"] <= 0, axis=1)
            for name, excess in zip(self.constraints, out["G"].min(axis=0), strict=True):
                self.nearest[name] = min(self.nearest[name], float(excess))
        self._genomes.append(genomes[feasible])
        self._values.append(out["F"][feasible])
        self._n_kept += int(feasible.sum())
        if self._n_kept > KEPT:  # memory stays small; the front of all is the front of the fronts
            self.front()

    def front(self) -> Front:
        """Return the feasible, non-dominated of everything that was evaluated."""
        front = Front.from_points(tuple(self.objectives), np.concatenate(self._genomes), np.concatenate(self._values))
        self._genomes, self._values, self._n_kept = [front.genomes], [front.values], 0
        return front

    def explain_infeasible(self) -> str:
        """Return one sentence on why nothing was feasible."""
        binding = {name: excess for name, excess in self.nearest.items() if excess > 0}
        if binding:
            missed = ", ".join(f"'{name}' is missed by {excess:.4g} at the least" for name, excess in binding.items())
            return f"no network satisfies the constraints: {missed}; relax it"
        names = ", ".join(f"'{name}'" for name in self.nearest)
        return f"no network was found that satisfies {names} together, though each can be satisfied alone; relax one"
