"""Multi-objective search over genomes."""

from nas.search.evolution.evolve import evolve, lower_bound, upper_bound
from nas.search.exact import exact_front
from nas.search.milp import best_within
from nas.search.pareto import Front, hypervolume, non_dominated
from nas.search.study import SearchResult, search

__all__ = [
    "Front",
    "SearchResult",
    "best_within",
    "evolve",
    "exact_front",
    "hypervolume",
    "lower_bound",
    "non_dominated",
    "search",
    "upper_bound",
]
