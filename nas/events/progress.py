"""Terminal output: text as it is, and progress on the error stream: a bar, or lines where nobody sees one."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column

from nas.events import distributed


def terminal(*, stderr: bool = False) -> Console:
    """Return a console that prints names of users' as they are: brackets in them are no markup."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


console = terminal(stderr=True)

Update = Callable[..., None]

SECONDS_A_LINE = 20.0


@contextmanager
def progress_bar(label: str) -> Iterator[Update]:
    """Show a bar; call what it gives with what is done, what there is in all, and optionally a text to show behind.

    Where the output is no terminal, a line is printed every 20 seconds instead, and one at the end. Of several processes
    that have joined, the first shows it.

    Args:
        label: What is going on.
    """
    if not console.is_terminal and distributed.is_main():
        yield lines_of(label, lambda text: console.print(text, soft_wrap=True))
        return
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
        *columns, console=console, disable=not distributed.is_main(), speed_estimate_period=120, expand=True
    ) as progress:
        task = progress.add_task(label, total=None, note="")

        def update(done: int, total: int, note: str = "") -> None:
            progress.update(task, completed=done, total=total, note=note)

        yield update


def lines_of(label: str, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> Update:
    """Return what is called as a bar is, and says now and then how far it is, what stands behind, and the time left.

    Args:
        label: What is going on.
        say: Takes a line.
        clock: Seconds; replaced in tests.
    """
    started = said = clock()
    first: int | None = None  # what had been done before
    ended = False

    def update(done: int, total: int, note: str = "") -> None:
        nonlocal said, first, ended
        first = done if first is None else first
        now = clock()
        if ended or (done < total and now - said < SECONDS_A_LINE):
            return
        said, ended = now, done >= total
        spent = now - started
        left = "done" if ended else f"about {_words(spent / (done - first) * (total - done))} left" if done > first else ""
        say(
            f"{label}: "
            + ", ".join(part for part in (f"{done:,} of {total:,}", note, f"{_words(spent)} so far", left) if part)
        )

    return update


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def working(text: str) -> AbstractContextManager[object]:
    """Say what is going on for a while: beside a spinner, or as a line where nobody sees one."""
    if console.is_terminal:
        return console.status(text)
    console.print(text, soft_wrap=True)
    return nullcontext()
