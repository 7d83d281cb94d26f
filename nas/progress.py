"""What is said on the terminal: text as it is, and progress bars with the time left on its error stream."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column

from nas import processes


def terminal(*, stderr: bool = False) -> Console:
    """Return a console that prints names of users' as they are: brackets in them are no markup."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


console = terminal(stderr=True)

Update = Callable[..., None]


@contextmanager
def progress_bar(label: str) -> Iterator[Update]:
    """Show a bar; call what it gives with what is done, what there is in all, and optionally a text to show behind.

    Of several processes that have joined, the first shows it.

    Args:
        label: What is going on.
    """
    whole = Column(no_wrap=True, min_width=7)
    columns = (
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=12),
        TaskProgressColumn(table_column=Column(no_wrap=True)),
        TextColumn("left"),
        TimeRemainingColumn(table_column=whole),
        TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
    )
    with Progress(
        *columns, console=console, disable=not processes.is_first(), speed_estimate_period=120, expand=True
    ) as progress:
        task = progress.add_task(label, total=None, note="")

        def update(done: int, total: int, note: str = "") -> None:
            progress.update(task, completed=done, total=total, note=note)

        yield update
