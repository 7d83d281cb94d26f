import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from nas.data.load import load_dataset
from nas.events.files import write_atomically
from nas.supernet.supernet import Supernet
from nas.tasks.classification import Classification
from nas.training.checkpoint import load_tensors, save_tensors
from nas.training.losses import kurtosis_loss
from nas.training.samplers import Moment, draw_graphs
from nas.training.samplers.sandwich import SandwichSampler
from nas.training.step import training_step
from nas.training.trainer import init_from, load_supernet, train
from search_spaces import SPACES, InvalidInputError, Stage, classes, graph_costs, mobilenet
from search_spaces.errors import DamagedFileError, MeasurementError


def fresh(space, digits):
    supernet = Supernet(space, torch.Generator().manual_seed(0))
    supernet.set_input_statistics(*digits.input_statistics())
    return supernet


def without_speed(record):
    return {name: value for name, value in record.items() if name != "samples_per_second"}


def sample_sandwich(space, schedule, epoch, rng):
    return draw_graphs(SandwichSampler(), Moment(space, schedule, epoch), rng)


def formats_of(graph):
    return {node.precision.name for node in graph.nodes if node.name.startswith("stage")}


def test_sandwich_holds_largest_random_smallest(tiny_space, make_schedule, rng):
    graphs = sample_sandwich(tiny_space, make_schedule(n_random=3), 0.0, rng)
    assert len(graphs) == 5
    assert all(formats_of(graph) == {"float32"} for graph in graphs)
    sizes = [graph_costs(graph)["macs"] for graph in graphs]
    assert sizes[0] == max(sizes)
    assert sizes[-1] == min(sizes)
    quantized = sample_sandwich(tiny_space, make_schedule(n_random=30), 8.5, rng)
    assert formats_of(quantized[0]) == {"float32"}
    assert formats_of(quantized[-1]) == {"w4a4"}
    assert set.union(*map(formats_of, quantized[1:-1])) == {"float32", "w8a8", "w4a4"}
    uniform = sample_sandwich(tiny_space, make_schedule(n_random=30, uniform_share=1.0), 8.5, rng)
    assert all(len(formats_of(graph)) == 1 for graph in uniform)
    assert set.union(*map(formats_of, uniform)) == {"float32", "w8a8", "w4a4"}


def test_formats_join_one_by_one_and_shrinking_starts_late(tiny_space, make_schedule, rng):
    offered = ["float32", "w8a8", "w4a8", "w4a4"]
    schedule = make_schedule(float_epochs=10, quantized_epochs=6, shrink_start=0.5)
    known = [len(schedule.formats(offered, epoch)) for epoch in (9.9, 10, 10.9, 11.1, 12.1, 13.1, 15.9)]
    assert known == [1, 2, 2, 3, 4, 4, 4]
    assert make_schedule(float_epochs=10, quantized_epochs=6, progressive_bits=False).formats(offered, 10) == offered
    assert len(sample_sandwich(tiny_space, schedule, 4.9, rng)) == 1
    assert len(sample_sandwich(tiny_space, schedule, 5.0, rng)) == 2 + schedule.n_random


def test_step_sums_the_gradients_of_all_networks(tiny_space, digits, make_schedule, rng, task):
    supernet = fresh(tiny_space, digits)
    schedule = make_schedule(n_random=1, label_smoothing=0.0, clip_norm=1e9, distillation=0.7)
    graphs = sample_sandwich(tiny_space, schedule, 8.5, rng)
    images, labels = torch.from_numpy(digits.train["images"][:32]), torch.from_numpy(digits.train["labels"][:32])
    teacher = supernet(images, graphs[0])
    loss = torch.nn.functional.cross_entropy(teacher, labels)
    for graph in graphs[1:]:
        logits = supernet(images, graph)
        loss = loss + 0.7 * torch.nn.functional.cross_entropy(logits, teacher.detach().softmax(dim=1))
        loss = loss + 0.3 * torch.nn.functional.cross_entropy(logits, labels)
    expected = torch.autograd.grad(loss, supernet.shared["head/linear/weight"])[0]
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.0)
    loss, errors = training_step(supernet, optimizer, task, {"images": images, "labels": labels}, graphs, schedule)
    assert torch.allclose(supernet.shared["head/linear/weight"].grad, expected, atol=1e-5)
    teacher = teacher.detach()
    assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(teacher, labels)), rel=1e-5)
    assert errors[0] == pytest.approx(100 * float((teacher.argmax(dim=1) != labels).float().mean()))
    assert len(errors) == 3


def test_rates(make_schedule):
    schedule = make_schedule(float_epochs=10, quantized_epochs=4, warmup_epochs=2)
    warm_up = [schedule.learning_rate_at(epoch) for epoch in (0.0, 1.0, 2.0)]
    assert warm_up == sorted(set(warm_up))
    assert warm_up[2] == pytest.approx(0.1)
    assert schedule.learning_rate_at(6.0) == pytest.approx(0.05)
    assert schedule.learning_rate_at(10.0) == pytest.approx(0.02)
    assert schedule.learning_rate_at(12.0) == pytest.approx(0.01)
    short = make_schedule(float_epochs=1, quantized_epochs=4, warmup_epochs=2)
    assert short.learning_rate_at(1.0) == pytest.approx(0.02)
    assert max(short.learning_rate_at(1 + epoch / 10) for epoch in range(40)) <= 0.02
    assert [schedule.is_quantized(epoch) for epoch in (9, 10)] == [False, True]


def test_training_learns_and_every_format_works(evaluator):
    from search_spaces.space.baselines import uniform_genome

    space = evaluator.supernet.space
    genomes = np.array([uniform_genome(space, "largest", name) for name in ("float32", "w8a8", "w4a4")])
    errors = evaluator.evaluate(space.subnets(genomes), "test")["error"]
    assert errors[0] < 12
    assert abs(errors[1] - errors[0]) < 2
    assert abs(errors[2] - errors[0]) < 6


@pytest.mark.parametrize(
    "settings",
    [{}, {"optimizer": "adam", "learning_rate": 0.003}, {"quantization_noise": True}],
    ids=["sgd", "adam", "noise"],
)
def test_stopped_training_ends_with_the_same_weights(tiny_space, digits, make_schedule, tmp_path, task, settings):
    class StoppedError(Exception):
        pass

    def stop(done, total, note):
        if done > 0.7 * total:
            raise StoppedError

    schedule = make_schedule(float_epochs=2, quantized_epochs=2, **settings)
    digits = replace(digits, train={name: array[:320] for name, array in digits.train.items()})
    whole, halved = fresh(tiny_space, digits), fresh(tiny_space, digits)
    records = train(whole, task, digits, schedule, seed=3, checkpoint=tmp_path / "a", identity={"x": 1})
    with pytest.raises(StoppedError):
        train(halved, task, digits, schedule, seed=3, checkpoint=tmp_path / "b", identity={"x": 1}, progress=stop)
    again = fresh(tiny_space, digits)
    resumed = train(again, task, digits, schedule, seed=3, checkpoint=tmp_path / "b", identity={"x": 1})
    assert [without_speed(record) for record in resumed] == [without_speed(record) for record in records]
    for name, tensor in whole.state_dict().items():
        assert (tensor == again.state_dict()[name]).all(), name
    with pytest.raises(InvalidInputError, match="is of another training: its x is 1, this one's is 2"):
        train(fresh(tiny_space, digits), task, digits, schedule, seed=3, checkpoint=tmp_path / "b", identity={"x": 2})


def test_a_loss_that_is_not_finite_stops_and_is_not_kept(tiny_space, digits, make_schedule, tmp_path, task, monkeypatch):
    schedule = make_schedule(warmup_epochs=0, float_epochs=2)
    monkeypatch.setattr(Classification, "loss", lambda self, output, batch, smoothing=0.0: output.sum() * torch.nan)
    with pytest.raises(MeasurementError, match="collapses in epoch 1 even at 0.125 .* train anew with a lower one"):
        train(fresh(tiny_space, digits), task, digits, schedule, seed=0, checkpoint=tmp_path / "c", identity={})
    assert not (tmp_path / "c").exists()
    supernet = fresh(tiny_space, digits)
    spoiled = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    spoiled["shared.stem/conv/weight"][0] = torch.nan
    with pytest.raises(DamagedFileError, match="holds weights that are not finite"):
        load_supernet(supernet, spoiled, tmp_path / "s")


def test_a_collapsed_epoch_is_rolled_back(tiny_space, digits, make_schedule, tmp_path, caplog, task):
    schedule = make_schedule(float_epochs=5, quantized_epochs=0)
    supernet = fresh(tiny_space, digits)

    def spoil_fourth_epoch_once(epoch, rng):
        if 3 < epoch < 4 and not spoiled:
            spoiled.append(epoch)
            with torch.no_grad():
                supernet.shared["head/linear/bias"][3] = 1e9  # everything is a 3 from here on
        return sample_sandwich(tiny_space, schedule, epoch, rng)

    spoiled = []
    plan = {"seed": 0, "checkpoint": tmp_path / "c", "identity": {}, "sample": spoil_fourth_epoch_once}
    records = train(supernet, task, digits, schedule, **plan)
    assert [record["rollbacks"] for record in records] == [0, 0, 0, 1, 1]
    assert records[3]["learning_rate"] == pytest.approx(schedule.learning_rate_at(3) / 2, rel=1e-4)
    assert records[4]["error_largest"] < records[2]["error_largest"] < 72
    assert "epoch 4 collapsed" in caplog.text


def test_distillation_and_labels(tiny_space, digits, make_schedule, rng, task):
    """Without a teacher every network has the gradients of its own labels."""
    supernet = fresh(tiny_space, digits)
    schedule = make_schedule(n_random=0, distillation=0.0, clip_norm=1e9)
    graphs = sample_sandwich(tiny_space, schedule, 0.0, rng)
    images, labels = torch.from_numpy(digits.train["images"][:32]), torch.from_numpy(digits.train["labels"][:32])
    losses = [torch.nn.functional.cross_entropy(supernet(images, g), labels, label_smoothing=0.1) for g in graphs]
    expected = torch.autograd.grad(sum(losses), supernet.shared["head/linear/weight"])[0]
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.0)
    training_step(supernet, optimizer, task, {"images": images, "labels": labels}, graphs, schedule)
    assert torch.allclose(supernet.shared["head/linear/weight"].grad, expected, atol=1e-5)


def test_weights_spread_evenly_under_the_regularizer(tiny_space):
    supernet = Supernet(tiny_space)
    with torch.no_grad():
        for weight in supernet.shared.values():
            weight.uniform_(-1, 1)
    even = float(kurtosis_loss(supernet).detach())
    with torch.no_grad():
        for weight in supernet.shared.values():
            weight.copy_(weight**5)
    assert even < 0.1 < float(kurtosis_loss(supernet).detach())


def test_weights_of_another_training_to_start_from(tiny_space, digits, trained, tmp_path):
    path = tmp_path / "supernet.safetensors"
    save_tensors(path, trained.state_dict(), {"any": 1})
    supernet = fresh(tiny_space, digits)
    init_from(supernet, path)
    assert all((supernet.shared[name] == weight).all() for name, weight in trained.shared.items())
    assert not supernet.scale_is_set.any()
    with pytest.raises(InvalidInputError, match="holds the weights of another space than 'mobilenet-digits'"):
        init_from(Supernet(SPACES.get("mobilenet-digits")()), path)


def test_bfloat16_trains_too(tiny_space, digits, make_schedule, tmp_path, task):
    schedule = make_schedule(float_epochs=2, quantized_epochs=1, bfloat16=True, quantized_bfloat16=True)
    plan = {"seed": 0, "checkpoint": tmp_path / "c", "identity": {}}
    records = train(fresh(tiny_space, digits), task, digits, schedule, **plan)
    assert records[-1]["error_largest"] < 60


def test_curves_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from nas.training.tensorboard import tensorboard_log

    with tensorboard_log(tmp_path / "t") as log:
        log({"epoch": 1, "loss": 2.0})
        log({"epoch": 2, "loss": 1.5})
    events = EventAccumulator(str(tmp_path / "t")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("training/loss")] == [(1, 2.0), (2, 1.5)]


def test_checkpoints_are_whole_or_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    save_tensors(path, {"a": torch.arange(5.0)}, {"epoch": 3})
    tensors, facts = load_tensors(path)
    assert (tensors["a"].tolist(), facts) == ([0, 1, 2, 3, 4], {"epoch": 3})
    content = path.read_bytes()
    for length in (0, 4, 20, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedFileError, match="is damaged or not of hwnas"):
            load_tensors(path)
    with pytest.raises(DamagedFileError, match="is damaged or not of hwnas"):
        load_tensors(tmp_path / "none")


def test_file_replaced_while_it_is_read_is_read_as_it_was(tmp_path):
    path, pipe = tmp_path / "f.safetensors", tmp_path / "pipe"
    save_tensors(path, {"a": torch.arange(5.0)}, {"epoch": 3})
    os.mkfifo(pipe)  # gives its content to who opens it first, as a file gives it to who opens it before the next is written
    with ThreadPoolExecutor(1) as other:
        other.submit(pipe.write_bytes, path.read_bytes())
        tensors, facts = load_tensors(pipe)
    assert torch.equal(tensors["a"], torch.arange(5.0))
    assert facts == {"epoch": 3}


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_weights_of_another_space_are_refused(tiny_space, digits, tmp_path):
    other = Supernet(SPACES.get("mobilenet-digits")(), torch.Generator().manual_seed(0))
    with pytest.raises(InvalidInputError, match="holds the weights of another space than 'tiny'"):
        load_supernet(fresh(tiny_space, digits), other.state_dict(), tmp_path / "s")


def experiment_file(folder):
    content = {
        "name": "killed",
        "data": {"name": "digits", "n_val": 360},
        "training": {"float_epochs": 2, "quantized_epochs": 2, "batch_size": 256, "n_random": 0, "warmup_epochs": 0},
    }
    content["training"]["compile"] = False  # compiling takes longer than these epochs
    path = folder / "killed.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def start(experiment, out):
    command = [sys.executable, "-m", "nas.cli", "train", str(experiment), "--out", str(out)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def epochs_done(checkpoint):
    return len(load_tensors(checkpoint)[1]["records"]) if checkpoint.exists() else 0


@pytest.mark.serial
def test_sigkill_at_random_moments_of_the_real_command(tmp_path, rng):
    experiment = experiment_file(tmp_path)
    whole = start(experiment, tmp_path / "whole")
    _, messages = whole.communicate()
    assert whole.returncode == 0, messages

    checkpoint = tmp_path / "killed" / "checkpoint" / "last.safetensors"
    killed_at = []
    for wanted in (0, 1, 2, None):  # kill at a random moment of the epoch after so many, then let it end
        process = start(experiment, tmp_path / "killed")
        try:
            while wanted is not None and process.poll() is None and epochs_done(checkpoint) < wanted + (wanted == 0):
                time.sleep(0.02)
            if wanted is None:
                process.wait(timeout=600)
                break
            seen = epochs_done(checkpoint)
            time.sleep(float(rng.uniform(0, 0.3)))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                killed_at.append(epochs_done(checkpoint))
            process.wait()
            assert epochs_done(checkpoint) >= seen  # what was finished is kept: at most the running epoch is lost
        finally:
            process.kill()
            process.communicate()
    assert process.returncode == 0
    assert any(0 < done < 4 for done in killed_at)
    mine, theirs = (load_file(tmp_path / run / "supernet.safetensors") for run in ("killed", "whole"))
    assert mine.keys() == theirs.keys()
    assert all((mine[name] == theirs[name]).all() for name in mine)


def test_an_opaque_alpha_channel_costs_nothing(make_schedule, digits, tmp_path):
    def pictures(x, y):
        few = y < 4
        grey = (x[few] * 15).astype(np.uint8)
        return np.concatenate([grey, grey, grey, np.full_like(grey, 255)], axis=1), y[few]

    (x, y), (x_test, y_test) = (
        pictures(digits.train["images"], digits.train["labels"]),
        pictures(digits.test["images"], digits.test["labels"]),
    )
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    data = load_dataset("npz", path=str(tmp_path / "d.npz"), n_val=60)
    stages = (Stage(depths=(1,), widths=(8,)), Stage(depths=(1,), widths=(16,), stride=2))
    space = mobilenet("alpha", input_shape=(4, 8, 8), outputs=classes(4), stem_width=8, stages=stages, formats=("float32",))
    supernet = fresh(space, data)
    schedule = make_schedule(float_epochs=8, quantized_epochs=0, random_translate=1)
    records = train(
        supernet,
        Classification.of(data),
        data,
        schedule,
        seed=0,
        checkpoint=tmp_path / "c" / "last.safetensors",
        identity={},
    )
    assert records[-1]["error_at_end"] < 20  # chance is 75
