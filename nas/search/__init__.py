"""Multi-objective search over genomes."""

from nas.search.budget import best_within
from nas.search.evolution import at_least, at_most, evolve
from nas.search.exact import exact_front
from nas.search.loop import SearchResult, search
from nas.search.pareto import Front, hypervolume, non_dominated

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
