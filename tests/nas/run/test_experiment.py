from pathlib import Path

import pytest

from nas.run.experiment import Experiment
from nas.run.folder import RunFolder
from search_spaces import InvalidInputError

EXPERIMENTS = sorted((Path(__file__).parents[3] / "experiments").glob("*.yaml"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.name)
def test_every_experiment_loads(path):
    experiment = Experiment.from_yaml(path)
    assert Experiment.from_dict(experiment.to_dict(), "again") == experiment
    assert experiment.name == path.stem


def test_overrides(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text("name: e\ntraining: {float_epochs: 3}\n")
    experiment = Experiment.from_yaml(path, ["training.float_epochs=5", "search.max.latency_ms=0.5", "seed=7"])
    assert (experiment.training.float_epochs, experiment.seed) == (5, 7)
    assert experiment.search.max == {"latency_ms": 0.5}
    for override, message in [
        ("seed", "--set takes KEY=VALUE, got 'seed'"),
        ("seed.x=1", "the key \"seed\": Expected a whole number. Got value: {'x': 1}"),
        ("seed=[", "is not a YAML value"),
        ("sed=1", "unknown key 'sed' .did you mean 'seed'"),
    ]:
        with pytest.raises(InvalidInputError, match=message):
            Experiment.from_yaml(path, [override])


def test_phases_that_nothing_names_are_not_timed(tmp_path):
    path = tmp_path / "e.yaml"
    devices = "devices: {a: {backend: onnxruntime}, b: {backend: onnxruntime}}"
    path.write_text(f"name: e\ntask: language\nspace: decoder-tiny\n{devices}\n")
    for override, phases in [
        ("seed=0", ("decode", "prefill")),
        ("search.objectives=[bits_per_byte,decode_ms]", ("decode",)),
        ("search.objectives=[bits_per_byte,prefill_ms@b]", ("prefill",)),
        ("search.objectives=[bits_per_byte,size_bytes]", ("decode", "prefill")),
    ]:
        assert Experiment.from_yaml(path, [override]).phases == phases
    objectives = ["search.objectives=[bits_per_byte,decode_ms]", "search.max.prefill_ms=3"]
    experiment = Experiment.from_yaml(path, objectives)
    assert experiment.phases == ("decode", "prefill")
    assert [column.name for column in experiment.latencies_of(1)] == ["decode_ms@b", "prefill_ms@b"]
    assert Experiment.from_yaml(path).search.objectives == ("bits_per_byte", "decode_ms", "prefill_ms", "size_bytes")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: e\nsead: 1", "unknown key 'sead' .did you mean 'seed'"),
        ("name: e\ntraining: {float_epoch: 1}", "unknown key 'training.float_epoch' .did you mean 'training.float_epochs'"),
        ("name: e\ntraining: {float_epochs: -1}", "training.float_epochs must be in 0..100000, got -1"),
        ("name: e\ntraining: {float_epochs: 0, quantized_epochs: 0}", "must be in 1..200000, got 0"),
        ("name: e\ntraining: {learning_rate: 0}", "training.learning_rate must be in 1e-09..10, got 0"),
        ("name: e\ntraining: {learning_rate: .nan}", "training.learning_rate must be in 1e-09..10, got nan"),
        ("name: e\ntraining: {batch_size: many}", "training.batch_size"),
        ("name: e\ntraining: 3", "'training' must hold keys and values, got 3"),
        ("name: e\nseed:", "the key 'seed' has no value"),
        ("name: e\nthreads: 0", "threads must be in 1..1024, got 0"),
        ("name: e\ntable: {rounds: 1}", "table.rounds must be in 2..1000, got 1"),
        ("name: e\ntable: {seconds: 0}", "table.seconds must be in 0.0001..60, got 0"),
        ("name: e\nsearch: {n_measurements: -5}", "search.n_measurements must be in 4..1e.06, got -5"),
        ("name: e\nsearch: {objectives: [error, speed]}", r"got \['speed'\]"),
        ("name: e\nsearch: {objectives: [error, error]}", "must name each objective once"),
        ("name: e\nsearch: {max: {latency_ms: -1}}", "search.max must be above 0 and finite, got {'latency_ms': -1"),
        ("name: e\nsearch: {max: {eror: 3}}", r"search.max limits any of .*got \['eror'\]"),
        ("name: e\nadopt: {model: m.onnx, samples: s.npy}\nsearch: {max: {divergence: 3}}", r"got \['divergence'\]"),
        ("name: e\nsearch: {objectives: [macs], max: {error: 3}}", "search limits error, which must then be among"),
        ("name: e\nsearch: {max: {error: 3}, min: {error: 4}}", "min must not exceed search.max"),
        ("name: e\ndata: {n_val: -3}", "data.n_val must be in 0..1e.09, got -3"),
        ("name: ../../x", "name must be up to 100 letters"),
        ("name: e\ntraining: {learning_rate: .inf}", "training.learning_rate must be in"),
        ("name: e\ntraining: {label_smoothing: 2}", "training.label_smoothing must be in 0..0.99, got 2"),
        ("name: e\nseed: 4294967296", "seed must be in 0..4.29497e.09"),
        ("name: e\ndevices: {pi: {threads: 99999999999}}", "devices.pi.threads must be in 1..1024"),
        ("name: e\nsearch: {max: {latency_ms: .inf}}", "search.max must be above 0 and finite"),
        ("name: e\ntask: language\ndevices: {pi: {batch: 4}}", "devices.pi.batch must be 1: networks of task 'language'"),
        ("seed: 1", "it lacks the key name"),
        ("- 1", "must hold keys and values of an experiment, got list"),
        ("name: [", "is not YAML"),
        ("seed: 1\nsearch:\n  batch: 5\n  batch: 6", "is not YAML: the key 'batch' stands twice"),
    ],
)
def test_bad_experiments_are_named_in_one_line(tmp_path, text, message):
    path = tmp_path / "e.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=message) as error:
        Experiment.from_yaml(path)
    assert "\n" not in str(error.value)
    assert "e.yaml" in str(error.value)


def test_missing_file():
    with pytest.raises(InvalidInputError, match="cannot read the experiment 'none.yaml': No such file"):
        Experiment.from_yaml(Path("none.yaml"))


def test_a_limit_is_kept_until_it_is_dropped(run):
    kept = RunFolder.open(run).with_overrides(["search.max.size_bytes=30000", "search.max.macs=1e6"])
    assert kept.experiment.search.max == {"size_bytes": 30000, "macs": 1e6}
    assert RunFolder.open(run).with_overrides(["search.max.macs=null"]).experiment.search.max == {"size_bytes": 30000}
    assert RunFolder.open(run).with_overrides(["search.max={}"]).experiment.search.max == {}
    assert RunFolder.open(run).experiment.search.max == {}
