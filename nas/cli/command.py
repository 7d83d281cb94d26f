"""The command `hwnas`: verbs to functions, no logic. Heavy imports happen inside the verbs, so that help is quick."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.arguments import build_parser
from search_spaces.errors import CheckFailed, InvalidInput, NothingFound

if TYPE_CHECKING:
    from nas.run.pipeline import Pipeline


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 when a check failed or nothing was found, or 2 for bad input."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        code = int(VERBS[options.verb](options))
        sys.stdout.flush()
        return code
    except (InvalidInput, CheckFailed) as error:
        print(f"hwnas: {error}", file=sys.stderr)
        return 1 if isinstance(error, NothingFound | CheckFailed) else 2
    except BrokenPipeError:  # as in `hwnas front RUN | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"hwnas: {error.strerror or error}: '{error.filename or 'output'}'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hwnas: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _pipeline(options: argparse.Namespace) -> "Pipeline":
    from nas.run.resolve import open_pipeline

    constraints = [f"search.{key}.{limit}" for key in ("max", "min") for limit in getattr(options, key, [])]
    return open_pipeline(options.source, options.out, (*options.set, *constraints))


@contextmanager
def _locked_pipeline(options: argparse.Namespace) -> "Iterator[Pipeline]":
    """Give the pipeline of a run that no other command changes meanwhile."""
    pipeline = _pipeline(options)
    with pipeline.run.locked():
        yield pipeline


def _run(options: argparse.Namespace) -> int:
    with _locked_pipeline(options) as pipeline:
        pipeline.check_constraints()
        if not _table_passes(pipeline, options):
            return 1
        pipeline.check_constraints()
        pipeline.train()
        _search_and_print(pipeline, options)
        _write_report(pipeline)
        _export_one(pipeline, pipeline.run.best_id(), None, keep=True)
    return 0


def _train(options: argparse.Namespace) -> int:
    from nas.events import distributed

    with distributed.session(), _locked_pipeline(options) as pipeline:
        pipeline.train()
    return 0


def _measure(options: argparse.Namespace) -> int:
    if (options.space is None) == (options.source is None):
        raise InvalidInput("`hwnas measure` takes an experiment or run folder, or --space NAME; give exactly one of them")
    from nas.events.progress import console
    from nas.report.table import print_validation
    from nas.run.experiment import TableConfig
    from nas.run.tables import table_of_space

    lock: AbstractContextManager[None]
    if options.space is None:
        pipeline = _pipeline(options)
        devices, take = [latencies.device for latencies in pipeline.latencies], pipeline.import_results
        lock = pipeline.run.locked()
    else:
        config = TableConfig(time_budget_minutes=options.minutes, rounds=options.rounds)
        devices = [table_of_space(options.space, options.device, config, options.tables)]
        take, lock = devices[0].take, nullcontext()
    if options.pack:
        if options.minutes:
            raise InvalidInput("--minutes and --pack cannot be combined: a benchmark bundle times every block")
        packed = next((device for device in devices if device.config.remote), devices[0])
        packed.pack(Path(options.pack))
        runtime = packed.device.backend
        print(
            f"{options.pack}: run `python {Path(options.pack).name}` on the device; it needs NumPy and {runtime}, tells how "
            f"long it takes, and writes result.json; bring that back with `hwnas measure {packed.owner} --from result.json`"
        )
        return 0
    with lock:
        tables = (
            [take(Path(options.result), again=options.again)]
            if options.result
            else [d.measure(again=options.again) for d in devices]
        )
    for table in tables:
        print_validation(table, console)
    for device in devices:
        print(f"table: {device.path}")
    return 0 if all(table.report.is_valid for table in tables) or not options.require_valid_table else 1


def _table_passes(pipeline: "Pipeline", options: argparse.Namespace) -> bool:
    tables = pipeline.measure()
    pipeline.print_validation()
    return all(table.report.is_valid for table in tables) or not options.require_valid_table


def _search(options: argparse.Namespace) -> int:
    with _locked_pipeline(options) as pipeline:
        if options.require_valid_table and not all(table.report.is_valid for table in pipeline.tables()):
            pipeline.print_validation()
            return 1
        _search_and_print(pipeline, options)
    return 0


def _search_and_print(pipeline: "Pipeline", options: argparse.Namespace) -> None:
    from nas.report.search import print_search
    from nas.report.table import print_front
    from nas.run.workers import RunMeasure, backend

    if options.workers < 1:
        raise InvalidInput(f"--workers must be 1 or more, got {options.workers}")
    with backend(options.backend, options.scheduler):
        threads = max(1, pipeline.experiment.threads // options.workers)
        measure = RunMeasure(str(pipeline.run.path.resolve()), threads) if options.workers > 1 else None
        result = pipeline.search(measure=measure, workers=options.workers)
    print_front(pipeline.run.front(), pipeline.run.baselines())
    pipeline.print_validation()
    if result is not None:
        print_search(pipeline.space, result, pipeline.task.metric.name, pipeline.run.path)


def _front(options: argparse.Namespace) -> int:
    from nas.report.query import Query, print_query
    from nas.run.folder import RunFolder

    query = Query(
        max=options.max,
        min=options.min,
        sort=options.sort,
        best=options.best,
        knee=options.knee,
        columns=[name.strip() for name in options.columns.split(",")] if options.columns else (),
        against=options.against,
        baselines=options.baselines,
    )
    if options.device and options.against:
        raise InvalidInput("--device and --against cannot be combined: the other run has latencies of its own device")
    if options.device:
        from nas.run.measurements import find_table, rescored
        from nas.run.resolve import open_run

        pipeline = open_run(options.run)
        scores = rescored(pipeline, find_table(pipeline, options.device))
    else:
        scores = RunFolder.open(Path(options.run)).scores()
    other = RunFolder.open(Path(options.against)).scores() if options.against else None
    print_query(options.run, scores, query, options.format, other)
    return 0


def _report(options: argparse.Namespace) -> int:
    from nas.run.resolve import open_run

    return _write_report(open_run(options.run))


def _write_report(pipeline: "Pipeline") -> int:
    from nas.events.files import write_atomically
    from nas.report.page import render
    from nas.run.stages.report import report_content

    write_atomically(pipeline.run.report, render(report_content(pipeline)).encode())
    print(f"report: {pipeline.run.report}")
    return 0


def _dashboard(options: argparse.Namespace) -> int:
    from nas.run.dashboard import serve
    from nas.run.resolve import open_run

    pipeline = open_run(options.run)
    _ = pipeline.archive  # of a run that was searched; a damaged archive is named
    serve(pipeline.storage, options.port)
    return 0


def _export(options: argparse.Namespace) -> int:
    from nas.run.resolve import open_run

    pipeline = open_run(options.run)
    forms = {"target": options.target, "dynamic_batch": options.dynamic_batch, "int4": options.int4}
    _export_one(pipeline, options.id, options.to, **forms)
    pipeline.print_validation()
    return 0


def _verify(options: argparse.Namespace) -> int:
    from nas.export.verification.verify import verify

    folder = Path(options.folder)
    found = verify(folder, options.data)
    for reason in found.reasons:
        print(f"hwnas: {reason}", file=sys.stderr)
    if found.samples:
        values = ", ".join(f"{name} {value}" for name, value in found.values.items())
        print(f"{folder}: {found.elements} integers, {found.samples} samples, {values}")
    return 1 if found.reasons else 0


def _bench(options: argparse.Namespace) -> int:
    from nas.export.bench import bench
    from nas.run.tables import named_device

    config = named_device(options.device)
    if config.remote:
        raise InvalidInput(f"the device '{config.name}' is remote; `hwnas bench` times on this machine")
    print(bench(Path(options.folder), config.to_device(), options.rounds))
    return 0


def _finetune(options: argparse.Namespace) -> int:
    from nas.run.resolve import open_run

    if not 1 <= options.epochs <= 10_000:
        raise InvalidInput(f"--epochs must be in 1..10000, got {options.epochs}")
    if not 0 < options.lr <= 10:
        raise InvalidInput(f"--lr must be above 0 and at most 10, got {options.lr}")
    pipeline = open_run(options.run)
    target = Path(options.to) if options.to else pipeline.run.finetuned_path(options.id)
    with pipeline.run.locked():
        found = pipeline.finetune(options.id, target, options.epochs, options.lr)
    metric = pipeline.task.metric
    for split, name in (("val", "validation"), ("test", "test")):
        before, after = (found[f"{metric.name}_{split}{when}"] for when in ("_before", ""))
        print(f"{name} {metric.label or metric.name} {before:.{metric.digits}f} -> {metric.text(after)}")
    if not metric.is_better(found[f"{metric.name}_val"], found[f"{metric.name}_val_before"]):
        print("fine-tuning gained nothing: `hwnas export` gives the network with the shared weights")
    _print_parity(target, found, "fine-tuned network")
    return 0


def _export_one(pipeline: "Pipeline", subnet_id: str, folder: str | None, *, keep: bool = False, **options: Any) -> None:
    path = Path(folder) if folder else pipeline.run.export_path(subnet_id)
    if keep and (path / "parity.json").exists():
        return
    _print_parity(path, pipeline.export(subnet_id, path, **options), "supernet")


def _print_parity(path: Path, parity: dict[str, Any], trained: str) -> None:
    integers = f"{parity['elements']} integers equal the reference" if parity["elements"] else "all float32, no integers"
    for target, found in parity["targets"].items():
        print(f"{target}: {found['agreement']:.2f} % of {found['samples']} answers equal the {trained}'s")
    print(f"{path}: {integers}, {parity['agreement']:.2f} % of {parity['samples']} answers equal the {trained}'s")


def _spaces(_: argparse.Namespace) -> int:
    from nas.report.listings import list_spaces

    list_spaces()
    return 0


def _devices(options: argparse.Namespace) -> int:
    from nas.report.listings import list_devices
    from nas.run.tables import tables_folder

    list_devices(tables_folder(options.tables))
    return 0


VERBS = {
    "run": _run,
    "train": _train,
    "measure": _measure,
    "search": _search,
    "front": _front,
    "report": _report,
    "dashboard": _dashboard,
    "export": _export,
    "bench": _bench,
    "finetune": _finetune,
    "verify": _verify,
    "spaces": _spaces,
    "devices": _devices,
}
