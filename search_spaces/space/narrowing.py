"""Narrowed spaces: fewer options of a choice, choices that are tied to one another; names, weights and ids stay."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from search_spaces.errors import InvalidInputError, did_you_mean
from search_spaces.graph.node import Node
from search_spaces.space.choice import ActiveWhen, Choice, Option
from search_spaces.space.factor import Factor
from search_spaces.space.slots import Slot
from search_spaces.space.space import Genomes, SearchSpace
from search_spaces.space.subnet import Subnet


class NarrowedSpace(SearchSpace):
    """A part of a space. Its networks have the ids and the shared weights that they have in the whole one.

    Args:
        whole: The space that it is a part of.
        kept: Options that are left of some choices, in any order; of the others all are.
        ties: For some choices another one whose option they always take, and which is no key here.

    Raises:
        InvalidInputError: If a choice or option is unknown, nothing is left of a choice, or tied choices do not agree in
            options or in what decides whether they matter.

    Source:
        Narrowing: SpaceEvo, Wang et al. 2023, arXiv:2303.08308. Ties: CompOFA, Sahni et al. 2021, arXiv:2104.12642.
    """

    def __init__(
        self, whole: SearchSpace, kept: Mapping[str, Sequence[Option]], ties: Mapping[str, str] | None = None
    ) -> None:
        self.whole = whole
        self.kept = {name: _kept(whole, name, options) for name, options in kept.items()}
        self.ties = dict(ties or {})
        for name, leader in self.ties.items():
            _check_tie(whole, self.kept, self.ties, name, leader)
        choices = [
            Choice(choice.name, self.kept.get(choice.name, choice.options))
            for choice in whole.choices
            if choice.name not in self.ties
        ]
        conditions = {n: c for n, c in whole.conditions.items() if n not in self.ties}
        for name, leader in self.ties.items():  # a leader matters where any that it leads does
            if leader in conditions:
                mine, other = conditions.pop(leader), whole.conditions.get(name)
                if other:
                    conditions[leader] = ActiveWhen(mine.choice, tuple(dict.fromkeys((*mine.options, *other.options))))
        super().__init__(whole.name, choices, [self._led(slot) for slot in whole.slots], conditions, whole.phases)

    def _reading(self, phase: str) -> SearchSpace:
        return NarrowedSpace(self.whole.at(phase), self.kept, self.ties)

    def _led(self, slot: Slot) -> Slot:
        """Return a slot that reads leaders in the place of the choices that they lead."""
        leader = {name: self.ties.get(name, name) for name in slot.reads}
        if not set(leader.values()) - set(leader) and len(set(leader.values())) == len(leader):
            return slot

        def build(options: Mapping[str, Option]) -> Sequence[Node]:
            return slot.build({name: options[leads] for name, leads in leader.items()})

        return Slot(slot.name, tuple(dict.fromkeys(leader.values())), build, slot.sources)

    # ------------------------------------------------------------------ to and from the whole space

    @cached_property
    def _indices(self) -> list[NDArray[np.int16]]:
        """For every choice that is left the genes of its options in the whole space."""
        mine = {choice.name: choice.options for choice in self.whole.choices}
        found = [[mine[choice.name].index(option) for option in choice.options] for choice in self.choices]
        return [np.array(genes, np.int16) for genes in found]

    def widened(self, genomes: Genomes) -> Genomes:
        """Return canonical genomes of this space as genomes of the whole one, shape `(n, n_genes of the whole)`."""
        wide = np.zeros((len(genomes), len(self.whole.choices)), np.int16)
        for gene, (choice, indices) in enumerate(zip(self.choices, self._indices, strict=True)):
            wide[:, self.whole.gene[choice.name]] = indices[genomes[:, gene]]
        for name, leader in self.ties.items():
            wide[:, self.whole.gene[name]] = wide[:, self.whole.gene[leader]]
        return self.whole.canonicalize(wide)

    def taken_in(self, genomes: Genomes) -> tuple[Genomes, NDArray[np.bool_]]:
        """Return which canonical genomes of the whole space are networks of this one, and these as its genomes."""
        narrow = np.zeros((len(genomes), len(self.choices)), np.int16)
        led = {leader: [name for name, each in self.ties.items() if each == leader] for leader in self.ties.values()}
        matters = self.whole.mask(genomes)
        for gene, (choice, indices) in enumerate(zip(self.choices, self._indices, strict=True)):
            wide = np.zeros(len(genomes), np.int16)
            for name in (*led.get(choice.name, ()), choice.name):  # of those that matter any tells
                column = self.whole.gene[name]
                wide = np.where(matters[:, column], genomes[:, column], wide)
            narrow[:, gene] = (indices[None] == wide[:, None]) @ np.arange(len(indices))
        narrow = self.canonicalize(narrow)
        is_in = (self.widened(narrow) == genomes).all(axis=1)
        return narrow[is_in], is_in

    @property
    def origin(self) -> SearchSpace:
        """See `SearchSpace`."""
        return self.whole.origin

    def in_origin(self, genomes: Genomes) -> Genomes:
        """See `SearchSpace`."""
        return self.whole.in_origin(self.widened(genomes))

    @property
    def named_choices(self) -> tuple[Choice, ...]:
        """See `SearchSpace`: subnets name the choices of the whole space."""
        return self.whole.named_choices

    def options_of(self, genome: Genomes) -> dict[str, Option]:
        """See `SearchSpace`; those of the whole space."""
        return self.whole.options_of(self.widened(genome[None])[0])

    def subnet_of(self, options: Mapping[str, Option]) -> Subnet:
        """See `SearchSpace`; options as the whole space has them.

        Raises:
            InvalidInputError: If the network is not of this part of the space, too.
        """
        wide = self.whole.subnet_of(options)
        narrow, is_in = self.taken_in(wide.genome[None])
        if not is_in[0]:
            raise InvalidInputError(f"subnet {wide.id} is not of this part of space '{self.name}': it was narrowed")
        return Subnet(self, narrow[0])


def narrowing_factors(
    space: SearchSpace, kept: Mapping[str, Sequence[Option]], ties: Mapping[str, str] | None = None
) -> list[Factor]:
    """Return which genes of the whole space a part of it has, for `nas.search.exact_front`, in factors of True and False.

    Args:
        space: The whole space.
        kept: See `NarrowedSpace`.
        ties: See `NarrowedSpace`.
    """
    factors = []
    for name, options in kept.items():
        choice = space.choices[space.gene[name]]
        factors.append(_where_both_matter(space, (name,), np.array([each in options for each in choice.options])))
    for name, leader in (ties or {}).items():
        n = len(space.choices[space.gene[name]].options)
        factors.append(_where_both_matter(space, (name, leader), np.eye(n, dtype=bool)))
    return factors


def _where_both_matter(space: SearchSpace, names: tuple[str, ...], allowed: NDArray[np.bool_]) -> Factor:
    """Return a factor of what some choices allow together where all of them matter; where not, all is allowed."""
    genes = [space.gene[name] for name in names]
    parents = sorted({space.activation(name)[0] for name in names if name in space.conditions})
    axes = [*genes, *parents]
    values = np.ones([len(space.choices[gene].options) for gene in axes], dtype=bool)
    matters = np.ones(values.shape, dtype=bool)
    for name in names:
        if name in space.conditions:
            parent, active_for = space.activation(name)
            shape = [1] * len(axes)
            shape[axes.index(parent)] = len(active_for)
            matters &= active_for.reshape(shape)
    values[...] = allowed.reshape(*allowed.shape, *[1] * len(parents)) | ~matters
    order = np.argsort(axes)
    return Factor(tuple(int(axes[i]) for i in order), values.transpose(order))


def _kept(whole: SearchSpace, name: str, options: Sequence[Option]) -> tuple[Option, ...]:
    """Return the options that are left of a choice, in the order of the whole space."""
    if name not in whole.gene:
        raise InvalidInputError(f"space '{whole.name}' has no choice called '{name}'{did_you_mean(name, whole.gene)}")
    known = whole.choices[whole.gene[name]].options
    if not options or (unknown := [option for option in options if option not in known]):
        what = f"it has no {unknown}" if options else "none is left"
        raise InvalidInputError(f"choice '{name}' keeps some of {list(known)}; {what}")
    return tuple(option for option in known if option in options)


def _check_tie(
    whole: SearchSpace, kept: Mapping[str, tuple[Option, ...]], ties: Mapping[str, str], name: str, leader: str
) -> None:
    """Raise `InvalidInputError` if one choice cannot take the option of another one."""
    if unknown := [each for each in (name, leader) if each not in whole.gene]:
        raise InvalidInputError(f"a tie names {unknown}, which are no choices of space '{whole.name}'")
    if name in {condition.choice for condition in whole.conditions.values()}:
        raise InvalidInputError(f"'{name}' decides whether other choices matter, so it cannot be tied to '{leader}'")
    if leader in ties:
        raise InvalidInputError(f"'{name}' is tied to '{leader}', which is tied to another choice itself")
    options = [kept.get(each, whole.choices[whole.gene[each]].options) for each in (name, leader)]
    if options[0] != options[1]:
        raise InvalidInputError(f"tied choices need equal options; '{name}' has {options[0]}, '{leader}' {options[1]}")
    conditions = [whole.conditions.get(each) for each in (name, leader)]
    if conditions[1] and conditions[0] and conditions[0].choice != conditions[1].choice:
        raise InvalidInputError(f"'{name}' cannot be tied to '{leader}': other choices decide whether they matter")
