"""Curves of a training for TensorBoard."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def tensorboard_log(folder: Path) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """Give what writes the record of an epoch; without the package `tensorboard` (extra `tensorboard`) it writes nothing.

    Args:
        folder: Of the event files; made when it is missing.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        yield lambda record: None
        return
    with SummaryWriter(folder) as writer:

        def write(record: Mapping[str, float]) -> None:
            for name in record.keys() - {"epoch"}:
                writer.add_scalar(f"training/{name}", record[name], int(record["epoch"]))
            writer.flush()

        yield write
