"""Networks that every search starts from and every plot shows: smallest, largest, each format alone at several sizes."""

import numpy as np

from search_spaces.space.space import Genomes, SearchSpace

LEVELS = {"smallest": 0.0, "middle": 0.5, "largest": 1.0}


def format_genes(space: SearchSpace) -> list[int]:
    """Return the genes of number formats: those of choices whose last level is `format`, as `stage1/block2/format`."""
    return [i for i, choice in enumerate(space.choices) if choice.name.rpartition("/")[2] == "format"]


def uniform_genome(space: SearchSpace, level: str, precision: str | None = None) -> Genomes:
    """Return a network whose every choice is at one level of its options.

    Args:
        space: The space.
        level: A key of `LEVELS`.
        precision: Format of all blocks, such as `w8a8`; None takes the first that is offered.

    Returns:
        Canonical genome, shape `(n_genes,)`.
    """
    genome = np.floor(LEVELS[level] * (space.cardinalities - 1)).astype(np.int16)
    for gene in format_genes(space):
        genome[gene] = space.choices[gene].options.index(precision) if precision else 0
    canonical: Genomes = space.canonicalize(genome[None])[0]
    return canonical


def formats(space: SearchSpace) -> list[str]:
    """Return the number formats that every block offers, in the order of the first block's options."""
    offered = [space.choices[gene].options for gene in format_genes(space)]
    return [str(option) for option in offered[0] if all(option in options for options in offered)] if offered else []


def baselines(space: SearchSpace) -> dict[str, Genomes]:
    """Return the named baselines, such as `w8a8 largest`, in a fixed order; without formats just the three levels.

    Where there are formats alone to choose, the three levels are one network, called as its format. Those that a part of a
    space has in place of the whole one's are said to be `of the part`.
    """
    mine = _uniform(space)
    if space.origin is space:
        return mine
    ids = {subnet.id for subnet in space.origin.subnets(np.array(list(_uniform(space.origin).values())))}
    return {name if space.subnet(g).id in ids else f"{name} of the part": g for name, g in mine.items()}


def _uniform(space: SearchSpace) -> dict[str, Genomes]:
    """Return the uniform networks of a space, by format and level."""
    offered = formats(space)
    if not offered:
        return {level: uniform_genome(space, level) for level in LEVELS}
    found: dict[str, Genomes] = {}
    for precision in offered:
        genomes = {level: uniform_genome(space, level, precision) for level in LEVELS}
        is_one = len({genome.tobytes() for genome in genomes.values()}) == 1
        found |= {precision: genomes["largest"]} if is_one else {f"{precision} {at}": each for at, each in genomes.items()}
    return found
