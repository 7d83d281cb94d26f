"""Objectives that need no measurement: what they are of a space. One of your own is a function in a file of its own.

What is measured of subnets has an `Evaluator`, and latencies have tables.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nas.tasks.metric import Metric, declare
from search_spaces.costs import FactorTable, additive_table, cache_bytes, cost_table
from search_spaces.registry import Registry
from search_spaces.space.space import Genomes, SearchSpace
from search_spaces.space.subnet import Subnet

Objective = Callable[[Genomes], NDArray[np.float64]]
"""From canonical genomes `(n, n_genes)` to values `(n,)`; a `FactorTable` is one, and is priced and bounded exactly."""

OBJECTIVES: Registry[Callable[[SearchSpace], Objective]] = Registry("objective")
SHIPPED = ("size_bytes", "macs")  # priced in every run


def objective(metric: Metric) -> Callable[[Callable[[SearchSpace], Objective]], Callable[[SearchSpace], Objective]]:
    """Return a decorator that registers what an exact objective is of a space, under the name of its metric."""

    def enter(build: Callable[[SearchSpace], Objective]) -> Callable[[SearchSpace], Objective]:
        declare(metric)
        return OBJECTIVES.register(metric.name)(build)

    return enter


def of_subnets(space: SearchSpace, function: Callable[[Subnet], float]) -> Objective:
    """Return the objective that a function of one subnet is."""
    return lambda genomes: np.array([function(subnet) for subnet in space.subnets(genomes)], dtype=np.float64)


declare(Metric(name="latency_ms", title="latency", unit="ms", is_latency=True))


@objective(Metric(name="size_bytes", title="packed weights", unit="bytes", digits=0, is_whole=True))
def size_bytes(space: SearchSpace) -> FactorTable:
    """Bytes of the weights, each in as many bits as its format has."""
    return cost_table(space, "size_bytes")


@objective(Metric(name="macs", title="multiply-accumulates", digits=0, is_whole=True))
def macs(space: SearchSpace) -> FactorTable:
    """Multiply-accumulate operations for one sample."""
    return cost_table(space, "macs")


declare(Metric(name="estimated_ms", title="estimated latency", unit="ms", is_estimated=True))
declare(Metric(name="estimated_mj", title="estimated energy", unit="mJ", is_estimated=True))


@objective(Metric(name="kv_cache_bytes", title="cache", unit="bytes", digits=0, is_whole=True))
def kv_cache_bytes(space: SearchSpace) -> FactorTable:
    """Bytes of the keys and values of a whole context; nothing where networks keep none."""
    return _cache_bytes(space)


def _cache_bytes(space: SearchSpace) -> FactorTable:
    return additive_table(space.at("decode"), cache_bytes) if "decode" in space.phases else FactorTable(())


@objective(Metric(name="decode_bytes", title="bytes a token", unit="bytes", digits=0, is_whole=True))
def decode_bytes(space: SearchSpace) -> FactorTable:
    """Bytes that are read for one token behind a whole context: packed weights and cache."""
    return FactorTable((*cost_table(space, "size_bytes").factors, *_cache_bytes(space).factors))
