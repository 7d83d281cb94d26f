"""Choice: one decision with ordered options; ActiveWhen: when a decision matters at all."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search_spaces.errors import InvalidInputError

Option = int | float | str

MAX_OPTIONS = np.iinfo(np.int16).max + 1  # a gene has 16 bits


@dataclass(frozen=True)
class Choice:
    """One decision of a search space.

    Attributes:
        name: Unique within its space; levels are separated by `/`, as in `stage1/block2/kernel`.
        options: In order of growing cost where there is one; a gene is an index into it. NumPy's numbers become Python's.

    Raises:
        InvalidInputError: If there is no option, one stands twice, or there are more than 32,768.
    """

    name: str
    options: tuple[Option, ...]

    def __post_init__(self) -> None:
        if not len(self.options):
            raise InvalidInputError(f"choice '{self.name}' needs at least one option, got none")
        if len(self.options) > MAX_OPTIONS:
            raise InvalidInputError(f"choice '{self.name}' may have {MAX_OPTIONS:,} options, got {len(self.options):,}")
        plain = tuple(option.item() if isinstance(option, np.generic) else option for option in self.options)
        object.__setattr__(self, "options", plain)
        if len(set(self.options)) != len(self.options):
            raise InvalidInputError(f"choice '{self.name}' needs distinct options, got {list(self.options)}")


@dataclass(frozen=True)
class ActiveWhen:
    """A condition on one other choice, as for the blocks of a stage with elastic depth.

    Attributes:
        choice: Name of the choice that decides; it must itself be always active.
        options: The options of that choice for which the condition holds.
    """

    choice: str
    options: tuple[Option, ...]

    @classmethod
    def deep_enough(cls, index: int, depth: str, depths: Sequence[int], names: Iterable[str]) -> "dict[str, ActiveWhen]":
        """Return conditions of the choices of a block that is there only if enough blocks are; none if it always is.

        Args:
            index: Of the block, from 1.
            depth: Name of the choice of the number of blocks.
            depths: Its options.
            names: Of the block's choices.
        """
        deep_enough = tuple(each for each in depths if each >= index)
        return {} if deep_enough == tuple(depths) else dict.fromkeys(names, cls(depth, deep_enough))


def count_networks(choices: Iterable[Choice], conditions: Mapping[str, ActiveWhen]) -> int:
    """Return the exact number of distinct networks that choices under conditions have."""
    options = {choice.name: choice.options for choice in choices}
    parents = {condition.choice for condition in conditions.values()}
    total = 1
    for name, own in options.items():
        if name in conditions:
            continue
        if name not in parents:
            total *= len(own)
            continue
        children = [(n, c) for n, c in conditions.items() if c.choice == name]
        total *= sum(math.prod(len(options[n]) for n, c in children if option in c.options) for option in own)
    return total
