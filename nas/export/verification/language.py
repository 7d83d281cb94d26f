"""Proof that a language model's file computes what was trained.

Operators are held against the reference on what onnxruntime itself computed before them: they agree to 1e-5 of what they
give or, where single values are hundreds of times greater (at the first token of large models), to the rounding of float32
of what is added up there. Whole networks do so only where activations are float32. Where they are rounded, an input that
differs in its last bits flips roundings, which move later ones by more: two correct executions differ. So a file must be no
further from the trained network than that is from itself with what its layers take moved by a millionth (decision 0018).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from latency_tables.runtimes.onnxruntime import open_session
from nas.export.verification.token_session import TokenSession, TokenStream, likeliest
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Quantized, Weights
from search_spaces.lowering import lengths_of
from search_spaces.operators.causal_attention import CausalAttention
from search_spaces.operators.ends import Output
from search_spaces.operators.project import packs
from search_spaces.operators.quantize import Quantize

Answers = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""From windows `(n, tokens)` to answers `(n, tokens, vocabulary)`."""

OPERATOR_TOLERANCE = 1e-5  # of the root mean square of what an operator gives
ROUNDINGS = 32 * 2.0**-24  # of `Node.magnitude`, by which float32 may be off where that is more: 21 were measured
CLEAR = 1e-3  # by which the best answer must lie above the second for both to name it alike
N_PROMPTS, N_GREEDY = 20, 64
N_WINDOWS = 16  # of text that are compared
SIGMAS = 3.0  # of the share of equal answers, and of the bits


@dataclass(frozen=True, kw_only=True)
class TextParity:
    """How the texts of a file and of the trained network were compared, and what failed.

    Attributes:
        windows: Of text that were compared whole, token by token.
        is_exact: True if activations and the cache stay float32, so that the file must name the same tokens.
        equal: Percentage of places where file and trained network name the same token.
        unclear: Places where the two best answers lie too near for both to name the same.
        equal_to_itself: The same percentage of the trained network against itself, its norms moved by a millionth.
        bits: Of a token, of the file.
        bits_trained: The same of the trained network.
        bits_moved: The same of the trained network with its norms moved.
        prefill_equal: Percentage of prompts behind which prompt at once and token by token name the same token.
        greedy_equal: Of `20` prompts, the texts of 64 tokens that are those of the trained network.
        reasons: What failed, a sentence each.
    """

    windows: int
    is_exact: bool
    equal: float
    unclear: int
    equal_to_itself: float
    bits: float
    bits_trained: float
    bits_moved: float
    prefill_equal: float
    greedy_equal: int
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "reasons": list(self.reasons)}


@dataclass(frozen=True, kw_only=True)
class LanguageParity(TextParity):
    """The same, and what was compared operator by operator.

    Attributes:
        operators: Compared with the reference, on `tokens` tokens.
        operator_error: Greatest difference of one over the root mean square of what it gives; over `ROUNDINGS` of what it
            adds up, in units of `OPERATOR_TOLERANCE`, where that is less.
        integer_mismatches: Integers of static layers that differ from the reference.
    """

    operators: int
    tokens: int
    operator_error: float
    integer_mismatches: int


def check_language(
    model: bytes, graph: Graph, weights: Weights, windows: NDArray[np.int64], context: int, trained: Answers, moved: Answers
) -> LanguageParity:
    """Compare a file with the reference and with the trained network.

    Args:
        model: The file.
        graph: What it was lowered from.
        weights: The same that it holds.
        windows: Tokens that it was not trained on, `(n, tokens)`.
        context: Tokens that it remembers.
        trained: The trained network.
        moved: The same with its norms moved by a millionth.
    """
    n_operators, error, wrong = check_operators(model, graph, weights, windows[0])
    texts = check_texts(TokenSession(model, context), graph, windows, trained, moved)
    reasons = []
    if not error <= OPERATOR_TOLERANCE:
        reasons.append(f"an operator differs from the reference by {error:.2g} of what it gives or adds up")
    if wrong:
        reasons.append(f"{wrong} integers differ from the integer reference")
    return LanguageParity(
        **{**asdict(texts), "reasons": (*reasons, *texts.reasons)},
        operators=n_operators,
        tokens=windows.shape[1],
        operator_error=error,
        integer_mismatches=wrong,
    )


def check_texts(
    session: TokenStream, graph: Graph, windows: NDArray[np.int64], trained: Answers, moved: Answers
) -> TextParity:
    """Compare what a file answers, token by token, with the trained network.

    Args:
        session: The file at work.
        graph: What it computes.
        windows: See `check_language`.
        trained: See `check_language`.
        moved: See `check_language`.
    """
    found = np.stack([session.answers(window) for window in windows])
    expected, shifted = trained(windows), moved(windows)
    is_exact = not any(node.precision.is_dynamic or node.precision.is_static or node.inner for node in graph.nodes)
    same, own = (likeliest(x) == likeliest(expected) for x in (found, shifted))
    best = np.sort(expected, axis=-1)[..., -2:]
    unclear = int((~same & (best[..., 1] - best[..., 0] < CLEAR * np.abs(best[..., 1]).clip(min=1))).sum())
    bits, bits_trained, bits_moved = (_bits(x[:, :-1], windows[:, 1:]) for x in (found, expected, shifted))

    reasons = []
    if is_exact and same.sum() + unclear < same.size:
        reasons.append(f"{same.size - int(same.sum())} of {same.size} next tokens differ from the trained network's")
    noise = SIGMAS * np.sqrt(max(own.mean() * (1 - own.mean()), 1 / own.size) / own.size)
    if not is_exact and same.mean() < own.mean() - noise:
        reasons.append(
            f"{100 * same.mean():.2f} % of next tokens equal the trained network's; its own repeat {100 * own.mean():.2f} %"
        )
    if not abs(bits.mean() - bits_trained.mean()) <= _allowed(bits, bits_trained, bits_moved):
        reasons.append(f"the file takes {bits.mean():.4f} bits a token, the trained network {bits_trained.mean():.4f}")
    return TextParity(
        windows=len(windows),
        is_exact=is_exact,
        equal=100 * float(same.mean()),
        unclear=unclear,
        equal_to_itself=100 * float(own.mean()),
        bits=float(bits.mean()),
        bits_trained=float(bits_trained.mean()),
        bits_moved=float(bits_moved.mean()),
        prefill_equal=_prefill_agreement(session, windows, found),
        greedy_equal=_greedy_agreement(session, windows, trained),
        reasons=tuple(reasons),
    )


def check_operators(model: bytes, graph: Graph, weights: Weights, tokens: NDArray[np.int64]) -> tuple[int, float, int]:
    """Compare every operator with its reference, on what onnxruntime computed before it.

    Returns:
        Operators compared, the greatest difference (see `LanguageParity.operator_error`), and integers that differ.
    """
    found = _all_tensors(model, graph, tokens)
    n, worst, wrong = 0, 0.0, 0
    for node in (node for node in graph.nodes if node.inputs and not isinstance(node, Output)):
        taken = [found[name] for name in node.inputs]
        if isinstance(node, Quantize):
            wrong += int((node.saturate(taken[0] / float(weights[f"{node.name}/scale"]), weights) != found[node.name]).sum())
            continue
        if node.has_integer_kernel and all(isinstance(graph[name], Quantize) for name in node.inputs):
            given = [
                Quantized(x, np.float32(weights[f"{name}/scale"]), graph[name].zero_point(weights))  # type: ignore[attr-defined]
                for x, name in zip(taken, node.inputs, strict=True)
            ]
            expected = node.compute_integers(given, None, weights).astype(np.float64)
            magnitude = np.abs(expected)
        elif isinstance(node, CausalAttention) and node.inner:
            expected, magnitude, n_off = _attention(node, taken, [found[each.name] for each in node.inner], weights)
            wrong += n_off
        else:
            floats = [
                x.astype(np.float64) * (float(weights[f"{name}/scale"]) if isinstance(graph[name], Quantize) else 1.0)
                for x, name in zip(taken, node.inputs, strict=True)
            ]
            expected = node.compute(floats, weights)
            magnitude = node.magnitude(floats, weights, expected)
        n += 1
        worst = float(np.maximum(worst, _error(found[node.name], expected, magnitude)))  # NaN stays
    return n, worst, wrong


def _error(found: NDArray[Any], expected: NDArray[np.float64], magnitude: NDArray[np.float64]) -> float:
    """Return the greatest difference, see `LanguageParity.operator_error`."""
    scale = max(float(np.sqrt(np.mean(expected**2))), 1e-12)
    return float((np.abs(found - expected) / np.maximum(scale, ROUNDINGS / OPERATOR_TOLERANCE * magnitude)).max())


def _attention(
    node: CausalAttention, taken: Sequence[NDArray[Any]], kept: Sequence[NDArray[Any]], weights: Weights
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Return what attention gives of the keys and values that a file kept, its magnitude, and how many of those are wrong.

    One that lies within a thousandth of halfway between two integers may have become either.

    Args:
        node: The operator, whose cache holds integers.
        taken: Queries, keys and values.
        kept: Integers of keys and values, `(n, heads, tokens, depth)`.
        weights: Of the network.
    """
    queries, *reals = node.rotated([x.astype(np.float64) for x in taken])
    n_off, rounded = 0, []
    for quantizer, real, held in zip(node.inner, reals, kept, strict=True):
        scale, integers = np.float64(weights[f"{quantizer.name}/scale"]), held.swapaxes(1, 2).astype(np.float64)
        n_off += int((np.abs((real / scale).clip(*quantizer.bounds(weights)) - integers) > 0.5 + CLEAR).sum())
        rounded.append(integers * scale)
    return node.attend(queries, *rounded), node.attended_magnitude(queries, *rounded), n_off


def _all_tensors(model: bytes, graph: Graph, tokens: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return what onnxruntime computes for one window by name of the node; of quantizers integers around zero.

    Those within an operator hold what it keeps, `(1, heads, tokens, depth)`.
    """
    exposed = onnx.load_model_from_string(model)
    written = {name for operator in exposed.graph.node for name in operator.output}
    by_member, tensors = packs(graph), {}
    for node in (node for node in graph.nodes if node.inputs):
        pack = by_member.get(node.name)
        tensors[node.name] = f"{node.name}/integers" if isinstance(node, Quantize) else pack.name if pack else node.name
    outputs = [name for name in dict.fromkeys(tensors.values()) if name in written]
    known = {given.name for given in exposed.graph.output}
    exposed.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in outputs if name not in known)
    feeds: dict[str, NDArray[Any]] = {"tokens": tokens[None], **lengths_of(len(tokens))}
    for state in (state for node in graph.nodes for state in node.states):
        feeds[state.name] = np.zeros((1, state.shape[0], 0, state.shape[2]), state.dtype)
    outputs += [f"{each.name}/present" for node in graph.nodes for each in node.inner]
    session = open_session(exposed.SerializeToString())
    found = dict(zip(outputs, session.run(outputs, feeds), strict=True))
    result: dict[str, NDArray[Any]] = {"tokens": tokens[None]}
    result |= {each.name: found[f"{each.name}/present"] for node in graph.nodes for each in node.inner}
    for node in (node for node in graph.nodes if tensors.get(node.name) in found):
        tensor = found[tensors[node.name]]
        if isinstance(node, Quantize):
            tensor = tensor.astype(np.int64) - node.format.zero_point
        elif pack := by_member.get(node.name):
            ends = np.cumsum([each.shape[-1] for each in pack.members])[:-1]
            tensor = np.split(tensor, ends, axis=-1)[[each.name for each in pack.members].index(node.name)]
        result[node.name] = tensor
    for node in graph.nodes:  # what is named as the output is what its operator gives
        if isinstance(node, Output):
            result[node.inputs[0]] = found[node.name] if node.name in found else result[node.inputs[0]]
    return result


def _bits(answers: NDArray[np.float32], following: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean bits of a token in each window, `(n,)`."""
    x = answers.astype(np.float64)
    greatest = x.max(axis=-1, keepdims=True)
    logs = np.log(np.exp(x - greatest).sum(axis=-1)) + greatest[..., 0]
    own = np.take_along_axis(x, following[..., None], axis=-1)[..., 0]
    bits: NDArray[np.float64] = ((logs - own) / np.log(2)).mean(axis=1)
    return bits


def _allowed(bits: NDArray[np.float64], trained: NDArray[np.float64], moved: NDArray[np.float64]) -> float:
    """Return by how many bits a token a file may differ: as the network from itself, and by the spread of windows."""
    spreads = [np.std(x - trained) / np.sqrt(len(x)) for x in (bits, moved)]
    return float(abs(moved.mean() - trained.mean()) + SIGMAS * max(spreads) + 1e-4)


def _prefill_agreement(session: TokenStream, windows: NDArray[np.int64], found: NDArray[np.float32]) -> float:
    """Return on how many prompts in a hundred the prompt at once names the token that it names one by one."""
    same = []
    for i, window in enumerate(windows):
        n = 1 + (i * 37 + 17) % (len(window) - 1)
        session.reset()
        same.append(likeliest(session.feed(window[:n])) == likeliest(found[i, n - 1]))
    return 100 * float(np.mean(same))


def _greedy_agreement(session: TokenStream, windows: NDArray[np.int64], trained: Answers) -> int:
    """Return how many texts that the file writes the trained network writes, too: every token is its likeliest."""
    start, n_greedy = windows.shape[1] // 4, min(N_GREEDY, windows.shape[1] // 2)
    n_same = 0
    for window in windows[np.arange(N_PROMPTS) % len(windows)]:
        text = np.concatenate([window[:start], session.greedy(window[:start], n_greedy)])
        padded = np.zeros((1, windows.shape[1]), np.int64)
        padded[0, : len(text)] = text
        named = likeliest(trained(padded)[0])
        n_same += bool((named[start - 1 : len(text) - 1] == text[start:]).all())
    return n_same


def summary(parity: Mapping[str, Any]) -> str:
    """Return in a sentence what was proven, from what `parity.json` holds."""
    error = f"{parity['operator_error']:.1e} of what they give or add up"
    return f"{parity['operators']} operators agree with the reference to {error}; {comparison(parity)}"


def comparison(parity: Mapping[str, Any]) -> str:
    """Return how a file's texts compare with the trained network's, from a `TextParity` in plain values."""
    own = (
        "" if parity["is_exact"] else f" (with its norms moved by a millionth it repeats {parity['equal_to_itself']:.1f} %)"
    )
    return (
        f"{parity['equal']:.1f} % of next tokens are those of the trained network{own}; {parity['bits']:.4f} and "
        f"{parity['bits_trained']:.4f} bits a token"
    )
