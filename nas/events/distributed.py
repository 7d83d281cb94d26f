"""Several processes that train one supernet together, as `torchrun` starts them; alone, everything here changes nothing."""

import importlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

T = TypeVar("T")


@contextmanager
def session() -> Iterator[None]:
    """Join the other processes that `torchrun` has started, if it has.

    Torch's optimizers import `torch.distributed.nn`, whose functions keep the group that exists at that moment as a default:
    it would outlive `destroy_process_group`, and its threads abort the interpreter that ends around them. So it comes first.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    importlib.import_module("torch.distributed.nn")
    dist.init_process_group("gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def world_size() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Return whether this process is the one that writes files and talks to the user."""
    return not dist.is_initialized() or dist.get_rank() == 0


def barrier() -> None:
    """Wait until every process has come here."""
    if world_size() > 1:
        dist.barrier()


def main_first(make: Callable[[], T]) -> T:
    """Return what `make` gives here; the first process calls it before the others do."""
    if not is_main():
        barrier()
    made = make()
    if is_main():
        barrier()
    return made


def shard(n: int) -> slice:
    """Return the part of a batch of n samples that this process computes; of parts that differ the later are larger."""
    if world_size() == 1:
        return slice(n)
    rank = dist.get_rank()
    return slice(rank * n // world_size(), (rank + 1) * n // world_size())


def all_reduce(values: Tensor) -> Tensor:
    """Return the sum of a tensor over the processes."""
    if world_size() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def all_reduce_gradients(parameters: Iterable[Tensor]) -> None:
    """Add up the gradients of all processes, in one message; each has gradients for the same parameters."""
    if world_size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    summed = all_reduce(torch.cat([gradient.flatten() for gradient in gradients]))
    parts = torch.split(summed, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
