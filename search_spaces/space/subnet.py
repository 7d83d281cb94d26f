"""Subnet: one network of a search space, as it travels between strategies, evaluators, exports and files."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from search_spaces.errors import InvalidInputError
from search_spaces.graph.graph import Graph
from search_spaces.space.assembly import Assembly
from search_spaces.space.choice import Option

if TYPE_CHECKING:
    from search_spaces.space.space import Genomes, SearchSpace


@dataclass(frozen=True, eq=False)
class Subnet:
    """One network of a search space; `SearchSpace.subnet` makes it. Subnets of one space and equal options compare equal.

    Attributes:
        space: The space.
        genome: Canonical, shape `(n_genes,)`.
    """

    space: "SearchSpace"
    genome: "Genomes"

    @cached_property
    def options(self) -> Mapping[str, Option]:
        """The option of every active choice, in the order of the space's choices."""
        return self.space.options_of(self.genome)

    @cached_property
    def id(self) -> str:
        """Ten hexadecimal digits of the space's name and the options: the same in every process and version."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:10]

    @cached_property
    def graph(self) -> Graph:
        """The whole network with its quantizers.

        Raises:
            InvalidInputError: If the space has no networks behind it.
        """
        return self.space.build(self.genome)

    @cached_property
    def assembly(self) -> Assembly:
        """Its blocks without quantizers, and who takes what of whom."""
        return self.space.assembly(self.genome)

    def to_json(self) -> str:
        """Return one line of JSON, the same for equal subnets; `SearchSpace.subnet_from_json` reads it."""
        return json.dumps({"space": self.space.name, "values": dict(self.options)}, separators=(",", ":"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Subnet) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())


def read_subnet_json(text: str) -> tuple[str, dict[str, Option]]:
    """Return name of the space and options of what `Subnet.to_json` wrote.

    Raises:
        InvalidInputError: If the text is not such an object. The space checks whether the options exist.
    """
    try:
        content = json.loads(text)
        return str(content["space"]), dict(content["values"].items())
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            f'a subnet is JSON of the form {{"space": NAME, "values": {{CHOICE: OPTION}}}}, got {text[:80]!r}'
        ) from error
