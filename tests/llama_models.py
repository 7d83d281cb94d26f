"""A tiny LLaMA-like model as a folder of transformers, and what it computes, in plain torch."""

import json

import numpy as np
import torch
from torch.nn import functional

SIZES = {"width": 64, "depth": 3, "heads": 4, "kv_heads": 2, "mlp": 192, "vocabulary": 300}
TEXT = "the quick brown fox jumps over the lazy dog and runs away from 42 cats. " * 40


def tensors(is_tied=True, seed=0):
    rng, s = np.random.default_rng(seed), SIZES
    kv = s["width"] // s["heads"] * s["kv_heads"]
    found = {"model.embed_tokens.weight": (s["vocabulary"], s["width"]), "model.norm.weight": (s["width"],)}
    if not is_tied:
        found["lm_head.weight"] = (s["vocabulary"], s["width"])
    for i in range(s["depth"]):
        layer = f"model.layers.{i}."
        for part, rows in (("q", s["width"]), ("k", kv), ("v", kv), ("o", s["width"])):
            found[f"{layer}self_attn.{part}_proj.weight"] = (rows, s["width"])
        found |= {f"{layer}mlp.{part}_proj.weight": (s["mlp"], s["width"]) for part in ("gate", "up")}
        found[f"{layer}mlp.down_proj.weight"] = (s["width"], s["mlp"])
        found |= {f"{layer}{norm}.weight": (s["width"],) for norm in ("input_layernorm", "post_attention_layernorm")}
    return {
        name: (rng.uniform(0.5, 1.5, shape) if len(shape) == 1 else rng.normal(0, 1 / np.sqrt(shape[1]), shape)).astype("f4")
        for name, shape in found.items()
    }


def config(is_tied=True, **changed):
    s = SIZES
    return {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": s["width"],
        "num_hidden_layers": s["depth"],
        "num_attention_heads": s["heads"],
        "num_key_value_heads": s["kv_heads"],
        "intermediate_size": s["mlp"],
        "vocab_size": s["vocabulary"],
        "max_position_embeddings": 128,
        "rope_theta": 5000.0,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": is_tied,
        **changed,
    }


def bfloat16(array):
    return (array.view(np.uint32) >> 16).astype("<u2")


def write_folder(folder, kind="F32", is_tied=True, **changed):
    """Write the model in two shards, and its tokenizer."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config(is_tied, **changed)))
    names = list(tensors(is_tied))
    index = {name: f"model-{1 + (i % 2)}.safetensors" for i, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    for file in sorted(set(index.values())):
        header, body = {}, b""
        for name in (n for n in names if index[n] == file):
            array = tensors(is_tied)[name]
            raw = (bfloat16(array) if kind == "BF16" else array.astype("<f4")).tobytes()
            header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(body), len(body) + len(raw)]}
            body += raw
        text = json.dumps(header).encode()
        (folder / file).write_bytes(len(text).to_bytes(8, "little") + text + body)
    from nas.data.tokenizer import BytePairTokenizer

    (folder / "tokenizer.json").write_text(BytePairTokenizer.trained([TEXT], SIZES["vocabulary"]).to_json())
    return folder


def write_gguf(file, folder, change=lambda writer: None):
    """Write the model of `write_folder` as llama.cpp has it, with something changed."""
    import gguf

    writer, s = gguf.GGUFWriter(file, "llama"), SIZES
    write_folder(folder)
    writer.add_block_count(s["depth"])
    writer.add_context_length(128)
    writer.add_embedding_length(s["width"])
    writer.add_feed_forward_length(s["mlp"])
    writer.add_head_count(s["heads"])
    writer.add_head_count_kv(s["kv_heads"])
    writer.add_rope_freq_base(5000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())["model"]
    vocabulary = sorted(tokenizer["vocab"], key=tokenizer["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if t == "<|endoftext|>" else 1 for t in vocabulary])
    writer.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in tokenizer["merges"]])
    writer.add_eos_token_id(0)
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v"}
    names |= {"self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up"}
    names |= {"mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    for name, array in tensors().items():
        name = name.replace("model.embed_tokens", "token_embd").replace("model.norm", "output_norm")
        name = name.replace("model.layers.", "blk.")
        for theirs, own in names.items():
            name = name.replace(theirs, own)
        if "attn_q" in name or "attn_k" in name:  # as llama.cpp's converter permutes them
            depth = s["width"] // s["heads"]
            array = array.reshape(-1, 2, depth // 2, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
        writer.add_tensor(name, array)
    change(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def forward(weights, tokens, theta=5000.0, eps=1e-5):
    """Return the logits of tokens, written down from the paper and transformers' documentation alone."""
    w = {name: torch.from_numpy(array) for name, array in weights.items()}
    n, depth = tokens.shape[1], SIZES["width"] // SIZES["heads"]
    angles = torch.arange(n)[:, None] / theta ** (torch.arange(0, depth, 2) / depth)
    cos, sin = (torch.cat([f(angles)] * 2, dim=-1) for f in (torch.cos, torch.sin))

    def rotate(x):
        half = torch.cat([-x[..., depth // 2 :], x[..., : depth // 2]], dim=-1)
        return x * cos + half * sin

    def norm(x, name):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * w[f"{name}.weight"]

    x = w["model.embed_tokens.weight"][tokens]
    for i in range(SIZES["depth"]):
        layer, y = f"model.layers.{i}", norm(x, f"model.layers.{i}.input_layernorm")
        q, k, v = ((y @ w[f"{layer}.self_attn.{p}_proj.weight"].T).view(len(x), n, -1, depth).transpose(1, 2) for p in "qkv")
        q, k = rotate(q), rotate(k)
        k, v = (t.repeat_interleave(SIZES["heads"] // SIZES["kv_heads"], dim=1) for t in (k, v))
        scores = (q @ k.transpose(2, 3)) / depth**0.5 + torch.full((n, n), -torch.inf).triu(1)
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(len(x), n, -1)
        x = x + y @ w[f"{layer}.self_attn.o_proj.weight"].T
        y = norm(x, f"{layer}.post_attention_layernorm")
        gated = functional.silu(y @ w[f"{layer}.mlp.gate_proj.weight"].T) * (y @ w[f"{layer}.mlp.up_proj.weight"].T)
        x = x + gated @ w[f"{layer}.mlp.down_proj.weight"].T
    head = w.get("lm_head.weight", w["model.embed_tokens.weight"])
    return norm(x, "model.norm") @ head.T
