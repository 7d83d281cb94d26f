"""Plain torch transformers: a ViT with scaled dot-product attention, torch's own encoder, and BERT as MiniLM has it."""

import re

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class ViTBlock(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, dim = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(n, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(mixed.transpose(1, 2).reshape(n, tokens, dim))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Dosovitskiy et al. 2020, arXiv:2010.11929; tiny: 192 wide, 3 heads."""

    def __init__(self, n_classes: int = 1000, size: int = 224, dim: int = 192, depth: int = 12, heads: int = 3) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, dim, 16, 16)
        self.cls = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, (size // 16) ** 2 + 1, dim) * 0.02)
        self.blocks = nn.ModuleList(ViTBlock(dim, heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Encoder(nn.Module):
    """`nn.TransformerEncoder` on features, and a mean over its tokens."""

    def __init__(self, dim: int = 128, depth: int = 3, n_classes: int = 10) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(dim, 4, 4 * dim, 0.0, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(dim, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).mean(1))


class BertLayer(nn.Module):
    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.output, self.attention_norm = nn.Linear(dim, dim), nn.LayerNorm(dim, eps=1e-12)
        self.up, self.down, self.norm = nn.Linear(dim, hidden), nn.Linear(hidden, dim), nn.LayerNorm(dim, eps=1e-12)
        self.heads = heads

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        n, tokens, dim = x.shape
        q, k, v = (f(x).reshape(n, tokens, self.heads, -1).transpose(1, 2) for f in (self.query, self.key, self.value))
        scores = q @ k.transpose(2, 3) / (dim // self.heads) ** 0.5 + mask
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, tokens, dim)
        x = self.attention_norm(x + self.output(mixed))
        return self.norm(x + self.down(functional.gelu(self.up(x))))


class SentenceBert(nn.Module):
    """Devlin et al. 2018, arXiv:1810.04805, with the mean of the tokens as all-MiniLM-L6-v2 has it."""

    def __init__(self, vocabulary: int = 30522, dim: int = 384, depth: int = 6, heads: int = 12) -> None:
        super().__init__()
        self.words, self.positions, self.types = (nn.Embedding(n, dim) for n in (vocabulary, 512, 2))
        self.norm = nn.LayerNorm(dim, eps=1e-12)
        self.layers = nn.ModuleList(BertLayer(dim, heads, 4 * dim) for _ in range(depth))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.words(input_ids) + self.positions.weight[: input_ids.shape[1]] + self.types.weight[0]
        x, weight = self.norm(x), attention_mask.to(x.dtype)[:, :, None]
        mask = (1 - attention_mask.to(x.dtype))[:, None, None, :] * -1e4
        for layer in self.layers:
            x = layer(x, mask)
        return functional.normalize((x * weight).sum(1) / weight.sum(1).clamp(min=1e-9), dim=1)


NAMES = {
    "embeddings.word_embeddings": "words",
    "embeddings.position_embeddings": "positions",
    "embeddings.token_type_embeddings": "types",
    "embeddings.LayerNorm": "norm",
    "attention.self.": "",
    "attention.output.dense": "output",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "norm",
    "encoder.layer.": "layers.",
}


def minilm(tensors: dict[str, Tensor]) -> SentenceBert:
    """Return the network with the weights of `model.safetensors` of all-MiniLM-L6-v2."""
    model, renamed = SentenceBert(), {}
    for name, tensor in tensors.items():
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        renamed[name] = tensor
    model.load_state_dict({name: tensor for name, tensor in renamed.items() if name in model.state_dict()})
    return model.eval()


def encode(texts: list[str], vocabulary: list[str], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and mask of texts, `(n, length)` each: lower case, the longest known pieces first, as WordPiece does."""
    index = {piece: i for i, piece in enumerate(vocabulary)}
    ids, mask = (np.zeros((len(texts), length), np.int64) for _ in range(2))
    for row, text in enumerate(texts):
        found = [index["[CLS]"]]
        for word in re.findall(r"\w+|[^\w\s]", text.lower()):
            start, pieces = 0, []
            while start < len(word):
                ends = (end for end in range(len(word), start, -1) if ("##" if start else "") + word[start:end] in index)
                end = next(ends, None)
                if end is None:
                    pieces = [index["[UNK]"]]
                    break
                pieces.append(index[("##" if start else "") + word[start:end]])
                start = end
            found += pieces
        found = [*found[: length - 1], index["[SEP]"]]
        ids[row, : len(found)], mask[row, : len(found)] = found, 1
    return ids, mask
