"""Training of a supernet in stages: float first, then quantized; a checkpoint after every epoch."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas.data.dataset import Dataset
from nas.events import distributed
from nas.quantizers.compiled import compiled_quantizer
from nas.quantizers.noise import quantization_noise
from nas.supernet.experts import stacked
from nas.supernet.sorting import is_decoder, orders_of_importance
from nas.supernet.supernet import Supernet
from nas.supernet.weights import cut, take_inventory
from nas.tasks.task import Task, has_collapsed
from nas.training.checkpoint import load_tensors, save_tensors
from nas.training.optimizers import KEPT, Optimizer, build_optimizer, kept_state, restore_state
from nas.training.samplers import SAMPLERS, Around, Moment, draw_graphs
from nas.training.schedule import Schedule
from nas.training.step import training_step
from search_spaces.errors import DamagedFileError, InvalidInputError, MeasurementError
from search_spaces.graph.graph import Graph
from search_spaces.space.narrowing import NarrowedSpace

logger = logging.getLogger(__name__)

Record = dict[str, float]
Sample = Callable[[float, np.random.Generator], list[Graph]]

MAX_ROLLBACKS = 3
N_SORTING = 8  # windows that tell what matters
SLOWER = 0.5  # what the learning rate is multiplied by after a roll-back


def train(
    supernet: Supernet,
    task: Task,
    data: Dataset,
    schedule: Schedule,
    *,
    seed: int,
    checkpoint: Path,
    identity: dict[str, Any],
    sample: Sample | None = None,
    around: Around | None = None,
    teacher: Callable[[Tensor], Tensor] | None = None,
    before: float | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, note: None,
    log: Callable[[Record], None] = lambda record: None,
) -> list[Record]:
    """Train, or go on where a killed training stopped.

    All random draws of an epoch come from the seed and the number of the epoch, so a resumed training ends with the same
    weights as one that was never stopped. An epoch whose loss is not finite, or after which the largest network is no better
    than chance although it was, is thrown away and repeated at half the learning rate, up to three times in a training.

    Args:
        supernet: Changed in place.
        task: Says what is lost and what is scored.
        data: Its training split is used.
        schedule: Stages and their settings.
        seed: Of order, shifts and sampled networks.
        checkpoint: File to write after every epoch and to go on from.
        identity: What a checkpoint must agree with to be gone on from.
        sample: Gives the networks of a step for the moment, in epochs from 0; None: the schedule's sampler.
        around: What an earlier search has found, for samplers that draw around it.
        teacher: See `training_step`.
        before: The task's metric of the largest network at the start: what a collapse of the first epoch is judged by.
        progress: Called with samples seen, samples in all, and a text on the state.
        log: Called with the record of each epoch.

    Returns:
        One record for each epoch: `epoch`; `loss` of the largest network; `METRIC_largest` and `METRIC_smallest`, the task's
        first metric on the training batches; `METRIC_at_end`, of the largest in the last quarter; `learning_rate` at its
        start; `samples_per_second`; `rollbacks` so far.

    Raises:
        DamagedFileError: If the checkpoint is damaged.
        InvalidInputError: If it is of another training.
        MeasurementError: If training collapsed four times.
    """
    if (schedule.bfloat16 or schedule.quantized_bfloat16) and not _has_bfloat16(supernet.device):
        logger.warning("this machine does not compute in bfloat16: training goes on in float32")
        schedule = replace(schedule, bfloat16=False, quantized_bfloat16=False)
    if schedule.compile and schedule.quantized_epochs:
        supernet.fake_quantize, supernet.choose_scale = compiled_quantizer()
    rounding = supernet.fake_quantize, supernet.fake_quantize_rows
    optimizer = build_optimizer(supernet, schedule)
    records = _resume(supernet, optimizer, checkpoint, identity) if checkpoint.exists() else []
    sample = sample or _sampling(supernet, schedule, around)
    job = _Job(supernet, task, data, schedule, seed, sample, teacher, progress)
    rollbacks = int(records[-1]["rollbacks"]) if records else 0
    while len(records) < schedule.epochs:
        begin = None if checkpoint.exists() else {n: t.clone() for n, t in supernet.state_dict().items()}
        try:
            record = _epoch(job, optimizer, len(records), rollbacks)
        finally:
            supernet.fake_quantize, supernet.fake_quantize_rows = rounding
        earlier = [*([] if before is None else [before]), *(each[f"{task.metric.name}_largest"] for each in records)]
        at_end = record[f"{task.metric.name}_at_end"]
        if np.isfinite(record["loss"]) and not has_collapsed(task, at_end, earlier):
            records.append(record)
            log(record)
            if distributed.is_main():
                _save(supernet, optimizer, checkpoint, {**identity, "records": records})
                logger.info(_in_words(record, schedule, task))
            distributed.barrier()
            continue
        rollbacks += 1
        if rollbacks > MAX_ROLLBACKS:
            raise MeasurementError(
                f"training collapses in epoch {len(records) + 1} even at {SLOWER**MAX_ROLLBACKS:g} of the learning rate; "
                "train anew with a lower one"
            )
        optimizer = build_optimizer(supernet, schedule)
        if begin is None:
            _resume(supernet, optimizer, checkpoint, identity)
        else:
            supernet.load_state_dict(begin)
        if distributed.is_main():
            logger.warning(
                f"epoch {len(records) + 1} collapsed (loss {record['loss']:.3g}, {_title(task)} of the largest "
                f"{_short(task, at_end)}); it is repeated at {SLOWER**rollbacks:g} of the learning rate"
            )
    return records


def _sampling(supernet: Supernet, schedule: Schedule, around: Around | None) -> Sample:
    """Return what the schedule's sampler draws."""
    sampler = SAMPLERS.build(schedule.sampler.name, schedule.sampler.options)
    return lambda epoch, rng: draw_graphs(sampler, Moment(supernet.space, schedule, epoch, around), rng)


@dataclass(frozen=True)
class _Job:
    """Arguments of `train` that stay the same from epoch to epoch."""

    supernet: Supernet
    task: Task
    data: Dataset
    schedule: Schedule
    seed: int
    sample: Sample
    teacher: Callable[[Tensor], Tensor] | None
    progress: Callable[[int, int, str], None]


def _epoch(job: _Job, optimizer: Optimizer, epoch: int, rollbacks: int) -> Record:
    """Train one epoch and return its record; it is left at the first loss that is not finite."""
    supernet, schedule, task = job.supernet, job.schedule, job.task
    samples, n_samples = {name: torch.from_numpy(array) for name, array in job.data.train.items()}, job.data.size("train")
    rng = np.random.default_rng([job.seed, epoch, rollbacks])
    in_bfloat16 = schedule.quantized_bfloat16 if schedule.is_quantized(epoch) else schedule.bfloat16
    stage = "quantized" if schedule.is_quantized(epoch) else "float"
    if schedule.quantization_noise and schedule.is_quantized(epoch):
        noise = quantization_noise(torch.Generator(supernet.device).manual_seed(int(rng.integers(2**63))))
        supernet.fake_quantize = supernet.fake_quantize_rows = noise
    steps: list[tuple[float, float, float]] = []
    seen, start = 0, time.perf_counter()
    before = max(0.0, epoch - schedule.batch_size / n_samples)  # the moment of the step before, or earlier
    for position, drawn in _batches(task, samples, n_samples, schedule, rng):
        fractional_epoch = epoch + position
        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate_at(fractional_epoch) * SLOWER**rollbacks
        batch = {name: tensor.to(supernet.device) for name, tensor in drawn.items()}
        if schedule.shrinks(fractional_epoch) and not schedule.shrinks(before) and is_decoder(supernet.space):
            _sort(supernet, optimizer, batch[job.data.inputs][:N_SORTING])
        before = fractional_epoch
        graphs = job.sample(fractional_epoch, rng)
        loss, found = training_step(
            supernet, optimizer, task, batch, graphs, schedule, teacher=job.teacher, in_bfloat16=in_bfloat16
        )
        steps.append((loss, found[0], found[-1]))
        if not np.isfinite(loss):
            break
        n = len(next(iter(batch.values())))
        seen += n
        recent = np.mean(steps[-50:], axis=0)
        note = (
            f"{stage} {epoch + 1}/{schedule.epochs}, {_title(task)} {_short(task, recent[1])} to {_short(task, recent[2])}, "
            f"loss {recent[0]:.2f}, {seen / (time.perf_counter() - start):.0f} {task.sample}s/s"
        )
        done = epoch * n_samples + round(position * n_samples) + n
        job.progress(min(done, (epoch + 1) * n_samples), schedule.epochs * n_samples, note)
    loss, largest, smallest = np.mean(steps, axis=0)
    at_end = np.mean([value for _, value, _ in steps[-math.ceil(len(steps) / 4) :]])
    digits = task.metric.digits + 1
    return {
        "epoch": epoch + 1,
        "loss": round(float(loss), 5),
        f"{task.metric.name}_largest": round(float(largest), digits),
        f"{task.metric.name}_smallest": round(float(smallest), digits),
        f"{task.metric.name}_at_end": round(float(at_end), digits),
        "learning_rate": round(schedule.learning_rate_at(epoch) * SLOWER**rollbacks, 6),
        "samples_per_second": round(seen / (time.perf_counter() - start), 1),
        "rollbacks": rollbacks,
    }


def _sort(supernet: Supernet, optimizer: Optimizer, inputs: Tensor) -> None:
    """Sort a decoder's weights and what the optimizer keeps of them: training goes on as if nothing had been."""
    states = optimizer.state
    for permutation in orders_of_importance(supernet, inputs):
        parameter = supernet.shared[permutation.weight]
        for tensor in (parameter.detach(), *states[parameter].values()):
            if tensor.shape == parameter.shape:
                permutation.sort(tensor)


def _in_words(record: Record, schedule: Schedule, task: Task) -> str:
    largest, smallest = (_short(task, record[f"{task.metric.name}_{name}"]) for name in ("largest", "smallest"))
    found = f"{largest} of the largest, {smallest} of the smallest" if largest != smallest else largest
    return (
        f"epoch {record['epoch']:.0f}/{schedule.epochs}: loss {record['loss']:.3f}, {_title(task)} in training {found}, "
        f"{record['samples_per_second']:.0f} {task.sample}s/s"
    )


def _title(task: Task) -> str:
    return task.metric.title


def _short(task: Task, value: float) -> str:
    """Return a value with its unit, a digit less than a measured one has: it is of training batches."""
    return f"{value:.{max(task.metric.digits - 1, 0)}f} {task.metric.unit}".rstrip()


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _batches(
    task: Task, samples: Mapping[str, Tensor], n: int, schedule: Schedule, rng: np.random.Generator
) -> Iterator[tuple[float, dict[str, Tensor]]]:
    """Yield the fraction of the epoch that is done and an augmented batch; a last batch smaller than half is left out."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    order = torch.randperm(n, generator=generator)
    for start in range(0, len(order), schedule.batch_size):
        index = order[start : start + schedule.batch_size]
        if start and len(index) < schedule.batch_size / 2:
            break
        batch = {name: tensor[index] for name, tensor in samples.items()}
        yield start / len(order), task.augment(batch, schedule.random_translate, generator)


def _save(supernet: Supernet, optimizer: Optimizer, path: Path, facts: dict[str, Any]) -> None:
    save_tensors(path, {**supernet.state_dict(), **kept_state(supernet, optimizer)}, facts)


def _resume(supernet: Supernet, optimizer: Optimizer, path: Path, identity: dict[str, Any]) -> list[Record]:
    tensors, facts = load_tensors(path)
    check_identity(facts, identity, path)
    load_supernet(supernet, {n: t for n, t in tensors.items() if not n.startswith(KEPT)}, path)
    restore_state(supernet, optimizer, tensors)
    return list(facts["records"])


def check_identity(facts: dict[str, Any], identity: dict[str, Any], path: Path) -> None:
    """Raise `InvalidInputError` with the first difference if a file of tensors is of another training."""
    for key, value in identity.items():
        if key == "space_digest" and key not in facts:  # of a version that knew names alone
            continue
        if key == "training" and isinstance(facts.get(key), Mapping):  # a version before had fewer settings
            facts = {**facts, key: {**asdict(Schedule()), **facts[key]}}
        if facts.get(key) != value:
            raise InvalidInputError(
                f"'{path}' is of another training: its {key} is {facts.get(key)}, this one's is {value}; "
                "use another run folder, or delete the file to train anew"
            )


def init_from(supernet: Supernet, path: Path) -> None:
    """Begin with the weights of another training: of layers, batch norms, and experts where both have some.

    Args:
        supernet: Changed in place.
        path: File of weights of the same space, or of a wider one, of which the slice is taken.

    Raises:
        InvalidInputError: If the file is missing or damaged, or holds a weight that is not finite or of another space.
    """
    if not path.is_file():
        raise InvalidInputError(f"training.init_from: there is no file '{path}'")
    tensors, _ = load_tensors(path)
    mine, n_experts = supernet.state_dict(), supernet.experts.n if supernet.experts is not None else 0
    shared = {name: tensor for name, tensor in tensors.items() if name.startswith("shared.")}
    experts = {name: tensor for name, tensor in tensors.items() if name.startswith("experts.") and name in mine}
    if theirs := {len(tensor) for name, tensor in experts.items() if name.startswith("experts.changes.")} - {n_experts}:
        raise InvalidInputError(
            f"training.init_from: '{path}' has {min(theirs)} experts a weight, training.experts is {n_experts}"
        )
    shared |= experts
    for name, spec in take_inventory(supernet.space).specs.items():
        for key, whole in ((f"shared.{name}", spec), (f"experts.changes.{name}", stacked(spec, n_experts))):
            if key in shared and shared[key].ndim == len(whole.shape):
                shared[key] = cut(shared[key], whole)
    if isinstance(supernet.space, NarrowedSpace):  # blocks that are left out have weights in the whole space alone
        shared = {name: tensor for name, tensor in shared.items() if name in mine}
    load_supernet(supernet, {**mine, **shared}, path)


def load_supernet(supernet: Supernet, tensors: dict[str, Tensor], path: Path) -> None:
    """Put tensors into a supernet.

    Raises:
        InvalidInputError: If names or shapes are those of another space, or a weight is not finite.
    """
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise DamagedFileError(
            f"'{path}' holds weights that are not finite: it is damaged; if a run made it, delete it to train anew"
        )
    try:
        supernet.load_state_dict(tensors)
    except RuntimeError as error:
        raise InvalidInputError(f"'{path}' holds the weights of another space than '{supernet.space.name}'") from error
