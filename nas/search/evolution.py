"""evolve: NSGA-II over genomes, for objectives that are cheap to compute."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem

from nas.search.operators import Canonicalize, GenomeSampling, HashDuplicates, RandomReset, SwapGenes
from nas.search.pareto import Front
from search_spaces.baselines import baselines
from search_spaces.errors import InvalidInput
from search_spaces.space import Genomes, SearchSpace

Objective = Callable[[Genomes], NDArray[np.float64]]


def at_most(function: Objective, limit: float) -> Objective:
    """Return the constraint `function(genomes) <= limit`, in the form that `evolve` takes."""
    return lambda genomes: function(genomes) - limit


def evolve(
    space: SearchSpace,
    objectives: Mapping[str, Objective],
    constraints: Mapping[str, Objective] | None = None,
    *,
    population: int,
    generations: int,
    rng: np.random.Generator,
    initial: Genomes | None = None,
) -> Front:
    """Search for the networks that none beats, by NSGA-II.

    Args:
        space: The space.
        objectives: By name: genomes `(n, n_genes)` to values `(n,)`, minimised.
        constraints: By name: genomes to values that must be 0 or less, see `at_most`.
        population: Networks in a generation, at least 2.
        generations: At least 1, the first one counted.
        rng: Source of everything random: the same generator state gives the same front.
        initial: Genomes to start from beside the baselines of the space.

    Returns:
        The feasible, non-dominated of all networks that were evaluated.

    Raises:
        InvalidInput: If there is no objective, a number is too small, or no feasible network was found; then the message
            says which constraints bind and how near the search came.

    Source:
        Deb et al. 2002, NSGA-II, as in pymoo; gene-swapping crossover, random-reset mutation.
    """
    if not objectives:
        raise InvalidInput("a search needs at least one objective, got none")
    if population < 2 or generations < 1:
        raise InvalidInput(f"population must be 2 or more and generations 1 or more, got {population} and {generations}")
    constraints = constraints or {}
    seeds = np.array(list(baselines(space).values()))
    start = seeds if initial is None else np.concatenate([seeds, space.canonicalize(initial)])
    problem = _GenomeProblem(space, objectives, constraints)
    algorithm = NSGA2(
        pop_size=population,
        sampling=GenomeSampling(space, start.astype(np.int16)),
        crossover=SwapGenes(),
        mutation=RandomReset(space),
        repair=Canonicalize(space),
        eliminate_duplicates=HashDuplicates(),
    )
    algorithm.setup(problem, termination=("n_gen", generations), seed=int(rng.integers(2**31)))
    while algorithm.has_next():
        algorithm.next()
    if not len(problem.front):
        raise InvalidInput(problem.explain_infeasible())
    return problem.front


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
        self.front = Front(tuple(objectives), np.empty((0, len(space.choices)), np.int16), np.empty((0, len(objectives))))

    def _evaluate(self, x: NDArray[np.int64], out: dict[str, NDArray[np.float64]], *args: object, **kw: object) -> None:
        genomes = np.asarray(x, dtype=np.int16)
        out["F"] = np.column_stack([function(genomes) for function in self.objectives.values()])
        feasible: NDArray[np.bool_] = np.ones(len(genomes), dtype=bool)
        if self.constraints:
            out["G"] = np.column_stack([function(genomes) for function in self.constraints.values()])
            feasible = np.all(out["G"] <= 0, axis=1)
            for name, excess in zip(self.constraints, out["G"].min(axis=0), strict=True):
                self.nearest[name] = min(self.nearest[name], float(excess))
        self.front = Front.from_points(
            self.front.names,
            np.concatenate([self.front.genomes, genomes[feasible]]),
            np.concatenate([self.front.values, out["F"][feasible]]),
        )

    def explain_infeasible(self) -> str:
        """Return one sentence on why nothing was feasible."""
        binding = {name: excess for name, excess in self.nearest.items() if excess > 0}
        if binding:
            missed = ", ".join(f"'{name}' is missed by {excess:.4g} at the least" for name, excess in binding.items())
            return f"no network satisfies the constraints: {missed}; relax it"
        names = ", ".join(f"'{name}'" for name in self.nearest)
        return f"no network was found that satisfies {names} together, though each can be satisfied alone; relax one"
