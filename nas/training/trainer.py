"""Training of a supernet in stages: float first, then quantized; a checkpoint after every epoch."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas.data import Dataset, shift
from nas.supernet import Supernet
from nas.training.checkpoint import load_tensors, save_tensors
from nas.training.sandwich import sample_sandwich, sandwich_step
from search_spaces.errors import InvalidInput


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a supernet is trained; the meaning of each value stands in `nas.config.TrainingConfig`."""

    float_epochs: int
    quantized_epochs: int
    batch_size: int
    learning_rate: float
    quantized_learning_rate: float
    warmup_epochs: int
    momentum: float
    weight_decay: float
    n_random: int
    label_smoothing: float
    clip_norm: float
    shift_pixels: int

    @property
    def epochs(self) -> int:
        """Epochs of both stages."""
        return self.float_epochs + self.quantized_epochs

    def is_quantized(self, epoch: int) -> bool:
        """Whether an epoch, counted from 0, belongs to the quantized stage."""
        return epoch >= self.float_epochs

    def rate(self, epoch: float) -> float:
        """Return the learning rate: linear warm-up, then a cosine to zero; one cosine for each stage."""
        warmup = min(self.warmup_epochs, self.float_epochs)
        if epoch < warmup:
            return self.learning_rate * (epoch + 0.05) / (warmup + 0.05)
        if epoch < self.float_epochs:
            done = (epoch - warmup) / (self.float_epochs - warmup)
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        done = (epoch - self.float_epochs) / max(self.quantized_epochs, 1)
        return self.quantized_learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def train(
    supernet: Supernet,
    data: Dataset,
    schedule: Schedule,
    *,
    seed: int,
    checkpoint: Path,
    identity: dict[str, Any],
    progress: Callable[[int, int, str], None] = lambda done, total, note: None,
) -> list[dict[str, float]]:
    """Train, or go on where a killed training stopped.

    All random draws of an epoch come from the seed and the number of the epoch, so a resumed training ends with the same
    weights as one that was never stopped.

    Args:
        supernet: Changed in place.
        data: Its training split is used.
        schedule: Stages and their settings.
        seed: Of order, shifts and sampled networks.
        checkpoint: File to write after every epoch and to go on from.
        identity: What a checkpoint must agree with to be gone on from.
        progress: Called with images seen, images in all, and a text on the state.

    Returns:
        One record for each epoch: `epoch`, `loss`.

    Raises:
        InvalidInput: If the checkpoint is damaged or of another training, or the loss is no longer finite.
    """
    images, labels = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
    optimizer = _optimizer(supernet, schedule)
    records = _resume(supernet, optimizer, checkpoint, identity) if checkpoint.exists() else []
    for epoch in range(len(records), schedule.epochs):
        rng = np.random.default_rng([seed, epoch])
        stage = "quantized" if schedule.is_quantized(epoch) else "float"
        losses: list[float] = []
        for position, (x, y) in _batches(images, labels, schedule, rng):
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(epoch + position)
            losses.append(
                sandwich_step(
                    supernet,
                    optimizer,
                    x,
                    y,
                    sample_sandwich(supernet.space, schedule.n_random, schedule.is_quantized(epoch), rng),
                    label_smoothing=schedule.label_smoothing,
                    clip_norm=schedule.clip_norm,
                )
            )
            done = epoch * len(images) + (position * len(images)) + len(x)
            note = f"{stage} epoch {epoch + 1}/{schedule.epochs}, loss {np.mean(losses):.3f}"
            progress(min(int(done), (epoch + 1) * len(images)), schedule.epochs * len(images), note)
        if not np.isfinite(losses).all():
            raise InvalidInput(f"the loss is not finite in epoch {epoch + 1}; lower training.learning_rate and train anew")
        records.append({"epoch": epoch + 1, "loss": round(float(np.mean(losses)), 5)})
        _save(supernet, optimizer, checkpoint, {**identity, "records": records})
    return records


def _batches(
    images: Tensor, labels: Tensor, schedule: Schedule, rng: np.random.Generator
) -> Iterator[tuple[float, tuple[Tensor, Tensor]]]:
    """Yield the fraction of the epoch that is done and a shifted batch; a last batch smaller than half is left out."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    order = torch.randperm(len(images), generator=generator)
    for start in range(0, len(order), schedule.batch_size):
        index = order[start : start + schedule.batch_size]
        if start and len(index) < schedule.batch_size / 2:
            break
        yield start / len(order), (shift(images[index], schedule.shift_pixels, generator), labels[index])


def _optimizer(supernet: Supernet, schedule: Schedule) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum; weight decay on weights only, not on batch norms, biases or scales."""
    decayed = [p for p in supernet.parameters() if p.ndim > 1]
    others = [p for p in supernet.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": schedule.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=schedule.learning_rate, momentum=schedule.momentum, nesterov=True)


def _momenta(supernet: Supernet, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    buffers = {name: optimizer.state[p].get("momentum_buffer") for name, p in supernet.named_parameters()}
    return {f"momentum:{name}": buffer for name, buffer in buffers.items() if buffer is not None}


def _save(supernet: Supernet, optimizer: torch.optim.Optimizer, path: Path, facts: dict[str, Any]) -> None:
    save_tensors(path, {**supernet.state_dict(), **_momenta(supernet, optimizer)}, facts)


def _resume(
    supernet: Supernet, optimizer: torch.optim.Optimizer, path: Path, identity: dict[str, Any]
) -> list[dict[str, float]]:
    tensors, facts = load_tensors(path)
    check_identity(facts, identity, path)
    load_supernet(supernet, {n: t for n, t in tensors.items() if not n.startswith("momentum:")}, path)
    for name, parameter in supernet.named_parameters():
        if (buffer := tensors.get(f"momentum:{name}")) is not None:
            optimizer.state[parameter]["momentum_buffer"] = buffer
    return list(facts["records"])


def check_identity(facts: dict[str, Any], identity: dict[str, Any], path: Path) -> None:
    """Raise `InvalidInput` with the first difference if a file of tensors is of another training."""
    for key, value in identity.items():
        if facts.get(key) != value:
            raise InvalidInput(
                f"'{path}' is of another training: its {key} is {facts.get(key)}, this one's is {value}; "
                "use another run folder, or delete the file to train anew"
            )


def load_supernet(supernet: Supernet, tensors: dict[str, Tensor], path: Path) -> None:
    """Put tensors into a supernet.

    Raises:
        InvalidInput: If names or shapes are those of another space, or a weight is not finite.
    """
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise InvalidInput(f"'{path}' holds weights that are not finite: it is damaged; delete it to train anew")
    try:
        supernet.load_state_dict(tensors)
    except RuntimeError as error:
        raise InvalidInput(f"'{path}' holds the weights of another space than '{supernet.space.name}'") from error
