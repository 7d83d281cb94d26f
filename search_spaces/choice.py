"""Choice: one decision with ordered options; ActiveWhen: when a decision matters at all."""

from dataclasses import dataclass

from search_spaces.errors import InvalidInput

Option = int | float | str


@dataclass(frozen=True)
class Choice:
    """One decision of a search space.

    Attributes:
        name: Unique within its space; levels are separated by `/`, as in `stage1/block2/kernel`.
        options: In order of growing cost where there is one; a gene is an index into it.

    Raises:
        InvalidInput: If there is no option, or one stands twice.
    """

    name: str
    options: tuple[Option, ...]

    def __post_init__(self) -> None:
        if not self.options:
            raise InvalidInput(f"choice '{self.name}' needs at least one option, got none")
        if len(set(self.options)) != len(self.options):
            raise InvalidInput(f"choice '{self.name}' needs distinct options, got {list(self.options)}")


@dataclass(frozen=True)
class ActiveWhen:
    """A condition on one other choice, as for the blocks of a stage with elastic depth.

    Attributes:
        choice: Name of the choice that decides; it must itself be always active.
        options: The options of that choice for which the condition holds.
    """

    choice: str
    options: tuple[Option, ...]
