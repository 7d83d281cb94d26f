"""The command `hwnas`: verbs to methods of a run, no logic. Heavy imports happen inside the verbs, so that help is fast."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.arguments import build_parser
from search_spaces.errors import HwnasError, InvalidInputError

if TYPE_CHECKING:
    from latency_tables.table.table import LatencyTable
    from nas.export.folder import Exported
    from nas.run.base import BaseRun
    from nas.run.run import Run
    from nas.run.tables import DeviceTable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 when a check failed or nothing was found, or 2 for bad input."""
    options = build_parser().parse_args(arguments)
    try:
        from nas.report.console import shown_on_terminal

        with shown_on_terminal():
            code = int(VERBS[options.verb](options))
        sys.stdout.flush()
        return code
    except HwnasError as error:
        print(f"hwnas: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # as in `hwnas front RUN | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"hwnas: {error.strerror or error}: '{error.filename or 'output'}'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hwnas: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _open(folder: str, overrides: Sequence[str] = ()) -> "BaseRun":
    from nas.run.open import open_run

    return open_run(folder, overrides=overrides)


def _create(options: argparse.Namespace) -> "Run":
    """Return the run of a YAML file in a new or an existing folder, or of a run folder."""
    from nas.run.run import Run

    constraints = [f"search.{key}.{limit}" for key in ("max", "min") for limit in getattr(options, key, [])]
    overrides = (*options.set, *constraints)
    if not Path(options.source).is_dir():
        return Run.create(options.source, options.out, overrides=overrides)
    if options.out:
        raise InvalidInputError(f"'{options.source}' is a run folder: --out goes with an experiment's YAML file")
    run = Run.open(options.source, overrides=overrides)
    if run.experiment.adopt.is_set:
        raise InvalidInputError(
            f"'{options.source}' is of a model that was trained elsewhere: `hwnas adopt {options.source}` goes on with it, "
            "and takes --set search.KEY=VALUE"
        )
    return run


def _run(options: argparse.Namespace) -> int:
    return _run_all(_create(options), options)


def _run_all(run: "Run", options: argparse.Namespace) -> int:
    with run.folder.locked():
        run.check_constraints()
        run.measure()
        if not _tables_pass(run, options):
            return 1
        run.check_constraints()
        run.train()
        _search_and_print(run, options)
        if run.experiment.specialise.rounds:
            run = run.specialise(workers=options.workers, using=options.backend, scheduler=options.scheduler)
            _print_rounds(run)
        print(f"report: {run.report()}")
        best = run.best_id()
        if not (run.folder.export_path(best) / "parity.json").exists():
            _print_exported(run.export(best))
    return 0


def _adopt(options: argparse.Namespace) -> int:
    from nas.cli.adopt import adopt, adopt_text
    from nas.run.adopt_language import is_language_model

    return _run_all(adopt_text(options), options) if is_language_model(options.model) else adopt(options)


def _train(options: argparse.Namespace) -> int:
    from nas.events import distributed

    with distributed.session():
        _create(options).train()
    return 0


def _measure(options: argparse.Namespace) -> int:
    if (options.space is None) == (options.source is None):
        raise InvalidInputError(
            "`hwnas measure` takes an experiment or run folder, or --space NAME; give exactly one of them"
        )
    from functools import partial

    from latency_tables.table.plan import TableSettings
    from nas.run.tables import table_of_space

    if options.space is None:
        is_run = Path(options.source).is_dir() and not options.out
        run = _open(options.source, options.set) if is_run else _create(options)
        devices = [each.table for each in run.latencies]
        take: Callable[..., list[LatencyTable]] = run.import_results
        measure: Callable[[], list[LatencyTable]] = partial(run.measure, again=options.again)
    else:
        settings = TableSettings(time_budget_minutes=options.minutes, rounds=options.rounds)
        devices = [table_of_space(options.space, options.device, settings, options.tables)]
        table = devices[0]
        take, measure = (lambda *words, **more: [table.take(*words, **more)]), lambda: [table.measure(again=options.again)]
    if not devices:
        raise InvalidInputError(f"'{options.source}' has no device: its `devices` are empty, and no latency is measured")
    if options.pack:
        if options.minutes:
            raise InvalidInputError("--minutes and --pack cannot be combined: a benchmark bundle times every block")
        remote = [table for table in devices if table.device.remote] or devices
        print(_packed(remote, options.pack))
        return 0
    tables = take(Path(options.result), again=options.again) if options.result else measure()
    _print_validations(tables)
    for device in devices:
        print(f"table: {device.path}")
    return 0 if all(table.report.is_valid for table in tables) or not options.require_valid_table else 1


def _packed(tables: "list[DeviceTable]", file: str) -> str:
    from nas.run.tables import pack

    missing = [table for table in tables if not table.is_readable] or tables
    table = missing[0]
    pack([each for each in missing if each.device == table.device], Path(file))
    return (
        f"{file}: run `python {Path(file).name}` on the device; it needs NumPy and {table.device.backend}, tells how long "
        f"it takes, and writes result.json; bring that back with `hwnas measure {table.owner} --from result.json`"
    )


def _print_validations(tables: "Sequence[LatencyTable]") -> None:
    from nas.report.console import terminal
    from nas.report.table import print_validation

    for table in tables:
        print_validation(table, terminal(stderr=True))


def _tables_pass(run: "Run", options: argparse.Namespace) -> bool:
    tables = run.tables()
    _print_validations(tables)
    return all(table.report.is_valid for table in tables) or not options.require_valid_table


def _search(options: argparse.Namespace) -> int:
    run = _create(options)
    if options.require_valid_table and not _tables_pass(run, options):
        return 1
    _search_and_print(run, options)
    return 0


def _search_and_print(run: "Run", options: argparse.Namespace) -> None:
    from nas.report.search import print_search
    from nas.report.table import print_front

    if options.workers < 1:
        raise InvalidInputError(f"--workers must be 1 or more, got {options.workers}")
    result = run.search(workers=options.workers, using=options.backend, scheduler=options.scheduler)
    print_front(run.front(), run.baselines())
    _print_validations(run.tables())
    if result is not None:
        print_search(run.space, result, run.task.metric.name, run.folder.path, run.archives.order)


def _specialise(options: argparse.Namespace) -> int:
    from nas.run.run import Run

    given = [*options.set, *(f"search.{key}.{limit}" for key in ("max", "min") for limit in getattr(options, key))]
    given += [f"specialise.{key}={value}" for key, value in (("rounds", options.rounds), ("size", options.size)) if value]
    run = Run.open(options.run)
    settings = {"workers": options.workers, "using": options.backend, "scheduler": options.scheduler}
    run = run.specialise(options.to, overrides=given, **settings)
    _print_rounds(run)
    print(f"report: {run.report()}")
    return 0


def _print_rounds(run: "Run") -> None:
    from nas.report.results import round_lines
    from nas.report.table import print_front

    print_front(run.front(), run.baselines())
    print(*round_lines(run.folder.rounds.read(), run.experiment.specialise.rounds, str(run.folder.path)), sep="\n")


def _front(options: argparse.Namespace) -> int:
    from nas.report.query import Query, print_query
    from nas.run.measurements import scores

    query = Query(
        max=options.max,
        min=options.min,
        sort=options.sort,
        best=options.best,
        knee=options.knee,
        prefer=options.prefer,
        columns=[name.strip() for name in options.columns.split(",")] if options.columns else (),
        against=options.against,
        baselines=options.baselines,
    )
    if options.device and options.against:
        raise InvalidInputError("--device and --against cannot be combined: the other run has latencies of its own device")
    found = scores(_open(options.run), options.device)
    other = scores(_open(options.against)) if options.against else None
    print_query(options.run, found, query, options.format, other)
    return 0


def _report(options: argparse.Namespace) -> int:
    print(f"report: {_open(options.run).report()}")
    return 0


def _dashboard(options: argparse.Namespace) -> int:
    from nas.run.dashboard import serve

    archives = _open(options.run).archives
    _ = archives.validation  # of a run that was searched; a damaged archive is named
    serve(archives.storage, options.port)
    return 0


def _export(options: argparse.Namespace) -> int:
    from nas.objectives.table_files import read_table

    run = _open(options.run)
    forms = {"target": options.target, "dynamic_batch": options.dynamic_batch, "int4": options.int4}
    _print_exported(run.export(options.id, options.to, **forms))
    _print_validations([read_table(each.table.path) for each in run.latencies if each.table.path.exists()])
    return 0


def _verify(options: argparse.Namespace) -> int:
    from nas.export.verification.verify import verify
    from nas.report.results import verification_line

    found = verify(Path(options.folder), options.data, options.plugin)
    for reason in found.reasons:
        print(f"hwnas: {reason}", file=sys.stderr)
    if found.samples:
        print(verification_line(options.folder, found))
    return 1 if found.reasons else 0


def _bench(options: argparse.Namespace) -> int:
    from latency_tables.timing.energy import EnergyMeter
    from nas.export.bench import bench
    from nas.report.results import benchmark_lines
    from nas.run.tables import named_device

    meter = EnergyMeter() if options.energy else None
    found = bench(Path(options.folder), named_device(options.device), options.rounds, options.batch or (1,), meter)
    print(*benchmark_lines(found), sep="\n")
    return 0


def _finetune(options: argparse.Namespace) -> int:
    from nas.report.results import fine_tuned_front_lines, fine_tuned_lines

    if not 1 <= options.epochs <= 10_000:
        raise InvalidInputError(f"--epochs must be in 1..10000, got {options.epochs}")
    if options.lr is not None and not 0 < options.lr <= 10:
        raise InvalidInputError(f"--lr must be above 0 and at most 10, got {options.lr}")
    if not 0 <= (options.distill or 0) <= 1:
        raise InvalidInputError(f"--distill must be in 0..1, got {options.distill}")
    if (options.id is None) != options.front or (options.front and options.to):
        raise InvalidInputError("`hwnas finetune RUN` takes the id of one subnet, or --front, which goes without --to")
    from nas.run.run import Run

    run, settings = Run.open(options.run), {"epochs": options.epochs, "learning_rate": options.lr}
    if options.front:
        share = 0.5 if options.distill is None else options.distill
        tuned = run.finetune_front(**settings, distillation=share)
        print(*fine_tuned_front_lines(tuned, run.task.metric, str(run.folder.finetuned_csv)), sep="\n")
        return 0
    found = run.finetune(options.id, options.to, **settings, distillation=options.distill or 0.0)
    print(*fine_tuned_lines(found.values, run.task.metric), sep="\n")
    _print_exported(found.exported, "fine-tuned network")
    return 0


def _print_exported(exported: "Exported", trained: str = "supernet") -> None:
    from nas.report.results import exported_lines

    print(*exported_lines(exported, trained), sep="\n")


def _new(options: argparse.Namespace) -> int:
    from nas.run.templates import names, template

    print(template(options.template) if options.template else "\n".join(names()), end="" if options.template else "\n")
    return 0


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
    "adopt": _adopt,
    "measure": _measure,
    "search": _search,
    "specialise": _specialise,
    "front": _front,
    "report": _report,
    "dashboard": _dashboard,
    "export": _export,
    "bench": _bench,
    "finetune": _finetune,
    "verify": _verify,
    "new": _new,
    "spaces": _spaces,
    "devices": _devices,
}
