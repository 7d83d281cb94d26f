"""Multi-objective search over genomes."""

from nas.search.evolution.evolve import at_least, at_most, evolve
from nas.search.exact import exact_front
from nas.search.milp import best_within
from nas.search.pareto import Front, hypervolume, non_dominated
from nas.search.study import SearchResult, search

__all__ = [
    "Front",
    "SearchResult",
    "at_least",
    "at_most",
    "best_within",
    "evolve",
    "exact_front",
    "hypervolume",
    "non_dominated",
    "search",
]
