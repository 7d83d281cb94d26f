"""Causal attention with rotary positions, groups of heads that share keys and values, and a cache."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper

from search_spaces.graph.node import Doubles, Floats, Node, Weights, WeightSpec, labelled, operator, untimed
from search_spaces.graph.tensor import TensorSpec
from search_spaces.operators.ends import Input
from search_spaces.operators.portable_attention import write_portable
from search_spaces.operators.quantize import Quantize
from search_spaces.precision.formats import FLOAT32, INT8

if TYPE_CHECKING:
    from search_spaces.lowering import Writer

PARTS = ("keys", "values")


@operator("causalattention")
@dataclass(frozen=True, kw_only=True)
class CausalAttention(Node):
    """Means of values of this and earlier tokens, `(tokens, heads * depth)`; it takes queries, keys and values.

    Queries are `(tokens, heads * depth)`, keys and values `(tokens, kv_heads * depth)`; of the query heads
    `heads / kv_heads` that lie behind one another share a head of keys and values.

    Attributes:
        heads: Of queries.
        kv_heads: Of keys and values.
        depth: Elements of a head; onnxruntime takes multiples of 16.
        context: Positions that its rotary tables reach.
        past: Tokens that the cache holds.
        is_cached: True if keys and values of earlier tokens are kept between calls.
        cache_bits: 8: keys (turned by their positions) and values are kept as integers with a scale each, and tokens see
            them so, their own included, so that calls may be cut anywhere; 32: they are kept as they are.
        base: Of the rotary frequencies.

    Source:
        Groups: Ainslie et al. 2023, arXiv:2305.13245. Rotary positions, in halves: Su et al. 2021, arXiv:2104.09864.
    """

    heads: int = labelled("h", 1)
    kv_heads: int = labelled("kv", 1)
    depth: int = labelled("d", 1)
    context: int = untimed(0)
    past: int = 0
    is_cached: bool = False
    cache_bits: int = FLOAT32.bits
    base: float = untimed(10000.0)

    stays_float = True
    takes_packed = True

    def macs(self) -> float:
        """Of scores and means, for each token over itself and those before it."""
        tokens = self.shape[0]
        seen = tokens * self.past + tokens * (tokens + 1) / 2
        return 2 * seen * self.heads * self.depth

    @property
    def cache_shape(self) -> tuple[int, int, int]:
        """Shape of the keys, and of the values, that are kept: heads, positions, elements."""
        return (self.kv_heads, self.past + self.shape[0], self.depth)

    @property
    def states(self) -> tuple[TensorSpec, ...]:
        """See `Node`: keys and values."""
        if not self.is_cached:
            return ()
        dtype = "int8" if self.inner else "float32"
        return tuple(TensorSpec(f"{self.name}/{part}", self.cache_shape, dtype) for part in PARTS)

    @property
    def inner(self) -> tuple[Quantize, ...]:
        """See `Node`: of keys and values, each shape `(kv_heads, tokens, depth)`."""
        if self.cache_bits != INT8.bits:
            return ()
        shape = (self.kv_heads, self.shape[0], self.depth)
        return tuple(Quantize(name=f"{self.name}/{part}", inputs=(), shape=shape) for part in PARTS)

    def weights(self) -> tuple[WeightSpec, ...]:
        """See `Node`: scales of what is kept in integers."""
        return tuple(WeightSpec(f"{part}/scale", (), (), init="given") for part in (PARTS if self.inner else ()))

    def emit(self, writer: "Writer") -> None:
        """GroupQueryAttention, which takes queries, keys and values in one tensor if they come so."""
        if writer.portable:
            write_portable(writer, self)
            return
        pack = writer.packs.get(self.inputs[0])
        taken = [pack.name, "", ""] if pack else list(self.inputs)
        tables = self.rotary_constants(writer)
        kept = [state.name for state in self.states]
        given = [f"{name}/present" for name in kept] or [f"{self.name}/{part}" for part in PARTS]
        rounds: dict[str, Any] = {}
        scales: list[str] = []
        if self.inner:
            rounds = {"k_quant_type": "PER_TENSOR", "v_quant_type": "PER_TENSOR", "kv_cache_bit_width": self.cache_bits}
            named = {f"{each.name}/scale": writer.weights[f"{each.name}/scale"] for each in self.inner}
            scales = ["", "", "", *(writer.constant(name, np.float32(scale).reshape(1)) for name, scale in named.items())]
        lengths = writer.lengths(taken[0], self.past + self.shape[0])
        writer.contrib(
            "GroupQueryAttention",
            [*taken, *(kept or self._nothing_kept(writer, taken[0])), *lengths, *tables, *scales],
            self.name,
            more=given,
            num_heads=self.heads,
            kv_num_heads=self.kv_heads,
            do_rotary=1,
            rotary_interleaved=0,
            **rounds,
        )

    def rotary_constants(self, writer: "Writer") -> list[str]:
        """Return the names of the tables of cosines and sines, which all layers share."""
        return [
            writer.constant_once(f"rotary/{part}/{self.depth}/{self.context}/{self.base:g}", table)
            for part, table in zip(("cos", "sin"), rotary_tables(self.context, self.depth, self.base), strict=True)
        ]

    def _nothing_kept(self, writer: "Writer", source: str) -> list[str]:
        """Return the names of keys and values of no tokens; the type of those that the operator gives is theirs."""
        if not self.inner:
            return ["", ""]
        name = f"{self.name}/nothing"
        sizes = writer.constant(f"{name}/sizes", np.array([self.kv_heads, 0, self.depth]))
        shape = [writer.operator("Shape", [source], f"{name}/samples", start=0, end=1), sizes]
        zero = helper.make_tensor("", TensorProto.INT8, [1], [0])
        shaped = writer.operator("Concat", shape, f"{name}/shape", axis=0)
        return 2 * [writer.operator("ConstantOfShape", [shaped], name, value=zero)]

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """See `Node`; nothing is in the cache."""
        return self.attend(*self._as_kept(inputs, weights))

    def magnitude(self, inputs: Sequence[Doubles], weights: Weights, result: Doubles) -> Doubles:
        """See `Node`."""
        return self.attended_magnitude(*self._as_kept(inputs, weights))

    def _as_kept(self, inputs: Sequence[Doubles], weights: Weights) -> list[Doubles]:
        """Return what `rotated` gives, keys and values rounded as the cache holds them."""
        queries, *kept = self.rotated(inputs)
        for i, each in enumerate(self.inner):
            scale = np.float64(weights[f"{each.name}/scale"])
            kept[i] = each.saturate(kept[i] / scale, weights).astype(np.float64) * scale
        return [queries, *kept]

    def rotated(self, inputs: Sequence[Doubles]) -> list[Doubles]:
        """Return queries and keys turned by their positions, and values, each `(n, tokens, heads, depth)`."""
        queries, keys, values = (x.astype(np.float64).reshape(*x.shape[:2], -1, self.depth) for x in inputs)
        tables = rotary_tables(queries.shape[1], self.depth, self.base)
        return [_rotated(queries, *tables), _rotated(keys, *tables), values]

    def attend(self, queries: Doubles, keys: Doubles, values: Doubles) -> Doubles:
        """Return the means of values, from what `rotated` gives, perhaps rounded."""
        keys, values = self._for_heads(keys, values)
        means = np.einsum("nhij,njhd->nihd", self._shares(queries, keys), values)
        result: Doubles = means.reshape(*means.shape[:2], -1)
        return result

    def attended_magnitude(self, queries: Doubles, keys: Doubles, values: Doubles) -> Doubles:
        """Return `magnitude` from what `attend` takes: a score that is rounded moves a mean by its share of the distance."""
        keys, values = self._for_heads(keys, values)
        shares = self._shares(queries, keys)
        moved = shares**2 * np.einsum("nihd,njhd->nhij", queries**2, keys**2) / self.depth
        mean, added, squares, crossed = (
            np.einsum("nhij,njhd->nihd", weight, x)
            for weight, x in ((shares, values), (shares**2, values**2), (moved, values**2), (moved, values))
        )
        apart = squares - 2 * mean * crossed + mean**2 * moved.sum(axis=-1).swapaxes(1, 2)[..., None]
        found = np.maximum(np.sqrt(added + apart.clip(min=0)), np.abs(mean))
        result: Doubles = found.reshape(*mean.shape[:2], -1)
        return result

    def _for_heads(self, *kept: Doubles) -> list[Doubles]:
        """Return keys and values repeated for each head of queries."""
        return [np.repeat(x, self.heads // self.kv_heads, axis=2) for x in kept]

    def _shares(self, queries: Doubles, keys: Doubles) -> Doubles:
        """Return how much of each value a token takes, `(n, heads, tokens, tokens)`."""
        scores = np.einsum("nihd,njhd->nhij", queries, keys) / math.sqrt(self.depth)
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares: Doubles = powers / powers.sum(axis=-1, keepdims=True)
        return shares

    @classmethod
    def examples(cls) -> tuple[tuple[Node, ...], ...]:
        """See `Node`."""
        sizes = {"queries": 64, "keys": 32, "values": 32}
        inputs = tuple(Input(name=name, shape=(5, size)) for name, size in sizes.items())
        fields = {"heads": 4, "kv_heads": 2, "depth": 16, "context": 5}
        plain = cls(name="y", inputs=tuple(sizes), shape=(5, 64), **fields)  # type: ignore[arg-type]
        return (*inputs, plain), (*inputs, replace(plain, cache_bits=8))


def rotary_tables(n: int, depth: int, base: float) -> tuple[Floats, Floats]:
    """Return cosines and sines of the angles of `n` positions, each of shape `(n, depth / 2)`."""
    angles = np.arange(n)[:, None] * base ** (-np.arange(0, depth, 2) / depth)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _rotated(x: Doubles, cosines: Floats, sines: Floats) -> Doubles:
    """Return heads `(n, tokens, heads, depth)` turned by their positions: the first half with the second."""
    first, second = np.split(x, 2, axis=-1)
    cosines, sines = cosines[None, :, None], sines[None, :, None]
    return np.concatenate([first * cosines - second * sines, second * cosines + first * sines], axis=-1)
