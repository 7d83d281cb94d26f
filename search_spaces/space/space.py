"""SearchSpace: genomes and subnets, and the slots that turn a subnet into a graph.

Three words: a *choice* is one decision, a *gene* the index of its option, a *genome* one gene for every choice. Genes of
choices that do not matter (of a block that elastic depth leaves out) are 0, so equal networks have equal rows.
"""

import hashlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from search_spaces.errors import InvalidInputError
from search_spaces.graph.graph import Graph
from search_spaces.graph.signature import describe
from search_spaces.registry import Registry
from search_spaces.space import routes
from search_spaces.space.assembly import Assembly, Block, Edge, connect
from search_spaces.space.cell import Cell
from search_spaces.space.checks import check_slots, check_sources
from search_spaces.space.choice import ActiveWhen, Choice, Option, count_networks
from search_spaces.space.factor import Factor, combine
from search_spaces.space.slots import PREVIOUS, Slot
from search_spaces.space.subnet import Subnet, read_subnet_json

Genomes = NDArray[np.int16]
SPACES: Registry[Callable[..., "SearchSpace"]] = Registry("search space", "one of your own is FILE.py:NAME")


class SearchSpace:
    """Choices, and the networks that they become.

    Args:
        name: Goes into every subnet's id and every file.
        choices: The decisions; their order is the order of genes.
        slots: The blocks in an order in which they can be computed. None: a space without networks, see `TabularSpace`.
        conditions: For a choice that does not always matter, when it does. Conditions are not nested.
        phases: By name of a further way of running its networks, see `Phase`: gives the slots of that reading.

    Raises:
        InvalidInputError: If a name stands twice, a slot or condition names a choice that does not exist, or blocks do not
            fit together; see `checks`.
    """

    cell: Cell | None = None
    phase: str = ""
    """Of a reading, see `at`."""

    def __init__(
        self,
        name: str,
        choices: Sequence[Choice],
        slots: Sequence[Slot] = (),
        conditions: Mapping[str, ActiveWhen] | None = None,
        phases: Mapping[str, Callable[[], Sequence[Slot]]] | None = None,
    ) -> None:
        self.name = name
        self.phases = dict(phases or {})
        self._readings: dict[str, SearchSpace] = {}
        self.choices = tuple(choices)
        self.slots = tuple(slots)
        self.conditions = dict(conditions or {})
        self.gene = {choice.name: i for i, choice in enumerate(self.choices)}
        if len(self.gene) != len(self.choices):
            raise InvalidInputError(f"the choices of space '{name}' need distinct names")
        named = [*self.conditions, *(c.choice for c in self.conditions.values())]
        named += [read for slot in self.slots for read in slot.reads]
        if unknown := sorted(set(named) - set(self.gene)):
            raise InvalidInputError(f"space '{name}' has no choice called {unknown}; it has {list(self.gene)}")
        if nested := [n for n, c in self.conditions.items() if c.choice in self.conditions]:
            raise InvalidInputError(f"a condition must name a choice that always matters; those of {nested} do not")
        check_sources(self)
        check_slots(self)

    def at(self, phase: str) -> "SearchSpace":
        """Return its reading in a phase, with the same choices; without a name it is this one.

        Raises:
            InvalidInputError: If its networks are not run so.
        """
        if not phase:
            return self
        if phase not in self.phases:
            known = ", ".join(self.phases) or "none"
            raise InvalidInputError(f"networks of space '{self.name}' have no phase '{phase}'; phases are: {known}")
        if phase not in self._readings:
            self._readings[phase] = self._reading(phase)
            self._readings[phase].phase = phase
        return self._readings[phase]

    def _reading(self, phase: str) -> "SearchSpace":
        return SearchSpace(self.name, self.choices, self.phases[phase](), self.conditions)

    # ------------------------------------------------------------------ genomes

    @cached_property
    def cardinalities(self) -> NDArray[np.int64]:
        """Number of options of each choice, shape `(n_genes,)`."""
        return np.array([len(choice.options) for choice in self.choices])

    def mask(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Return which genes matter, same shape as `genomes`."""
        active = np.ones(genomes.shape, dtype=bool)
        for name in self.conditions:
            parent, active_for = self.activation(name)
            active[:, self.gene[name]] = active_for[genomes[:, parent]]
        return active

    def activation(self, name: str) -> tuple[int, NDArray[np.bool_]]:
        """Return the gene that decides whether a conditional choice matters, and for each of its options whether it does."""
        condition = self.conditions[name]
        parent = self.gene[condition.choice]
        return parent, np.array([option in condition.options for option in self.choices[parent].options])

    def canonicalize(self, genomes: Genomes) -> Genomes:
        """Set the genes of inactive choices to 0.

        Args:
            genomes: Shape `(n, n_genes)`, integers.

        Returns:
            A new array; two rows are equal exactly when their networks are.

        Raises:
            InvalidInputError: If the shape is wrong or a gene is out of range.
        """
        genomes = np.asarray(genomes)
        if genomes.ndim != 2 or genomes.shape[1] != len(self.choices):
            raise InvalidInputError(
                f"genomes of space '{self.name}' have shape (n, {len(self.choices)}), got {genomes.shape}"
            )
        bad = (genomes < 0) | (genomes >= self.cardinalities)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            choice = self.choices[column]
            raise InvalidInputError(
                f"gene '{choice.name}' must be in 0..{len(choice.options) - 1}, got {genomes[row, column]} in row {row}"
            )
        return np.where(self.mask(genomes), genomes, 0).astype(np.int16)

    def sample(self, n: int, rng: np.random.Generator) -> Genomes:
        """Draw `n` genomes, uniform for each gene and then canonicalized; shape `(n, n_genes)`, repeats possible."""
        return self.canonicalize(rng.integers(0, self.cardinalities, size=(n, len(self.choices)), dtype=np.int16))

    def subnet(self, genome: Genomes) -> Subnet:
        """Return the network of one genome of shape `(n_genes,)`."""
        return Subnet(self, self.canonicalize(np.asarray(genome)[None])[0])

    def subnets(self, genomes: Genomes) -> list[Subnet]:
        """Return the networks of genomes of shape `(n, n_genes)`."""
        return [Subnet(self, genome) for genome in self.canonicalize(genomes)]

    @property
    def origin(self) -> "SearchSpace":
        """The space that it is a part of, see `NarrowedSpace`; of a whole one itself."""
        return self

    def in_origin(self, genomes: Genomes) -> Genomes:
        """Return canonical genomes as those of `origin`."""
        return genomes

    @property
    def named_choices(self) -> tuple[Choice, ...]:
        """The choices whose options subnets name, in files and ids: those of the space."""
        return self.choices

    def options_of(self, genome: Genomes) -> dict[str, Option]:
        """Return the option of every active choice of a canonical genome, in the order of the choices."""
        active = self.mask(genome[None])[0]
        chosen = zip(self.choices, genome, active, strict=True)
        return {choice.name: choice.options[gene] for choice, gene, is_active in chosen if is_active}

    def subnet_of(self, options: Mapping[str, Option]) -> Subnet:
        """Return the network of options by choice.

        Raises:
            InvalidInputError: If an active choice has no option, or a choice or option is unknown.
        """
        if unknown := sorted(set(options) - set(self.gene)):
            raise InvalidInputError(f"space '{self.name}' has no choice called {unknown}; it has {list(self.gene)}")
        row = np.zeros((1, len(self.choices)), dtype=np.int16)
        for i, choice in enumerate(self.choices):
            if choice.name in options:
                if options[choice.name] not in choice.options:
                    raise InvalidInputError(
                        f"choice '{choice.name}' must be one of {list(choice.options)}, got {options[choice.name]!r}"
                    )
                row[0, i] = choice.options.index(options[choice.name])
        row = self.canonicalize(row)
        active = zip(self.choices, self.mask(row)[0], strict=True)
        if missing := [choice.name for choice, is_active in active if is_active and choice.name not in options]:
            raise InvalidInputError(f"the subnet lacks the choices {missing}")
        return Subnet(self, row[0])

    def subnet_from_json(self, text: str) -> Subnet:
        """Return the network that `Subnet.to_json` wrote.

        Raises:
            InvalidInputError: If the text is none, or of another space; see `subnet_of` too.
        """
        name, options = read_subnet_json(text)
        if name != self.name:
            raise InvalidInputError(f"the subnet is of space '{name}', this is space '{self.name}'")
        return self.subnet_of(options)

    @cached_property
    def size(self) -> int:
        """Exact number of distinct networks."""
        return count_networks(self.choices, self.conditions)

    @cached_property
    def digest(self) -> str:
        """Digest of the content: choices, conditions and the block of every option; 16 hexadecimal digits.

        A file that depends on a space holds it beside the name: it is of this very space exactly if the digests are equal.
        """
        conditions = {
            name: (
                condition.choice,
                [o for o in self.choices[self.gene[condition.choice]].options if o in condition.options],
            )
            for name, condition in sorted(self.conditions.items())
        }
        content = hashlib.sha256(repr([[(choice.name, choice.options) for choice in self.choices], conditions]).encode())
        for slot, factor in zip(self.slots, self.blocks, strict=True):
            texts = [describe(block) if block else "" for block in factor.values.flat]
            sources = [] if slot.sources == (PREVIOUS,) else [slot.sources]
            content.update(repr([slot.name, factor.genes, texts, *sources]).encode())
        return content.hexdigest()[:16]

    # ------------------------------------------------------------------ networks

    def build(self, genome: Genomes) -> Graph:
        """Return the whole network of a canonical genome with its quantizers; `Subnet.graph` keeps it.

        Raises:
            InvalidInputError: If the space has no networks behind it.
        """
        if not self.slots:
            raise InvalidInputError(f"space '{self.name}' has choices only and no networks behind it")
        return connect(self.assembly(genome))

    def assembly(self, genome: Genomes) -> Assembly:
        """Return the blocks of a canonical genome, without quantizers, and who takes what of whom.

        Raises:
            InvalidInputError: If an input has no active slot to come from.
        """
        options = {choice.name: choice.options[gene] for choice, gene in zip(self.choices, genome, strict=True)}
        built = [tuple(slot.build({name: options[name] for name in slot.reads})) for slot in self.slots]
        active = [i for i, block in enumerate(built) if block]
        names, edges = [slot.name for slot in self.slots], []
        for j in active:
            for k, source in enumerate(self.slots[j].sources):
                candidates = routes.candidates(names, j, source)
                given = [i for i in candidates if built[i]]
                if candidates and not given:
                    raise InvalidInputError(f"input {k + 1} of slot '{names[j]}' has no active slot to come from")
                edges += [Edge(active.index(given[0]), active.index(j), k)] if given else []
        return Assembly(tuple(names[i] for i in active), tuple(built[i] for i in active), tuple(edges))

    @cached_property
    def blocks(self) -> tuple[Factor, ...]:
        """For every slot the block that its genes choose, without quantizers; None where it is inactive."""
        return tuple(self._tabulate(slot) for slot in self.slots)

    def _tabulate(self, slot: Slot) -> Factor:
        genes = tuple(sorted(self.gene[name] for name in slot.reads))
        choices = [self.choices[gene] for gene in genes]
        table = np.empty([len(choice.options) for choice in choices], dtype=object)
        for index in np.ndindex(table.shape):
            block = slot.build({c.name: c.options[i] for c, i in zip(choices, index, strict=True)})
            table[index] = tuple(block) or None
        return Factor(genes, table)

    def distinct_blocks(self) -> Iterator[Block]:
        """Yield every block that some network of the space holds, slot by slot, without quantizers."""
        for factor in self.blocks:
            yield from (block for block in factor.values.flat if block is not None)

    @cached_property
    def active(self) -> tuple[Factor, ...]:
        """For every slot whether it holds a block."""
        return tuple(combine(lambda block: block is not None, [factor]).reduced() for factor in self.blocks)

    @cached_property
    def routes(self) -> tuple[routes.Route, ...]:
        """Which slot can give an input of which other one."""
        return routes.find_routes(self.slots, self.active)

    @property
    def n_inputs(self) -> int:
        """Number of inputs of its networks: of slots that are always active, sources that name no slot."""
        names = [slot.name for slot in self.slots]
        return sum(not routes.candidates(names, j, source) for j, slot in enumerate(self.slots) for source in slot.sources)

    @cached_property
    def is_chain(self) -> bool:
        """True if every block takes what the one before it gives, and nothing else."""
        return all(slot.sources == (PREVIOUS,) for slot in self.slots)

    @cached_property
    def incoming(self) -> tuple[Factor, ...]:
        """For every slot what arrives at its block, and the block; see `routes.incoming`."""
        return routes.incoming(self.slots, self.routes, self.blocks, self.active)

    def transitions(self, give: Callable[[Block], Hashable], take: Callable[[Block, int], Hashable]) -> tuple[Factor, ...]:
        """For every pair of slots of which one can give an input of the other, what flows; see `routes.transitions`."""
        return routes.transitions(self.routes, self.blocks, self.active, give, take)


class TabularSpace(SearchSpace):
    """A space of choices without networks behind it: for benchmarks and for evaluators of one's own.

    Args:
        choices: The decisions.
        name: Of the space.
        cell: How the choices are joined, where they are operators on the edges of a graph: predictors learn from it.

    Raises:
        InvalidInputError: If the cell names a choice that does not exist.
    """

    def __init__(self, choices: Sequence[Choice], name: str = "tabular", cell: Cell | None = None) -> None:
        super().__init__(name, choices)
        self.cell = cell
        if cell and (unknown := sorted(set(cell.edges) - set(self.gene))):
            raise InvalidInputError(f"the cell has edges {unknown} that are no choices; those are {list(self.gene)}")
