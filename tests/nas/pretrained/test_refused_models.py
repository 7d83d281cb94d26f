"""Models that only look like those that are read: one sentence each; none is read as what it is not."""

import json

import numpy as np
import pytest

from nas.data import load_dataset
from nas.pretrained.llama import read_llama
from nas.run.adopt_language import adopt_language_model
from nas.tasks.classification import Classification
from nas.tasks.spaces import build_space
from search_spaces.errors import DamagedFileError, HwnasError, InvalidInputError
from tests.llama_models import TEXT, write_folder, write_gguf


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, r"rotary positions are scaled \(llama3\)"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        ({"rope_theta": 0}, "base of rotary positions 0"),
        ({"num_attention_heads": 0}, "does not hold what such models hold"),
        ({"hidden_size": 1e400}, "does not hold what such models hold|lacks"),
        ({"num_hidden_layers": 1}, "1 layers"),
    ],
)
def test_folders(tmp_path, changed, words):
    with pytest.raises(HwnasError, match=words):
        read_llama(write_folder(tmp_path / "hf", **changed))


def test_transformers_5_tells_the_base_elsewhere(tmp_path):
    folder = write_folder(tmp_path / "hf", rope_parameters={"rope_type": "default", "rope_theta": 123.0})
    assert read_llama(folder).shape.base == 123.0


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", []),
        ("model.safetensors.index.json", {}),
        ("tokenizer.json", [1]),
        ("tokenizer_config.json", [1]),
    ],
)
def test_files_of_another_form(tmp_path, file, content):
    folder = write_folder(tmp_path / "hf")
    (folder / file).write_text(json.dumps(content))
    with pytest.raises(DamagedFileError, match="fetch the model again"):
        read_llama(folder)


def test_tokens_that_the_table_has_not(tmp_path):
    folder = write_folder(tmp_path / "hf")
    content = json.loads((folder / "tokenizer.json").read_text())
    content["added_tokens"].append({**content["added_tokens"][0], "id": 305, "content": "<|more|>"})
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InvalidInputError, match="has a token 305, its table 300 rows"):
        read_llama(folder)


def test_weights_that_are_no_numbers(tmp_path):
    folder = write_folder(tmp_path / "hf")
    file = folder / "model-1.safetensors"
    content = bytearray(file.read_bytes())
    content[-4:] = np.float32(np.nan).tobytes()
    file.write_bytes(content)
    with pytest.raises(InvalidInputError, match="holds NaN or infinity"):
        read_llama(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.add_string("llama.rope.scaling.type", "linear"), "llama.rope.scaling.type is linear"),
        (lambda w: w.add_float32("llama.rope.scale_linear", 4.0), "llama.rope.scale_linear is 4"),
        (lambda w: w.add_sliding_window(64), "llama.attention.sliding_window is 64"),
        (lambda w: w.add_tokenizer_pre("llama-bpe"), "splits text in the way of 'llama-bpe'"),
        (lambda w: w.add_tensor("rope_freqs.weight", np.ones(8, np.float32)), "the tensor 'rope_freqs.weight'"),
        (lambda w: w.add_tensor("blk.0.attn_q.bias", np.ones(64, np.float32)), "the tensor 'blk.0.attn_q.bias'"),
    ],
)
def test_gguf_files(tmp_path, change, words):
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    with pytest.raises(InvalidInputError, match=words):
        read_llama(write_gguf(tmp_path / "m.gguf", tmp_path / "hf", change))


def test_another_model_under_the_same_run_harms_nothing(tmp_path):
    (tmp_path / "text.txt").write_text("\n\n".join(f"{i} {TEXT}" for i in range(60)))
    to, text = tmp_path / "run", str(tmp_path / "text.txt")
    settings = {"context": 16, "devices": {}, "search": {"objectives": ["bits_per_byte", "size_bytes"]}}
    adopt_language_model(write_folder(tmp_path / "hf"), text, to, **settings)
    kept = (tmp_path / "run.tokenizer.json").read_text()
    other = write_folder(tmp_path / "other")
    content = json.loads((other / "tokenizer.json").read_text())
    content["model"]["merges"].pop()
    (other / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InvalidInputError, match="was made of another model"):
        adopt_language_model(other, text, to, **settings)
    assert (tmp_path / "run.tokenizer.json").read_text() == kept
    adopt_language_model(tmp_path / "hf", text, to, **settings)
    (tmp_path / "short.txt").write_text("too short")
    with pytest.raises(InvalidInputError, match="too little text"):
        adopt_language_model(other, str(tmp_path / "short.txt"), tmp_path / "new", **settings)
    assert not list(tmp_path.glob("new*"))


def test_pictures_are_no_tokens():
    with pytest.raises(InvalidInputError, match="the space 'decoder-tiny' takes int64, the task gives float32"):
        build_space("decoder-tiny", Classification.of(load_dataset("digits")))
