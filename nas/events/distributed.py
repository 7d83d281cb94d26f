"""Several processes that train one supernet together, as `torchrun` starts them; alone, everything here changes nothing.

Torch is asked only where it has been imported: a process that never did has joined nobody.
"""

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

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
    dist = importlib.import_module("torch.distributed")
    dist.init_process_group("gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def _group() -> Any:
    """Return `torch.distributed` if this process has joined others, otherwise None."""
    dist = sys.modules.get("torch.distributed")
    return dist if dist is not None and dist.is_initialized() else None


def world_size() -> int:
    """Return the number of processes that train together."""
    group = _group()
    return int(group.get_world_size()) if group else 1


def is_main() -> bool:
    """Return whether this process is the one that writes files and talks to the user."""
    group = _group()
    return group is None or group.get_rank() == 0


def barrier() -> None:
    """Wait until every process has come here."""
    if world_size() > 1:
        _group().barrier()


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
    rank = _group().get_rank()
    return slice(rank * n // world_size(), (rank + 1) * n // world_size())


def all_reduce(values: "Tensor") -> "Tensor":
    """Return the sum of a tensor over the processes."""
    if world_size() > 1:
        values = values.clone()
        _group().all_reduce(values)
    return values


def all_reduce_gradients(parameters: "Iterable[Tensor]") -> None:
    """Add up the gradients of all processes, in one message; each has gradients for the same parameters."""
    if world_size() == 1:
        return
    import torch

    gradients = [p.grad for p in parameters if p.grad is not None]
    summed = all_reduce(torch.cat([gradient.flatten() for gradient in gradients]))
    parts = torch.split(summed, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
