"""The API: whole runs from Python, without a latency table, with plug-ins; and each bad input in a sentence."""

import importlib
import logging
import pkgutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

import nas
from nas.cli import main
from nas.events.progress import show_progress
from nas.run import templates
from nas.tasks.metric import METRICS
from search_spaces import SPACES, Choice, TabularSpace, plugins
from search_spaces.errors import HwnasError, InvalidInputError, MeasurementError, NotReadyError

SMALL = {
    "name": "small",
    "threads": 1,
    "data": {"name": "digits", "n_val": 700},
    "training": {"float_epochs": 1, "quantized_epochs": 1, "warmup_epochs": 0, "compile": False},
    "devices": {},
    "search": {"objectives": ["error", "macs"], "n_measurements": 10, "n_calibration": 128, "batch": 5},
}
PLUGIN = """
import numpy as np

from nas.data import DATASETS, Splits
from nas.objectives.objective import objective, of_subnets
from nas.tasks import Metric
from search_spaces import SPACES, Stage, mobilenet
from search_spaces.families.heads import TEN_CLASSES


@SPACES.register("own")
def own(input_shape=(1, 8, 8), outputs=TEN_CLASSES, formats=("float32", "w8a8")):
    stages = (Stage(depths=(1, 2), widths=(8, 12)),)
    return mobilenet("own", input_shape=input_shape, outputs=outputs, stem_width=8, stages=stages, formats=formats)


@DATASETS.register("stripes")
def stripes(path):
    y = np.arange(300) % 2
    x = np.random.default_rng(0).normal(0, 0.3, (300, 8, 8)) + y[:, None, None] * (np.arange(8) % 2)
    return Splits(x=x[:200], y=y[:200], x_test=x[200:], y_test=y[200:])


@objective(Metric(name="n_choices", digits=0, is_whole=True))
def n_choices(space):
    return of_subnets(space, lambda subnet: len(subnet.options))
"""


@pytest.fixture
def registries():
    """Leave spaces, data sets, objectives and metrics as they were."""
    from nas.data import DATASETS
    from nas.objectives.objective import OBJECTIVES

    kept, metrics = [(r, dict(r._entries)) for r in (SPACES, DATASETS, OBJECTIVES)], dict(METRICS)
    yield
    for registry, entries in kept:
        registry._entries = entries
    METRICS.clear()
    METRICS.update(metrics)
    plugins._load_file.cache_clear()


@pytest.fixture(scope="module")
def without_latency(tmp_path_factory):
    run = nas.Run.create(SMALL, tmp_path_factory.mktemp("api") / "run")
    run.run()
    return run


def test_a_run_from_python_prints_nothing_and_logs(tmp_path, capsys, caplog):
    caplog.set_level(logging.INFO)
    run = nas.Run.create(SMALL, tmp_path / "run")
    run.train()
    assert capsys.readouterr().out + capsys.readouterr().err == ""
    assert any("epoch 1/2: loss" in record.message for record in caplog.records)
    with pytest.raises(NotReadyError, match="has no front.csv yet"):
        run.front()


def test_progress_of_ones_own(tmp_path):
    seen = []

    class Mine:
        def bar(self, title):
            from contextlib import nullcontext

            return nullcontext(lambda done, total, note="": seen.append((title, done, total)))

    with show_progress(Mine()):
        nas.Run.create(SMALL, tmp_path / "run").train()
    assert seen[-1][0] == "training"
    assert seen[-1][1] == seen[-1][2]


def test_error_against_macs_needs_no_table(without_latency, tmp_path, capsys):
    run, folder = without_latency, str(without_latency.folder.path)
    front = run.front()
    assert not [name for name in front if name.startswith("latency")]
    values = front[["error_val", "macs"]].to_numpy()
    for row in values:
        assert not ((values <= row).all(axis=1) & (values < row).any(axis=1)).any()
    assert not (run.folder.path / "latency").exists()
    assert run.tables() == run.measure() == []
    assert run.subnet(run.best_id()).id == run.best_id()
    assert run.plot().png[:4] == b"\x89PNG"
    assert len(run.measurements()) == 10
    assert "latency_ms" not in run.report().read_text().split("const content")[-1].split("experiment")[0]
    exported = run.export(run.best_id(), tmp_path / "model", dynamic_batch=True)
    assert exported.verification["agreement"] > 99
    assert "latency not measured" in (tmp_path / "model" / "README.md").read_text()
    for words in (["front", folder], ["front", folder, "--knee"], ["search", folder], ["report", folder]):
        assert main(words) == 0
    assert main(["bench", str(tmp_path / "model"), "--rounds", "2", "--batch", "1", "--batch", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()[-2:]
    assert [" batch 1," in lines[0], " batch 4," in lines[1]] == [True, True]
    assert all("95th percentile" in line for line in lines)
    assert main(["measure", folder]) == 2
    assert "has no device" in capsys.readouterr().err
    assert main(["finetune", folder, run.best_id(), "--epochs", "1"]) == 0


def test_old_keys_of_devices_are_one_mapping(tmp_path):
    old = {**SMALL, "device": {"threads": 2}, "more_devices": [{"label": "pi", "remote": True}]}
    del old["devices"]
    experiment = nas.Experiment.from_dict(old, "old.yaml")
    assert {name: device.threads for name, device in experiment.devices.items()} == {"onnxruntime-2t": 2, "pi": 1}
    assert nas.Experiment.from_dict(experiment.to_dict(), "new.yaml") == experiment


def test_strategies_take_options(without_latency):
    folder = without_latency.folder.path
    run = nas.Run.open(folder, overrides=["search.strategy={name: nsga2, options: {population: 6}}"])
    assert run.experiment.search.strategy.options == {"population": 6}
    nas.Run.open(folder, overrides=["search.strategy=predictor"])
    with pytest.raises(InvalidInputError, match="strategy 'random' has no option 'x'"):
        nas.Run.create({**SMALL, "search": {"strategy": {"name": "random", "options": {"x": 1}}}}, folder / "none")


def test_plug_ins_are_found_by_every_process(tmp_path, registries, monkeypatch):
    (tmp_path / "mine.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    content = {**SMALL, "plugins": ["mine.py"], "space": "mine.py:own", "data": {"name": "mine.py:stripes", "n_val": 60}}
    content["search"] = {**SMALL["search"], "objectives": ["error", "n_choices"], "max": {"n_choices": 9}, "batch": 8}
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(content))
    assert main(["run", "e.yaml", "--out", "run", "--workers", "2"]) == 0
    monkeypatch.chdir("/")
    run = nas.open_run(tmp_path / "run")
    assert (run.front()["n_choices"] <= 9).all()
    (folder,) = (tmp_path / "run" / "export").iterdir()
    assert not run.verify(folder.name).reasons
    command = [sys.executable, "-m", "nas.cli", "verify", str(folder)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    told = f"['own', 'stripes'] are not known here, of the plug-ins {tmp_path / 'mine.py'}: name what holds them by --plugin"
    assert told in refused.stderr
    subprocess.run([*command, "--plugin", str(tmp_path / "mine.py")], check=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise ZeroDivisionError('by zero')", "the plug-in '.*bad.py' cannot be loaded: ZeroDivisionError: by zero"),
        ("import nothing_like_it", "cannot be loaded: ModuleNotFoundError: No module named 'nothing_like_it'"),
        (None, "there is no plug-in '.*bad.py'"),
    ],
)
def test_a_plug_in_that_raises_is_one_sentence(tmp_path, text, message):
    if text:
        (tmp_path / "bad.py").write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        nas.Run.create({**SMALL, "plugins": [str(tmp_path / "bad.py")]}, tmp_path / "run")
    with pytest.raises(InvalidInputError, match=message):
        nas.Run.create({**SMALL, "space": f"{tmp_path / 'bad.py'}:own"}, tmp_path / "run")


def test_a_plug_in_that_was_mended_is_loaded_again(tmp_path, registries):
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN + "\nraise OSError('not yet')\n")
    with pytest.raises(InvalidInputError, match="OSError: not yet"):
        SPACES.get(f"{file}:own")
    file.write_text(PLUGIN)
    assert SPACES.get(f"{file}:own")().name == "own"
    file.write_text(PLUGIN.replace('register("own")', 'register("own2")') + "#")
    assert SPACES.get(f"{file}:own2")


def test_a_broken_package_is_one_warning(monkeypatch, caplog, capsys):
    def load():
        raise ImportError("no such thing")

    broken = SimpleNamespace(name="theirs", load=load)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [broken])
    plugins.load_entry_points.cache_clear()
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "theirs" not in capsys.readouterr().err
    assert "mobilenet-digits" in list(SPACES)
    list(SPACES)
    assert [r.message for r in caplog.records] == ["the plug-in 'theirs' is broken and left out: ImportError: no such thing"]
    plugins.load_entry_points.cache_clear()


SPACE = TabularSpace([Choice("a", (1, 2, 3)), Choice("b", (1, 2, 3))])


class Measures:
    def __init__(self, answer):
        self.metrics, self.answer = (nas.Metric(name="own_loss"),), answer

    def evaluate(self, subnets, split="val"):
        return self.answer(subnets)


def fail(_):
    raise OSError("no licence")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda s: {"own_loss": np.zeros((len(s), 2))}, r"Measures.evaluate must return 'own_loss' with shape \(1,\)"),
        (lambda s: {"loss": np.zeros(len(s))}, "Measures.evaluate must return 'own_loss'"),
        (lambda s: 3.0, "Measures.evaluate must return 'own_loss' .* got 3.0"),
        (lambda s: {"own_loss": ["low"]}, "Measures.evaluate must return 'own_loss'"),
        (fail, r"network \w{10} could not be measured: OSError: no licence"),
        (lambda s: {"own_loss": np.array([np.nan])}, "the first measurements all failed, of the networks"),
    ],
)
def test_bad_evaluators_are_one_sentence(answer, message, registries):
    with pytest.raises(HwnasError, match=message) as raised:
        nas.optimize(SPACE, Measures(answer), budget=5)
    assert "\n" not in str(raised.value)


def test_bad_calls_of_optimize_are_one_sentence(registries):
    def total(genomes):
        return genomes.sum(axis=1) * 1.0

    good, nameless, taken = (Measures(lambda s: {"own_loss": np.zeros(len(s))}) for _ in range(3))
    nameless.metrics, taken.metrics = (), (nas.Metric(name="error", direction="max"),)
    for call, message in (
        (lambda: nas.optimize(SPACE, object()), "optimize needs evaluators: objects with `metrics` and `evaluate"),
        (lambda: nas.optimize(SPACE, [good, good]), "each metric needs a name of its own"),
        (lambda: nas.optimize(SPACE, good, {"macs": 3.0}), r"constraints are on exact objectives, which are \[\]"),
        (lambda: nas.optimize(SPACE, good, budget=3), "budget must be a whole number of 4 or more, got 3"),
        (lambda: nas.optimize(SPACE, nameless), "needs a tuple of at least one metric, Measures has none"),
        (lambda: nas.optimize(SPACE, taken), "there is another metric 'error' already"),
        (lambda: nas.optimize(SPACE, good, 5), "constraints must be a mapping from names, got 5"),
        (lambda: nas.optimize(SPACE, good, exact={"a": len}), r"\['a'\] are choices of the space"),
        (lambda: nas.optimize(SPACE, good, noise={"typo": 1.0}), r"noise is of metrics, .* got \['typo'\]"),
        (lambda: nas.optimize(SPACE, good, {"c": [1, 3]}, exact={"c": total}), "upper bound or .lower, upper.; got"),
        (lambda: nas.optimize(SPACE, good, {"c": (3, 1)}, exact={"c": total}), "lower bound of 'c' must not exceed"),
        (lambda: nas.optimize(SPACE, good, exact={"c": lambda g: 1 / 0}), "'c' fails on genomes, .*: ZeroDivisionError"),
        (lambda: nas.optimize(SPACE, good, exact={"c": lambda g: 3.0}), "one number for each of .* genomes, got shape"),
        (lambda: nas.Run.create(None), "an experiment is a YAML file, keys and values, or an Experiment; got None"),
        (lambda: nas.Run.create(SMALL, overrides="seed=1"), "overrides are a list, as"),
        (lambda: nas.open_run(None), "a run folder is a path, got None"),
        (lambda: nas.optimize(SPACE, good, strategy="rand"), "unknown search strategy 'rand'"),
        (lambda: nas.Metric(name="x", direction="up"), "direction of metric 'x' must be min or max"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            call()


def test_a_metric_of_a_notebook_may_be_changed_and_run_again(registries):
    for direction in ("min", "max", "max"):
        again = Measures(lambda s: {"own_loss": np.array([float(subnet.options["a"]) for subnet in s])})
        again.metrics = (nas.Metric(name="own_loss", direction=direction, of_mean=lambda mean: mean),)
        (best,) = set(nas.optimize(SPACE, again, budget=9).front["own_loss"])
        assert best == {"min": 1, "max": 3}[direction]


def test_integer_costs_do_not_wrap(registries):
    good = Measures(lambda s: {"own_loss": np.array([1 / subnet.options["a"] for subnet in s])})
    front = nas.optimize(SPACE, good, budget=9, exact={"cost": lambda genomes: (genomes[:, 0] + 1) * 15_000}).front
    assert sorted(set(front["cost"])) == [15_000, 30_000, 45_000]


@pytest.mark.parametrize("name", ["bare", *templates.names()])
def test_the_same_experiment_opens_its_run_again(name, tmp_path, monkeypatch):
    content = {"name": "x"} if name == "bare" else yaml.safe_load(templates.template(name))
    if name in ("own_data", "fashion_mnist"):
        content["data"] = {"name": "digits"}
    if name == "imdb_lm":  # whose reviews are a package
        content["data"] = {"name": "pydoc", "options": {"context": 256}}
    content["table"] = {"n_fit": np.int64(12)} if name == "digits" else {}
    nas.Run.create(content, tmp_path / "run")
    assert nas.Run.create(content, tmp_path / "run").experiment.seed == 0


def test_bounds_and_ids_are_checked(without_latency):
    for bound in (None, float("nan"), "3"):
        with pytest.raises(InvalidInputError, match="a bound is a number"):
            without_latency.front(max={"macs": bound})
    with pytest.raises(InvalidInputError, match="a network is named by its id"):
        without_latency.subnet(without_latency.front().iloc[0])


def test_a_changed_working_directory_is_noticed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = nas.Run.create(SMALL, "run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(NotReadyError, match="has it moved, or the working directory changed"):
        run.train()


def test_optimize_goes_on_from_its_storage(tmp_path, registries):
    calls = []

    def answer(subnets):
        calls.extend(subnets)
        return {"own_loss": np.array([subnet.options["a"] / subnet.options["b"] for subnet in subnets])}

    def cost(genomes):
        return genomes.sum(axis=1).astype(float)

    plan = {"exact": {"cost": cost}, "storage": tmp_path / "mine.db", "strategy": "random"}
    nas.optimize(SPACE, Measures(answer), budget=5, **plan)
    result = nas.optimize(SPACE, Measures(answer), {"cost": (1.0, 3.0)}, budget=9, **plan)
    assert len(calls) == len({subnet.id for subnet in calls}) == 9
    assert ((result.front["cost"] >= 1) & (result.front["cost"] <= 3)).all()


def test_a_metric_that_is_nan_is_one_sentence(tmp_path, monkeypatch):
    from nas.tasks.classification import Classification

    run = nas.Run.create(SMALL, tmp_path / "run")
    run.train()
    monkeypatch.setattr(
        Classification, "scores", lambda *_: {name: np.full(9, np.nan) for name in ("error", "cross_entropy")}
    )
    with pytest.raises(MeasurementError, match="the first measurements all failed, .* no finite numbers"):
        run.search()


def test_no_function_has_the_name_of_a_package():
    for module in pkgutil.walk_packages(nas.__path__, "nas."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in nas.__all__:
        assert not hasattr(getattr(nas, name), "__path__"), name
        assert callable(getattr(nas, name)), name
    assert set(nas.__all__) <= set(dir(nas))
