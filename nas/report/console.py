"""The terminal: text as it is, bars, and the log's lines beside them."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Column

from nas.events.progress import Update, lines_of, show_progress

PACKAGES = ("nas", "latency_tables", "predictors", "search_spaces")


def terminal(*, stderr: bool = False) -> Console:
    """Return a console that prints names of users' as they are: brackets in them are no markup."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


class TerminalProgress:
    """Bars on the error stream, or lines where nobody sees a bar.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def bar(self, title: str) -> Iterator[Update]:
        """See `nas.events.progress.Progress`."""
        if not self.console.is_terminal:
            yield lines_of(title, lambda text: self.console.print(text, soft_wrap=True))
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
        with Bars(*columns, console=self.console, speed_estimate_period=120, expand=True) as bars:
            task = bars.add_task(title, total=None, note="")

            def update(done: int, total: int, note: str = "") -> None:
                bars.update(task, completed=done, total=total, note=note)

            yield update

    def working(self, text: str) -> AbstractContextManager[object]:
        """See `nas.events.progress.Progress`."""
        if self.console.is_terminal:
            return self.console.status(text)
        self.console.print(text, soft_wrap=True)
        return nullcontext()


class _Lines(logging.Handler):
    """Prints what the log says, warnings in yellow."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else ""
        self.console.print(record.getMessage(), style=style, soft_wrap=True)


@contextmanager
def shown_on_terminal() -> Iterator[None]:
    """Show progress and log of hwnas on the error stream, as the command does."""
    console = terminal(stderr=True)
    handler, loggers = _Lines(console), [logging.getLogger(name) for name in PACKAGES]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        with show_progress(TerminalProgress(console)):
            yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
