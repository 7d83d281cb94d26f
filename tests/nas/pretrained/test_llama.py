import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from nas.data.dataset import Dataset
from nas.objectives.signals import SIGNALS
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.pretrained.gguf import in_halves
from nas.pretrained.llama import read_llama
from nas.pretrained.order import order_of_influence
from nas.pretrained.supernet import load_weights
from nas.supernet.calibrate import Calibration
from nas.supernet.deploy import DeployedLayers, extract, fold
from nas.supernet.executor import execute
from nas.supernet.repair import repair
from nas.supernet.sorting import sort_by_importance
from nas.supernet.supernet import Supernet
from nas.tasks.language import Language
from search_spaces import decoder
from search_spaces.errors import DamagedFileError, InvalidInputError, NotReadyError
from search_spaces.space.baselines import uniform_genome
from tests.llama_models import SIZES, TEXT, config, forward, tensors, write_folder, write_gguf

TOKENS = torch.randint(0, SIZES["vocabulary"], (2, 40), generator=torch.Generator().manual_seed(0))


def network(model, context=40):
    space = model.space(context)
    supernet = Supernet(space)
    load_weights(supernet, model.weights)
    return supernet, space.subnet(uniform_genome(space, "largest", "float32")).graph


@pytest.mark.parametrize(("kind", "is_tied"), [("F32", True), ("F32", False), ("BF16", True)])
def test_a_folder_computes_what_the_paper_says(tmp_path, kind, is_tied):
    model = read_llama(write_folder(tmp_path / "hf", kind, is_tied))
    supernet, graph = network(model)
    arrays = tensors(is_tied)
    if kind == "BF16":
        arrays = {n: ((a.view(np.uint32) >> 16) << 16).view(np.float32) for n, a in arrays.items()}
    with torch.no_grad():
        found, expected = supernet(TOKENS, graph), forward(arrays, TOKENS)
    assert (found - expected).abs().max() < 1e-4 * expected.std()


def test_a_gguf_file_is_the_same_model(tmp_path):
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    folder = tmp_path / "hf"
    write_gguf(tmp_path / "m.gguf", folder)
    model, other = read_llama(tmp_path / "m.gguf"), read_llama(folder)
    assert replace(model.shape, epsilon=1e-5) == other.shape
    assert model.shape.epsilon == pytest.approx(1e-5)
    assert all((model.weights[name] == other.weights[name]).all() for name in other.weights)
    from nas.data.tokenizer import BytePairTokenizer

    first, second = (BytePairTokenizer(m.tokenizer, m.end).encode([TEXT])[0] for m in (model, other))
    assert (first == second).all()
    content = (tmp_path / "m.gguf").read_bytes()
    (tmp_path / "short.gguf").write_bytes(content[: len(content) // 2])
    with pytest.raises(DamagedFileError, match="is no whole GGUF file"):
        read_llama(tmp_path / "short.gguf")
    (tmp_path / "other.gguf").write_bytes(content.replace(b"llama", b"mamba", 1))
    with pytest.raises((InvalidInputError, DamagedFileError), match="LLaMA-like|GGUF"):
        read_llama(tmp_path / "other.gguf")


def test_halves():
    rows = np.arange(8)[:, None]
    assert in_halves(rows, 8).ravel().tolist() == [0, 2, 4, 6, 1, 3, 5, 7]


def test_sorting_changes_nothing_and_sorts(tmp_path):
    supernet, graph = network(read_llama(write_folder(tmp_path / "hf")))
    with torch.no_grad():
        before = supernet(TOKENS, graph)
        first = supernet.shared["layer1/mlp/gate/weight"].clone()
        sort_by_importance(supernet, TOKENS)
        after = supernet(TOKENS, graph)
    assert (before - after).abs().max() < 1e-5 * before.std()
    assert not torch.equal(first, supernet.shared["layer1/mlp/gate/weight"])


def test_repaired_matrices_give_more_of_what_they_gave_and_are_kept(tmp_path):
    supernet, _ = network(read_llama(write_folder(tmp_path / "hf")))
    space = supernet.space
    graph = space.subnet(uniform_genome(space, "largest", "w4a8d-g32")).graph
    windows = torch.randint(0, SIZES["vocabulary"], (32, 40), generator=torch.Generator().manual_seed(1))

    def distance():
        with torch.no_grad():
            found = execute(graph, TOKENS, DeployedLayers(fold(supernet, graph, Calibration())))
            exact = supernet(TOKENS, space.subnet(uniform_genome(space, "largest", "float32")).graph)
        return float((found - exact).square().mean())

    nearest = distance()
    repair(supernet, windows)
    repaired = distance()
    assert repaired < nearest  # by little: what random matrices meet is hardly correlated
    kept = supernet.groups.tensors()
    with torch.no_grad():
        next(supernet.parameters()).mul_(1.0)  # weights may have changed: what was rounded is forgotten
    assert distance() == pytest.approx(nearest)
    supernet.groups.restore(kept)
    assert distance() == repaired


def test_changes_of_single_blocks_add_up_to_the_change_of_the_loss(tmp_path):
    model = read_llama(write_folder(tmp_path / "hf"))
    supernet, graph = network(model)
    space, task = supernet.space, Language(context=40, vocabulary=SIZES["vocabulary"])
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(0, SIZES["vocabulary"], (96, 40), generator=generator)
    with torch.no_grad():  # next tokens as the model expects them: its loss is least there
        expected = supernet(tokens, graph).softmax(dim=-1).flatten(0, 1)
    following = torch.multinomial(expected, 1, generator=generator).view(tokens.shape)
    split = {"tokens": tokens.numpy(), "next_tokens": following.numpy(), "mean_bytes": np.full(96, 40, np.float32)}
    data = Dataset("made", split, split, split, {"vocabulary": SIZES["vocabulary"], "context": 40})
    evaluator = SupernetEvaluator(supernet, task, data, n_calibration=8)
    signal = SIGNALS.get("fisher")(evaluator)
    assert signal.is_free
    rng = np.random.default_rng(0)
    genomes = space.sample(40, rng)
    genomes[:, space.gene["depth"]] = len(space.choices[space.gene["depth"]].options) - 1
    genomes = space.canonicalize(genomes)
    largest = uniform_genome(space, "largest", "float32")[None]
    assert signal.values(largest) == [0]
    measured = np.log(evaluator.measure(genomes)["bits_per_byte"] / evaluator.measure(largest)["bits_per_byte"])
    assert kendalltau(signal.values(genomes), measured).statistic > 0.6


def test_networks_in_groups_hold_slices_of_the_same_integers(tmp_path):
    model = read_llama(write_folder(tmp_path / "hf"))
    elastic = {"depths": (2, 3), "kv_heads": (1, 2), "mlp_widths": (96, 192), "formats": ("w4a8d-g16", "w8a8d-g32")}
    space = decoder("m", replace(model.shape, context=40), **elastic)
    supernet = Supernet(space)
    load_weights(supernet, model.weights)
    genomes = [uniform_genome(space, level, "w4a8d-g16") for level in ("smallest", "largest")]
    graphs = [space.subnet(genome).graph for genome in genomes]
    small, large = (extract(supernet, graph, Calibration()) for graph in graphs)
    sliced = 0
    for name, array in small.items():
        whole = large[name][tuple(slice(n) for n in array.shape)]
        assert (array == whole).all(), name
        sliced += array.shape != large[name].shape
    assert sliced > 2


def test_bad_models(tmp_path):
    for changed, message in (
        ({"architectures": ["MambaForCausalLM"]}, "of the architecture MambaForCausalLM"),
        ({"rope_scaling": {"factor": 8.0}}, "rope_scaling is .*, which is not read; it must be None"),
        ({"hidden_act": "gelu"}, "hidden_act is gelu"),
        ({"intermediate_size": 128}, r"model.layers.0.mlp.gate_proj.weight of shape \(128, 64\) has shape \(192, 64\)"),
    ):
        shutil.rmtree(tmp_path / "hf", ignore_errors=True)
        with pytest.raises((InvalidInputError, DamagedFileError), match=message):
            read_llama(write_folder(tmp_path / "hf", **changed))
    folder = write_folder(tmp_path / "shards")
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(DamagedFileError, match="lacks model-2.safetensors; fetch the model again"):
        read_llama(folder)
    folder = write_folder(tmp_path / "cut")
    content = (folder / "model-2.safetensors").read_bytes()
    (folder / "model-2.safetensors").write_bytes(content[:-100])
    with pytest.raises(DamagedFileError, match="is no whole safetensors file"):
        read_llama(folder)
    with pytest.raises(InvalidInputError, match="is no .gguf file, nor a folder with config.json"):
        read_llama(tmp_path / "none.bin")
    (tmp_path / "no").mkdir()
    with pytest.raises(DamagedFileError, match="config.json' is missing or damaged"):
        read_llama(tmp_path / "no")
    model = read_llama(write_folder(tmp_path / "whole"))
    with pytest.raises(InvalidInputError, match="was trained on 128 tokens; a context of 256 is longer"):
        model.space(256)
    assert config()["vocab_size"] == 300


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(NotReadyError, match=r"pip install 'hwnas\[gguf\]'"):
        read_llama(tmp_path / "m.gguf")


def test_layers_that_change_least_are_left_out_first(tmp_path, monkeypatch):
    monkeypatch.setitem(SIZES, "depth", 5)
    model = read_llama(write_folder(tmp_path / "hf"))
    idle = {name: 0 * array for name, array in model.weights.items() if name.startswith("layer3/") and "norm" not in name}
    model = replace(model, weights={**model.weights, **idle})
    order = order_of_influence(model, TOKENS)
    assert order[0] == 3
    assert set(order) == {2, 3, 4}
    space = replace(model, left_out=order).space(40)
    supernet = Supernet(space)
    load_weights(supernet, model.weights)
    whole = uniform_genome(space, "largest", "float32")
    shallow = whole.copy()
    shallow[space.gene["depth"]] -= 1
    with torch.no_grad():
        first, second = (
            supernet(TOKENS, space.subnet(genome).graph) for genome in (whole, space.canonicalize(shallow[None])[0])
        )
    assert (first - second).abs().max() < 1e-5 * first.std()
    with pytest.raises(InvalidInputError, match="in the order"):
        replace(model, left_out=(3, 9)).space(40)
