"""The command `hwnas`: verbs to functions, no logic. Heavy imports happen inside the verbs, so that help is quick."""

import argparse
import importlib.metadata
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.errors import InvalidInput

if TYPE_CHECKING:
    from nas.pipeline import Pipeline

EXAMPLE = """\
example:
  hwnas run experiments/digits.yaml --out runs/digits
  hwnas front runs/digits --max latency_ms=0.05 --best error_val
  hwnas export runs/digits ID --to my_model
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 when a check failed, or 2 for bad input."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        code = int(options.verb(options))
        sys.stdout.flush()
        return code
    except InvalidInput as error:
        print(f"hwnas: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # as in `hwnas front RUN | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"hwnas: {error.strerror or error}: '{error.filename or 'output'}'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hwnas: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="hwnas",
        description="Finds, for the device you will deploy on, the quantized networks that nothing else in the space beats.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hwnas {importlib.metadata.version('hwnas')}")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    run = verbs.add_parser("run", help="measure, train, search, print the front and export its best network")
    _add_source(run)
    _add_search(run)
    _add_require_valid(run)
    run.set_defaults(verb=_run)

    train = verbs.add_parser("train", help="train the supernet of an experiment; goes on after an interruption")
    _add_source(train)
    train.set_defaults(verb=_train)

    measure = verbs.add_parser("measure", help="measure a latency table, here or, by a kit, on a device elsewhere")
    _add_source(measure, optional=True)
    measure.add_argument("--space", help="measure this search space by itself, outside a run")
    text = "with --space: YAML file of a device, or the name of a runtime (default: onnxruntime, 1 thread)"
    measure.add_argument("--device", help=text)
    measure.add_argument("--tables", metavar="DIR", help="with --space: where tables lie (default: the user's data folder)")
    text = "with --space: estimate the blocks that cannot be timed in so many minutes"
    measure.add_argument("--minutes", type=float, default=0, help=text)
    text = "with --space: rounds over everything that is timed (default 20)"
    measure.add_argument("--rounds", type=int, default=20, help=text)
    measure.add_argument("--again", action="store_true", help="measure even if there is a table")
    elsewhere = measure.add_mutually_exclusive_group()
    text = "measure nothing: write one file that measures on a device elsewhere, by `python KIT`"
    elsewhere.add_argument("--pack", metavar="KIT", help=text)
    elsewhere.add_argument("--from", dest="result", metavar="RESULT", help="make the table of what such a kit has measured")
    _add_require_valid(measure)
    measure.set_defaults(verb=_measure)

    search = verbs.add_parser("search", help="search with a trained supernet and a table, and measure the front")
    _add_source(search)
    _add_search(search)
    _add_require_valid(search)
    search.set_defaults(verb=_search)

    front = verbs.add_parser("front", help="query the measured front of a run")
    front.epilog = (
        "NAME is one of error_val, error_test, latency_ms, latency_spread, latency_ms_predicted, size_bytes, macs; "
        "docs/run-folder.md explains them"
    )
    front.add_argument("run", help="run folder")
    front.add_argument(
        "--max", action="append", default=[], metavar="NAME=VALUE", help="keep rows up to this; may be repeated"
    )
    front.add_argument(
        "--min", action="append", default=[], metavar="NAME=VALUE", help="keep rows from this; may be repeated"
    )
    front.add_argument("--sort", default="", metavar="NAME", help="sort by this column, from the least value")
    one = front.add_mutually_exclusive_group()
    one.add_argument("--best", default="", metavar="NAME", help="only the row with the least value of this column")
    one.add_argument("--knee", action="store_true", help="only the row behind which all objectives cost most of each other")
    text = "columns to print, separated by commas, such as id,error_val,latency_ms"
    front.add_argument("--columns", default="", metavar="NAMES", help=text)
    front.add_argument("--against", default="", metavar="RUN", help="another run: say which front beats which networks")
    text = "another device, by name or file of its latency table: score all measured networks by its predictions"
    front.add_argument("--device", default="", metavar="OTHER", help=text)
    front.add_argument("--format", choices=("table", "csv", "json"), default="table", help="how to print (default table)")
    front.set_defaults(verb=_front)

    report = verbs.add_parser("report", help="write a run's report.html: one page that needs no network")
    report.add_argument("run", help="run folder")
    report.set_defaults(verb=_report)

    export = verbs.add_parser("export", help="write a subnet as ONNX, with proof that it computes what was trained")
    export.add_argument("run", help="run folder")
    export.add_argument("id", help="id of the subnet, as `hwnas front` prints it")
    export.add_argument("--to", metavar="DIR", help="new folder to write (default: RUN/export/ID)")
    export.set_defaults(verb=_export)

    finetune = verbs.add_parser("finetune", help="train one subnet on by itself, briefly, and export it")
    finetune.add_argument("run", help="run folder")
    finetune.add_argument("id", help="id of the subnet, as `hwnas front` prints it")
    finetune.add_argument("--epochs", type=int, default=3, help="passes over the training images (default 3)")
    finetune.add_argument("--rate", type=float, default=0.01, help="greatest learning rate (default 0.01)")
    finetune.add_argument("--to", metavar="DIR", help="new folder to write (default: RUN/finetuned/ID)")
    finetune.set_defaults(verb=_finetune)

    verify = verbs.add_parser("verify", help="prove an exported folder again; exit code 1 if something differs")
    verify.add_argument("folder", help="what `hwnas export` wrote")
    verify.add_argument("--data", metavar="PATH", help="file or folder of the data, where it has no fixed place")
    verify.set_defaults(verb=_verify)

    spaces = verbs.add_parser("spaces", help="list the search spaces")
    spaces.set_defaults(verb=_spaces)

    devices = verbs.add_parser("devices", help="list runtimes found here and tables at hand")
    devices.add_argument("--tables", metavar="DIR", help="where tables lie (default: the user's data folder)")
    devices.set_defaults(verb=_devices)
    return parser


def _add_source(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    text = "experiment (YAML file), or the folder of a run that was begun"
    parser.add_argument("source", nargs="?" if optional else None, help=text)
    parser.add_argument("--out", metavar="RUN", help="run folder of a YAML file (default: runs/NAME)")
    text = "set a key of the experiment, as training.float_epochs=2 (all keys: docs/experiment.md); may be repeated"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)


def _add_search(parser: argparse.ArgumentParser) -> None:
    text = "networks must keep this limit, as latency_ms=0.05; may be repeated; the same as --set search.{}.NAME=VALUE"
    parser.add_argument("--max", action="append", default=[], metavar="NAME=VALUE", help=text.format("max"))
    parser.add_argument("--min", action="append", default=[], metavar="NAME=VALUE", help=text.format("min"))
    parser.add_argument("--workers", type=int, default=1, help="networks to measure at once (default 1)")
    text = "what measures them: processes here, or a Dask cluster that is there (default loky)"
    parser.add_argument("--backend", choices=("loky", "dask"), default="loky", help=text)
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of the Dask cluster, as tcp://127.0.0.1:8786")


def _add_require_valid(parser: argparse.ArgumentParser) -> None:
    text = "stop with exit code 1 when the latency table fails its check"
    parser.add_argument("--require-valid-table", action="store_true", help=text)


def _pipeline(options: argparse.Namespace) -> "Pipeline":
    from nas.opening import open_pipeline

    limits = [f"search.{key}.{limit}" for key in ("max", "min") for limit in getattr(options, key, [])]
    return open_pipeline(options.source, options.out, (*options.set, *limits))


@contextmanager
def _locked_pipeline(options: argparse.Namespace) -> "Iterator[Pipeline]":
    """Give the pipeline of a run that no other command changes meanwhile."""
    pipeline = _pipeline(options)
    with pipeline.run.locked():
        yield pipeline


def _run(options: argparse.Namespace) -> int:
    with _locked_pipeline(options) as pipeline:
        pipeline.check_limits()
        if not _table_passes(pipeline, options):
            return 1
        pipeline.check_limits()
        pipeline.train()
        _search_and_print(pipeline, options)
        _write_report(pipeline)
        return _export_one(pipeline, str(pipeline.best_id()), None, keep=True)


def _train(options: argparse.Namespace) -> int:
    from nas import processes

    with processes.joined(), _locked_pipeline(options) as pipeline:
        pipeline.train()
    return 0


def _measure(options: argparse.Namespace) -> int:
    if (options.space is None) == (options.source is None):
        raise InvalidInput("`hwnas measure` takes an experiment or run folder, or --space NAME; give exactly one of them")
    from nas.config import TableConfig
    from nas.progress import console
    from nas.report.table import print_verdict
    from nas.tables import table_of_space

    lock: AbstractContextManager[None]
    if options.space is None:
        pipeline = _pipeline(options)
        devices, take = [latencies.device for latencies in pipeline.latencies], pipeline.take_result
        lock = pipeline.run.locked()
    else:
        config = TableConfig(greatest_minutes=options.minutes, rounds=options.rounds)
        devices = [table_of_space(options.space, options.device, config, options.tables)]
        take, lock = devices[0].take, nullcontext()
    if options.pack:
        packed = next((device for device in devices if device.config.elsewhere), devices[0])
        packed.pack(Path(options.pack))
        runtime = packed.device.backend
        print(f"{options.pack}: run `python {Path(options.pack).name}` on the device; it needs NumPy and {runtime}")
        return 0
    with lock:
        tables = [take(Path(options.result))] if options.result else [d.measure(again=options.again) for d in devices]
    for table in tables:
        print_verdict(table, console)
    for device in devices:
        print(f"table: {device.path}")
    return 0 if all(table.report.is_valid for table in tables) or not options.require_valid_table else 1


def _table_passes(pipeline: "Pipeline", options: argparse.Namespace, *, again: bool = False) -> bool:
    tables = pipeline.measure(again=again)
    pipeline.print_verdict()
    return all(table.report.is_valid for table in tables) or not options.require_valid_table


def _search(options: argparse.Namespace) -> int:
    with _locked_pipeline(options) as pipeline:
        if options.require_valid_table and not all(table.report.is_valid for table in pipeline.tables()):
            pipeline.print_verdict()
            return 1
        _search_and_print(pipeline, options)
    return 0


def _search_and_print(pipeline: "Pipeline", options: argparse.Namespace) -> None:
    from nas.report.search import print_search
    from nas.workers import RunMeasure, backend

    if options.workers < 1:
        raise InvalidInput(f"--workers must be 1 or more, got {options.workers}")
    with backend(options.backend, options.scheduler):
        threads = max(1, pipeline.experiment.threads // options.workers)
        measure = RunMeasure(str(pipeline.run.path.resolve()), threads) if options.workers > 1 else None
        result = pipeline.search(measure=measure, workers=options.workers)
    pipeline.print_front()
    if result is not None:
        print_search(pipeline.space, result)


def _front(options: argparse.Namespace) -> int:
    from nas.report.query import Query, Scores, print_query
    from nas.run_folder import RunFolder

    query = Query(
        max=options.max,
        min=options.min,
        sort=options.sort,
        best=options.best,
        knee=options.knee,
        columns=options.columns.split(",") if options.columns else (),
        against=options.against,
    )
    if options.device:
        from nas.opening import open_run
        from nas.overview import find_table, rescored

        pipeline = open_run(options.run)
        scores = rescored(pipeline, find_table(pipeline, options.device))
    else:
        scores = Scores.of_run(RunFolder.open(Path(options.run)))
    print_query(options.run, scores, query, options.format)
    return 0


def _report(options: argparse.Namespace) -> int:
    from nas.opening import open_run

    return _write_report(open_run(options.run))


def _write_report(pipeline: "Pipeline") -> int:
    from nas.report.page import render
    from nas.summary import summarize
    from nas.training.checkpoint import write_atomically

    write_atomically(pipeline.run.report, render(summarize(pipeline)).encode())
    print(f"report: {pipeline.run.report}")
    return 0


def _export(options: argparse.Namespace) -> int:
    from nas.opening import open_run

    pipeline = open_run(options.run)
    code = _export_one(pipeline, options.id, options.to)
    pipeline.print_verdict()
    return code


def _verify(options: argparse.Namespace) -> int:
    from nas.data import load_dataset
    from nas.export.verify import read_subnet, verify

    folder = Path(options.folder)
    subnet = read_subnet(folder)
    settings = subnet["data"]
    data = load_dataset(settings["name"], path=options.data, n_val=settings["n_val"], seed=settings["seed"])
    found = verify(folder, subnet, data)
    for reason in found.reasons:
        print(f"hwnas: {reason}", file=sys.stderr)
    print(f"{folder}: {found.elements} integers, {found.samples} samples, test error {found.error_test:.2f} %")
    return 1 if found.reasons else 0


def _finetune(options: argparse.Namespace) -> int:
    from nas.export.bundle import ParityFailed
    from nas.opening import open_run

    if not 1 <= options.epochs <= 10_000:
        raise InvalidInput(f"--epochs must be in 1..10000, got {options.epochs}")
    if not 0 < options.rate <= 10:
        raise InvalidInput(f"--rate must be above 0 and at most 10, got {options.rate}")
    pipeline = open_run(options.run)
    target = Path(options.to) if options.to else pipeline.run.finetuned_path(options.id)
    try:
        with pipeline.run.locked():
            found = pipeline.finetune(options.id, target, options.epochs, options.rate)
    except ParityFailed as error:
        print(f"hwnas: {error}", file=sys.stderr)
        return 1
    for split, name in (("val", "validation"), ("test", "test")):
        print(f"{name} error {found[f'error_{split}_before']:.2f} -> {found[f'error_{split}']:.2f} %")
    if found["error_val"] >= found["error_val_before"]:
        print("fine-tuning gained nothing: `hwnas export` gives the network with the shared weights")
    print(f"{target}: {found['agreement']:.2f} % of {found['images']} answers equal the fine-tuned network's")
    return 0


def _export_one(pipeline: "Pipeline", architecture_id: str, folder: str | None, *, keep: bool = False) -> int:
    from nas.export.bundle import ParityFailed

    target = Path(folder) if folder else pipeline.run.export_path(architecture_id)
    if keep and (target / "parity.json").exists():
        return 0
    try:
        parity = pipeline.export(architecture_id, target)
    except ParityFailed as error:
        print(f"hwnas: {error}", file=sys.stderr)
        return 1
    integers = f"{parity['elements']} integers equal the reference" if parity["elements"] else "all float32, no integers"
    print(f"{target}: {integers}, {parity['agreement']:.2f} % of {parity['images']} answers equal the supernet's")
    return 0


def _spaces(_: argparse.Namespace) -> int:
    from nas.report.listings import print_spaces

    print_spaces()
    return 0


def _devices(options: argparse.Namespace) -> int:
    from nas.report.listings import print_devices
    from nas.tables import tables_folder

    print_devices(tables_folder(options.tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())
