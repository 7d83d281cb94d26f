"""Cell: choices that are operators on the edges of a small graph, as in NAS-Bench-201."""

from collections.abc import Mapping
from dataclasses import dataclass

from search_spaces.errors import InvalidInputError
from search_spaces.space.choice import Option


@dataclass(frozen=True)
class Cell:
    """Operators on the edges of a directed graph; it says of choices how what they stand for is joined.

    Attributes:
        edges: By name of a choice, the node that its operator reads and the node that it adds to, a later one. Node 0 is
            what comes in, the last node what goes out.
        nothing: Options that cut an edge.
        identity: Options that pass on what they read.

    Raises:
        InvalidInputError: If there is no edge, or one leads back.
    """

    edges: Mapping[str, tuple[int, int]]
    nothing: tuple[Option, ...] = ("none",)
    identity: tuple[Option, ...] = ("skip_connect",)

    def __post_init__(self) -> None:
        if not self.edges:
            raise InvalidInputError("a cell needs at least one edge, got none")
        if back := {name: ends for name, ends in self.edges.items() if not 0 <= ends[0] < ends[1]}:
            raise InvalidInputError(f"the edges of a cell must lead from a node to a later one, but {back} do not")

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return 1 + max(last for _, last in self.edges.values())

    def sources(self, options: Mapping[str, Option]) -> dict[str, tuple[str, ...]]:
        """Return what each live operator reads; an operator is live if it is fed by the input and feeds the output.

        Args:
            options: By choice.

        Returns:
            By name of a live edge whose option is an operator the edges it reads, `input` for what comes in; identities are
            seen through. The key `output` holds what the output reads; it reads nothing where the cell is cut in two.
        """
        into: list[list[str]] = [[] for _ in range(self.n_nodes)]
        into[0] = ["input"]
        reads: dict[str, tuple[str, ...]] = {}
        for name, (first, last) in sorted(self.edges.items(), key=lambda item: item[1]):
            option = options[name]
            if option in self.nothing or not into[first]:
                continue
            if option in self.identity:
                into[last] += into[first]
            else:
                reads[name] = tuple(into[first])
                into[last].append(name)
        live, due = {"output": tuple(into[-1])}, list(into[-1])
        while due:
            name = due.pop()
            if name != "input" and name not in live:
                live[name] = reads[name]
                due += reads[name]
        return live
