"""Stages of an adopted model: it is examined, and what sensitivities predict says which mixtures are measured."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.data.samples import MIN_SAMPLES, Samples, load_samples, split_samples
from nas.events.progress import progress_bar
from nas.objectives.adopted_evaluator import AdoptedEvaluator, inputs_of
from nas.objectives.objective import Objective
from nas.ptq.bank import Bank
from nas.ptq.importing import import_model, original_outputs, read_adopted
from nas.ptq.sensitivity.sensitivity import corrected
from nas.run.experiment import Experiment
from nas.search.exact import exact_front
from nas.search.feasibility import check_feasible, constraints_of
from nas.search.strategies.sums import SumsStrategy, exact_members, programmed_members
from nas.search.study import SearchResult, search
from nas.tasks.divergence import DIVERGENCE, ERROR
from predictors import Signal
from search_spaces.costs import FactorTable, cost_table
from search_spaces.errors import HwnasError, InvalidInputError
from search_spaces.graph.tensor import TensorSpec
from search_spaces.space.space import Genomes

if TYPE_CHECKING:
    from nas.run.adoption import Adoption


def search_adopted(run: "Adoption", table: FactorTable, *, workers: int = 1) -> SearchResult:
    """Measure mixtures; what the archive holds is not measured again.

    Args:
        run: Its settings say what is minimised and limited.
        table: Predicts the divergence.
        workers: Networks to measure at once.

    Raises:
        InvalidInputError: If no mixture satisfies the constraints, or none reaches the floor.
    """
    config, settings, archive = run.experiment.search, run.experiment.adopt, run.archives.validation
    exact: dict[str, Objective] = {each.name: each.predicted() for each in run.latencies} | run.static_costs()
    tables = {name: cost for name, cost in exact.items() if isinstance(cost, FactorTable) and not cost.takes_max}
    check_feasible(run.space, tables, config.max, config.min)
    cheap = {name: exact[name] for name in config.objectives if name != DIVERGENCE.name}
    constraints = constraints_of(exact, config.max, config.min)
    by_sums = settings.choose != "strategy"
    solve = programmed_members if settings.choose == "programming" else exact_members
    if settings.floor:
        bisect(run, table)
    with progress_bar("searching") as update:
        return search(
            run.space,
            run.evaluator.measure,
            objectives=(DIVERGENCE.name,),
            cheap=cheap,
            constraints=constraints,
            n_measurements=config.n_measurements,
            strategy=SumsStrategy(table, corrected, solve) if by_sums else config.strategy.name,
            options=None if by_sums else config.strategy.options,
            signals=None if by_sums else {DIVERGENCE.name: (Signal("predicted", table),)},
            batch=config.batch or (max(1, config.n_measurements // 6) if by_sums else None),
            workers=workers,
            rng=np.random.default_rng(run.experiment.seed),
            archive=archive,
            progress=update,
        )


def bisect(run: "Adoption", table: FactorTable) -> Genomes:
    """Return the fastest mixture on the predicted front that keeps limits and floor, by bisection of measured ones.

    Args:
        run: Its settings say what must be reached; without a latency the smallest is looked for.
        table: Predicts the divergence.

    Raises:
        InvalidInputError: If none reaches the floor.
    """
    floor, limits, archive = run.experiment.adopt.floor, run.experiment.search, run.archives.validation
    costs = {each.name: each.predicted() for each in run.latencies} | run.static_costs()
    cost = costs[run.latencies[0].name] if run.latencies else cost_table(run.space, "size_bytes")
    assert isinstance(cost, FactorTable)
    start = run.evaluator.values(run.adopted.in_format("float32"), "val")

    def reaches(genome: Genomes) -> bool:
        archive.measure_missing(genome[None], run.evaluator.measure, lambda *done: None)
        (values,) = archive.lookup(genome[None])
        assert values is not None
        drop = values.get(ERROR.name, np.nan) - start.get(ERROR.name, np.nan)
        found = {"divergence": values[DIVERGENCE.name], "error_drop": drop}
        return all(found[name] <= bound for name, bound in floor.items())

    members = exact_front(run.space, {"predicted": table, "cost": cost}).genomes  # from the best to the cheapest
    kept = np.ones(len(members), dtype=bool)
    for sign, bounds in ((1, limits.max), (-1, limits.min)):
        for name, bound in bounds.items():
            kept &= sign * costs[name](members) <= sign * bound
    members = members[kept]
    if not len(members) or not reaches(members[0]):
        raise InvalidInputError(f"no mixture on the predicted front reaches {floor} within the limits; relax one")
    good, bad = 0, len(members)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if reaches(members[middle]) else (good, middle)
    found: Genomes = members[good]
    return found


def given_samples(experiment: Experiment, inputs: Sequence[TensorSpec], samples: Mapping[str, Any] | None) -> Samples:
    """Return the samples of an adoption: arrays that are given, or what its settings name."""
    settings = experiment.adopt
    if samples is None:
        return load_samples(settings.samples, inputs, seed=experiment.seed, pictures=settings.pictures)
    return split_samples(samples, inputs, seed=experiment.seed, source=settings.samples)


def _examined_file(experiment: Experiment, file: Path, samples: Mapping[str, Any] | None) -> Samples:
    settings = replace(experiment.adopt, model=str(file))
    inputs = inputs_of(read_adopted(settings, (), experiment.formats))
    found = given_samples(experiment, inputs, samples)
    adopted, _ = import_model(settings, found.calibrate, formats=experiment.formats)
    few = {name: array[:MIN_SAMPLES] for name, array in found.val.items()}
    references = {"val": original_outputs(file, inputs, few)}
    bank = Bank(adopted.imported.weights, {}, {})
    evaluator = AdoptedEvaluator(adopted, bank, found, references, weights=settings.outputs, kinds=settings.kinds)
    if wrong := [name for name in evaluator.kinds if not np.isfinite(references["val"][name]).all()]:
        raise InvalidInputError(f"output '{wrong[0]}' of the model is NaN or infinite for samples: nothing can be compared")
    found.check_classes(next(iter(references["val"].values())).shape[1:])
    return found


def examined(experiment: Experiment, content: bytes, samples: Mapping[str, Any] | None) -> Samples:
    """Return the samples of an adoption, after the model was read with its settings and checked on them.

    Raises:
        InvalidInputError: If something is wrong with the model, its settings or the samples.
    """
    settings = experiment.adopt
    if experiment.search.min and settings.choose != "strategy":
        raise InvalidInputError("limits from below (--min) need `--set adopt.choose=strategy`; exact fronts have upper ones")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "original.onnx"
        file.write_bytes(content)
        try:
            found = _examined_file(experiment, file, samples)
        except HwnasError as error:  # it speaks of the user's file, not of this copy
            raise type(error)(str(error).replace(str(file), settings.model)) from error
    if "error_drop" in settings.floor:
        found.check_answers("error_drop")
    return found
