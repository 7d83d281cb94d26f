"""Plan: what is timed for the latency table of a space."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from latency_tables.table.estimate import choose_parts
from latency_tables.table.latency_model import copied, iterate_parts
from latency_tables.timing.protocol import Protocol
from search_spaces.costs import size_bytes
from search_spaces.errors import InvalidInputError, check_range
from search_spaces.graph.graph import Graph
from search_spaces.space.baselines import baselines, format_genes, uniform_genome
from search_spaces.space.space import Genomes, SearchSpace
from search_spaces.space.subnet import Subnet

COLD_BYTES = 2**26  # more than caches hold for one core
CONCENTRATION = 0.5  # of the shares of formats in a network that is drawn: below 1, one or two of them prevail in many
ATTEMPTS = 10  # to draw networks that are distinct


@dataclass(frozen=True, kw_only=True)
class TableSettings(Protocol):
    """Measurement of a latency table: the protocol, and how much is measured by it."""

    n_fit: int = 40
    """Whole networks that the table is fitted on."""
    n_held_out: int = 40
    """Whole networks that it is validated on."""
    time_budget_minutes: float = 0.0
    """Blocks that cannot be timed within so many minutes are estimated; 0: all are timed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("n_fit", self.n_fit, 10, 10_000)
        check_range("n_held_out", self.n_held_out, 10, 10_000)
        check_range("time_budget_minutes", self.time_budget_minutes, 0, 100_000)


@dataclass(frozen=True)
class Plan:
    """Everything that is timed for the table of a space.

    Attributes:
        space: The space.
        parts: What is timed besides whole networks, by name; see `latency_model.iterate_parts`.
        networks: Whole networks, by name.
        n_fit: So many of the networks, the first ones, are fitted on; the others are for the validation.
        estimated: Parts that are not timed but estimated from the others.
        copies: Of a part, how many are timed in one model, each with weights of its own; of those not named one.
    """

    space: SearchSpace
    parts: Mapping[str, Graph]
    networks: Mapping[str, Subnet]
    n_fit: int
    estimated: tuple[str, ...] = ()
    copies: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def graphs(self) -> dict[str, Graph]:
        """Everything that is timed, by name."""
        parts = {name: copied(graph, self.copies.get(name, 1)) for name, graph in self.timed_parts.items()}
        return {**parts, **{name: subnet.graph for name, subnet in self.networks.items()}}

    @property
    def timed_parts(self) -> dict[str, Graph]:
        """The parts that are timed, by name."""
        estimated = set(self.estimated)
        return {name: graph for name, graph in self.parts.items() if name not in estimated}

    @property
    def reference(self) -> Graph:
        """The network by which the machine is watched."""
        return reference_graph(self.space)

    def within(self, n_timed: int) -> "Plan":
        """Return a plan that times at most so many graphs and estimates the other blocks.

        Raises:
            InvalidInputError: If so few do not do.
        """
        if n_timed >= len(self.parts) + len(self.networks):
            return self
        chosen = choose_parts(self.parts, n_timed - len(self.networks))
        return replace(self, estimated=tuple(name for name in self.parts if name not in chosen))


def plan_table(space: SearchSpace, *, n_fit: int, n_held_out: int, rng: np.random.Generator) -> Plan:
    """Plan the table of a space.

    Args:
        space: With networks behind it.
        n_fit: Whole networks to fit on; at most half of them are baselines, which are too alike to tell what mixing costs.
        n_held_out: Random whole networks for the validation.
        rng: Draws the whole networks.

    Raises:
        InvalidInputError: If the space has no networks behind it.
    """
    if not space.slots:
        raise InvalidInputError(f"space '{space.name}' has choices only and no networks behind it: nothing to measure")
    seeds = np.array(list(baselines(space).values()))
    if len(seeds) > n_fit // 2:
        seeds = seeds[np.linspace(0, len(seeds) - 1, n_fit // 2).round().astype(int)]
    drawn = draw(space, n_fit - len(seeds) + n_held_out, rng, besides=seeds)
    networks = name_networks(space, np.concatenate([seeds, drawn]))
    parts = dict(iterate_parts(space))
    return Plan(space, parts, networks, n_fit, copies=_copies(space, parts))


def draw(space: SearchSpace, n: int, rng: np.random.Generator, *, besides: Genomes) -> Genomes:
    """Return random networks whose shares of formats differ from one to the next, shape `(n, n_genes)`.

    Were the format of every block drawn alike, networks of many blocks would all have about the same share of each, and so
    about the same latency: a fit on these tells little of those in which one format prevails, as on fronts, and a ranking of
    them little of the table (measured, experiments/results/adopted.md).

    They are distinct as far as the space goes.

    Args:
        space: The space.
        n: How many.
        rng: Draws them.
        besides: Networks that are not to be among them, shape `(m, n_genes)`.
    """
    known, found = {genome.tobytes() for genome in besides}, list[Genomes]()
    for _ in range(ATTEMPTS):
        for genome in _draw(space, n - len(found), rng):
            if genome.tobytes() not in known:
                known.add(genome.tobytes())
                found.append(genome)
    return np.array([*found, *_draw(space, n - len(found), rng)], np.int16)


def _draw(space: SearchSpace, n: int, rng: np.random.Generator) -> Genomes:
    genomes, genes = space.sample(n, rng), format_genes(space)
    names = list(dict.fromkeys(option for gene in genes for option in space.choices[gene].options))
    for genome in genomes if names else ():
        shares = dict(zip(names, rng.dirichlet(np.full(len(names), CONCENTRATION)), strict=True))
        for gene in genes:
            weights = np.array([shares[option] for option in space.choices[gene].options])
            genome[gene] = rng.choice(len(weights), p=weights / weights.sum())
    return space.canonicalize(genomes)


def _copies(space: SearchSpace, parts: Mapping[str, Graph]) -> dict[str, int]:
    """Return how many copies of each part hold as many bytes as the largest network, up to what no cache holds.

    A single token passes each weight once, so that the weights of a network come from a farther cache, or from memory, where
    those of a block that is timed alone stay near. Prompts and pictures use them many times: their parts are timed alone.
    The largest network is that of the first format, float32 if it is offered; no part gets more copies than there are slots.
    """
    if not space.phase:
        return {}
    largest = space.subnet(uniform_genome(space, "largest")).graph
    if largest.input_shape[0] > 1:
        return {}
    most = min(COLD_BYTES, size_bytes(largest.nodes))
    held = {name: _read_bytes(graph) for name, graph in parts.items()}
    return {name: min(math.ceil(most / n_bytes), len(space.slots)) for name, n_bytes in held.items() if n_bytes}


def _read_bytes(graph: Graph) -> float:
    """Return about how many bytes of weights a block holds, those included that it is tied to."""
    return sum(
        math.prod(spec.shape) * (node.precision.weights.bits if spec.quantized else 32) / 8
        for node in graph.nodes
        for spec in node.weights()
    )


def name_networks(space: SearchSpace, genomes: Genomes) -> dict[str, Subnet]:
    """Return the networks of genomes by number and id, as `network 0 1f0a9c2b7d`: what is timed of one is of no other."""
    return {f"network {i} {subnet.id}": subnet for i, subnet in enumerate(space.subnets(genomes))}


def reference_graph(space: SearchSpace) -> Graph:
    """Return the network by which the machine is watched: the middle one."""
    return space.subnet(uniform_genome(space, "middle")).graph
