"""Progress: how far something is, told to whoever watches.

Nothing is printed here: lines go to the log, unless a `Progress` is given by `show_progress`, as the command does.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Protocol

from nas.events import distributed

logger = logging.getLogger(__name__)

Update = Callable[..., None]
"""Called with what is done, what there is in all, and optionally a text to show behind."""

SECONDS_A_LINE = 20.0


class Progress(Protocol):
    """Shows how far something is; one of your own is given by `show_progress`."""

    def bar(self, title: str) -> AbstractContextManager[Update]:
        """Give what is called again and again while something goes on."""

    def working(self, text: str) -> AbstractContextManager[object]:
        """Say what is going on for a while."""


class LoggedProgress:
    """Lines in the log: one every 20 seconds, and one at the end."""

    @contextmanager
    def bar(self, title: str) -> Iterator[Update]:
        """See `Progress`."""
        yield lines_of(title, logger.info)

    def working(self, text: str) -> AbstractContextManager[object]:
        """See `Progress`."""
        logger.info(text)
        return nullcontext()


_shown: ContextVar[Progress | None] = ContextVar("progress", default=None)


@contextmanager
def show_progress(progress: Progress) -> Iterator[None]:
    """Let another `Progress` show what goes on in this context."""
    token = _shown.set(progress)
    try:
        yield
    finally:
        _shown.reset(token)


@contextmanager
def progress_bar(title: str) -> Iterator[Update]:
    """Show how far something is; of several processes that have joined, the first does.

    Args:
        title: What is going on.
    """
    if not distributed.is_main():
        yield lambda done, total, note="": None
        return
    with _progress().bar(title) as update:
        yield update


def _progress() -> Progress:
    return _shown.get() or LoggedProgress()


def working(text: str) -> AbstractContextManager[object]:
    """Say what is going on for a while."""
    return _progress().working(text)


def lines_of(title: str, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> Update:
    """Return what is called as a bar is, and says now and then how far it is, what stands behind, and the time left.

    Args:
        title: What is going on.
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
            f"{title}: "
            + ", ".join(part for part in (f"{done:,} of {total:,}", note, f"{_words(spent)} so far", left) if part)
        )

    return update


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} minutes"
