"""Several processes that train one supernet together, as `torchrun` starts them; alone, everything here changes nothing."""

import importlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


@contextmanager
def joined() -> Iterator[None]:
    """Join the other processes that `torchrun` has started, if it has.

    Torch's optimizers import `torch.distributed.nn`, whose functions keep the group that exists at that moment as a default:
    it would outlive `destroy_process_group`, and its threads abort the interpreter that ends around them. So it comes first.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    importlib.import_module("torch.distributed.nn")
    distributed.init_process_group("gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def count() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_first() -> bool:
    """Return whether this process is the one that writes files and talks to the user."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def wait() -> None:
    """Wait until every process has come here."""
    if count() > 1:
        distributed.barrier()


def in_turn(make: Callable[[], T]) -> T:
    """Return what `make` gives here; the first process calls it before the others do."""
    if not is_first():
        wait()
    made = make()
    if is_first():
        wait()
    return made


def share(n: int) -> slice:
    """Return the part of a batch of n images that this process computes; of parts that differ the later are larger."""
    if count() == 1:
        return slice(n)
    rank = distributed.get_rank()
    return slice(rank * n // count(), (rank + 1) * n // count())


def total(values: Tensor) -> Tensor:
    """Return the sum of a tensor over the processes."""
    if count() > 1:
        values = values.clone()
        distributed.all_reduce(values)
    return values


def sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Add up the gradients of all processes, in one message; each has gradients for the same parameters."""
    if count() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    summed = total(torch.cat([gradient.flatten() for gradient in gradients]))
    parts = torch.split(summed, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
