"""The interface of a sampler: which networks a training step trains."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nas.training.schedule import Schedule
from search_spaces.graph.graph import Graph
from search_spaces.registry import Registry
from search_spaces.space.baselines import format_genes, formats, uniform_genome
from search_spaces.space.space import Genomes, SearchSpace

Cost = Callable[[Genomes], NDArray[np.float64]]


@dataclass(frozen=True)
class Around:
    """What an earlier search has found: the networks that a training is about.

    Attributes:
        front: Its measured front, shape `(n, n_genes)`.
        rank: By what networks are ranked, as predicted from all that was measured; minimised.
        cost: The first cost that the search minimised beside.
    """

    front: Genomes
    rank: Cost
    cost: Cost


@dataclass(frozen=True)
class Moment:
    """When networks are drawn, and of what.

    Attributes:
        space: The space.
        schedule: Says which formats are trained, and how many random networks there are in a step.
        epoch: In epochs from 0, with fractions.
        around: What an earlier search has found; None where there was none.
    """

    space: SearchSpace
    schedule: Schedule
    epoch: float
    around: Around | None = None

    @property
    def formats(self) -> list[str]:
        """The number formats that are trained now, few bits last; none where the space offers none."""
        return list(self.schedule.formats(formats(self.space), self.epoch))

    @property
    def largest(self) -> Genomes:
        """The largest network in the first format, shape `(n_genes,)`."""
        return uniform_genome(self.space, "largest")

    @property
    def smallest(self) -> Genomes:
        """The smallest network in the last format that is trained now, shape `(n_genes,)`."""
        return uniform_genome(self.space, "smallest", self.formats[-1] if self.formats else None)


class Sampler(Protocol):
    """Draws the networks of a training step. A new one is a file with a class of this method, registered under its name.

    Where `around` is needed, the class says so by a class attribute `needs_front = True`.
    """

    def draw(self, moment: Moment, rng: np.random.Generator) -> Genomes:
        """Return the networks of one step, shape `(n, n_genes)`; the first teaches the others where they are distilled.

        Records of a training call the first one the largest, and the last one the smallest.
        """


SAMPLERS: Registry[Callable[..., Sampler]] = Registry("sampler")


def draw_graphs(sampler: Sampler, moment: Moment, rng: np.random.Generator) -> list[Graph]:
    """Return the networks of one step; before shrinking starts only the largest."""
    genomes = sampler.draw(moment, rng) if moment.schedule.shrinks(moment.epoch) else moment.largest[None]
    return [moment.space.subnet(genome).graph for genome in genomes]


def between_corners(moment: Moment, share: float, rng: np.random.Generator, draw: Callable[[int], Genomes]) -> Genomes:
    """Return the networks of one step; in a share of the steps largest and smallest stand around them, in the place of two.

    Args:
        moment: Says how many networks there are in a step.
        share: Of the steps that have them, 0 to 1.
        rng: Decides whether this one does.
        draw: Gives so many of the other networks, shape `(n, n_genes)`.
    """
    has_corners = share == 1 or rng.random() < share
    drawn = draw(moment.schedule.n_random + (0 if has_corners else 2))
    return np.concatenate([moment.largest[None], drawn, moment.smallest[None]]) if has_corners else drawn


def in_trained_formats(moment: Moment, genomes: Genomes, rng: np.random.Generator, kept: float = 0.0) -> Genomes:
    """Return networks in random formats of those that are trained now: each block in its own, or a whole network in one.

    Args:
        moment: Decides what is trained; its schedule says how many networks have one format throughout.
        genomes: Shape `(n, n_genes)`.
        rng: Source of the formats.
        kept: Share of the networks that keep those of their own formats that are trained now.
    """
    trained, genes, space = moment.formats, format_genes(moment.space), moment.space
    if not trained:
        return genomes
    drawn = rng.integers(len(trained), size=(len(genomes), len(genes)))
    drawn = np.where(rng.random((len(genomes), 1)) < moment.schedule.uniform_share, drawn[:, :1], drawn)
    keeps = rng.random(len(genomes)) < kept if kept else np.zeros(len(genomes), bool)
    changed = genomes.copy()
    for gene, column in zip(genes, drawn.T, strict=True):
        options = np.array([space.choices[gene].options.index(name) for name in trained])
        stays = keeps & np.isin(genomes[:, gene], options)
        changed[:, gene] = np.where(stays, genomes[:, gene], options[column])
    canonical: Genomes = space.canonicalize(changed)
    return canonical
