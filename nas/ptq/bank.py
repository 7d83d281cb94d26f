"""Bank: the layers of a trained network in every format, repaired, and the scales of its tensors.

It is to a trained network what shared weights are to a supernet: the weights of any mixture of formats are put together
from it. All of it is made of float32 inputs, so that one block depends on no other.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.data.samples import Arrays
from nas.ptq.calibration import Values, limit_of, observe, scale_of
from nas.ptq.execution import tensors_of
from nas.ptq.layers import N_ROWS, Doubles, Floats, Layer, Rounded, drawn_inputs, grouped, mean_input
from nas.ptq.repair.bias import shift_of, shifted, tensors_into
from nas.ptq.repair.rounding import ROUNDINGS
from search_spaces.errors import DamagedFileError, InvalidInputError
from search_spaces.graph.graph import Graph
from search_spaces.graph.node import Node
from search_spaces.importing.space import Adopted
from search_spaces.lowering import has_integer_weights
from search_spaces.operators.quantize import Quantize
from search_spaces.precision.formats import NumberFormat
from search_spaces.precision.scheme import QuantScheme

MAX_BIAS = 2.0**30  # of an int32; the sum over a kernel is added to it
STAND_IN_BIAS = 2.0**20


Scales = Mapping[tuple[str, int, bool], np.float32]
"""Of tensors, by the node that gives them, bits and sign."""


@dataclass(frozen=True)
class Bank:
    """See above.

    Attributes:
        floats: Float32 arrays by `NODE/ROLE`.
        layers: In integers, by bits of the weights and name of the layer.
        scales: Of tensors.
    """

    floats: Mapping[str, NDArray[Any]]
    layers: Mapping[tuple[int, str], Rounded]
    scales: Scales

    def weights(self, graph: Graph) -> dict[str, NDArray[Any]]:
        """Return the weights of a network, as `search_spaces.lower` takes them."""
        arrays: dict[str, NDArray[Any]] = {}
        for node in graph.nodes:
            if isinstance(node, Quantize):
                arrays[f"{node.name}/scale"] = np.asarray(self._scale(graph, node))
            elif has_integer_weights(node):
                arrays |= self.layer(node, arrays[f"{node.inputs[0]}/scale"])
            else:
                roles = (f"{node.name}/{spec.role}" for spec in node.weights() if not spec.folded)
                arrays |= {name: self.floats[name] for name in roles}
        return arrays

    def _scale(self, graph: Graph, quantizer: Quantize) -> np.float32:
        root = graph[quantizer.shares] if quantizer.shares else quantizer
        assert isinstance(root, Quantize)
        return self.scales[root.inputs[0], root.format.bits, root.format.signed]

    def layer(self, node: Node, input_scale: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return integers, scale and bias of a layer; where the bias would leave int32 inputs no longer count."""
        rounded = self.layers[node.precision.weights.bits, node.name]
        step = float(np.float32(input_scale))
        scale = rounded.scale.astype(np.float32).astype(np.float64)
        vanishes = np.abs(rounded.bias) > MAX_BIAS * step * scale
        scale = (
            np.where(vanishes, np.abs(rounded.bias) / (STAND_IN_BIAS * step), scale).astype(np.float32).astype(np.float64)
        )
        integers = np.where(vanishes.reshape(*rounded.integers.shape[:2], 1), 0, rounded.integers)
        return {
            f"{node.name}/weight": integers.reshape(node.spec_of["weight"].shape).astype(np.int8),
            f"{node.name}/weight_scale": scale.astype(np.float32),
            f"{node.name}/bias": np.rint(rounded.bias / (step * scale)).astype(np.int32),
        }

    def to_bytes(self) -> bytes:
        """Return everything but the float32 arrays, which the model holds."""
        arrays: dict[str, NDArray[Any]] = {}
        for (bits, name), rounded in self.layers.items():
            arrays[f"layer|{bits}|{name}|integers"] = rounded.integers.astype(np.int8)
            arrays |= {f"layer|{bits}|{name}|scale": rounded.scale, f"layer|{bits}|{name}|bias": rounded.bias}
        for (name, bits, signed), scale in self.scales.items():
            arrays[f"scale|{bits}|{int(signed)}|{name}"] = np.asarray(scale)
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, floats: Mapping[str, NDArray[Any]]) -> "Bank":
        """Read what `to_bytes` gave.

        Raises:
            DamagedFileError: If it is not whole.
        """
        layers: dict[tuple[int, str], dict[str, Doubles]] = {}
        scales: dict[tuple[str, int, bool], np.float32] = {}
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                for key in file.files:
                    kind, bits, rest = key.split("|", 2)
                    if kind == "scale":
                        signed, _, name = rest.partition("|")
                        scales[name, int(bits), signed == "1"] = np.float32(file[key])
                    else:
                        name, _, part = rest.rpartition("|")
                        layers.setdefault((int(bits), name), {})[part] = file[key].astype(np.float64)
            return cls(floats, {key: Rounded(**parts) for key, parts in layers.items()}, scales)
        except Exception as error:  # NumPy and zip have many kinds
            raise DamagedFileError(f"the bank is damaged ({error})") from error


def observe_values(adopted: Adopted, samples: Arrays, *, seed: int, threads: int = 1) -> dict[str, Values]:
    """Run the float32 network on samples and return what its tensors hold, by the node that gives each.

    Args:
        adopted: The network.
        samples: To calibrate on.
        seed: Draws values.
        threads: That compute it.

    Raises:
        InvalidInputError: If some are no numbers.
    """
    rng = np.random.default_rng(seed)
    nodes = [node for node in adopted.imported.nodes if node.outputs[0].dtype == "float32"]
    values = {node.name: Values(limit=limit_of(node)) for node in nodes}
    for tensors in tensors_of(
        adopted.in_format("float32"), adopted.imported.weights, samples, list(values), threads=threads
    ):
        observe(tensors, values, rng)
    if broken := [name for name, each in values.items() if not np.isfinite(each.greatest - each.least)]:
        raise InvalidInputError(
            f"'{broken[0]}' computes NaN or infinity on the samples: is their range what the model takes?"
        )
    return {name: each for name, each in values.items() if each.kept}


def observe_layers(adopted: Adopted, samples: Arrays, *, seed: int, threads: int = 1) -> dict[str, Layer]:
    """Run the float32 network on samples and return each layer with what it meets; arguments as for `observe_values`."""
    rng = np.random.default_rng(seed)
    layers = [node for node in adopted.imported.nodes if any(spec.quantized for spec in node.weights())]
    per_sample = -(-N_ROWS // len(next(iter(samples.values()))))
    rows: dict[str, list[Floats]] = {node.name: [] for node in layers}
    means: dict[str, list[Doubles]] = {node.name: [] for node in layers}
    taken = list({node.inputs[0] for node in layers})
    for tensors in tensors_of(adopted.in_format("float32"), adopted.imported.weights, samples, taken, threads=threads):
        for node in layers:
            rows[node.name].append(drawn_inputs(node, tensors[node.inputs[0]], per_sample, rng))
            means[node.name].append(mean_input(node, tensors[node.inputs[0]]))
    found = {}
    for node in layers:
        weight, bias = (adopted.imported.weights[f"{node.name}/{role}"] for role in ("weight", "bias"))
        mean, drawn = np.mean(means[node.name], axis=0), np.concatenate(rows[node.name])
        found[node.name] = Layer(node, grouped(node, weight), bias.astype(np.float64), drawn, mean)
    return found


def scales_of(adopted: Adopted, values: Mapping[str, Values], calibrator: str) -> Scales:
    """Return the scale of every tensor, with a sign and without, for all bits of activations that are offered.

    Raises:
        InvalidInputError: If the calibrator is unknown.
    """
    bits = {8, *(p.activations.bits for p in offered(adopted))}
    return {
        (name, n, signed): scale_of(each, NumberFormat(n, signed), calibrator)
        for name, each in values.items()
        for n in bits
        for signed in (True, False)
    }


def offered(adopted: Adopted) -> list[QuantScheme]:
    """Return the integer formats that some group may have."""
    names = dict.fromkeys(str(option) for choice in adopted.space.choices for option in choice.options)
    return [p for p in map(QuantScheme.from_name, names) if p.is_static]


def build_bank(adopted: Adopted, layers: Mapping[str, Layer], scales: Scales, rounding: str) -> Bank:
    """Return the bank of a network, its biases not yet corrected.

    Args:
        adopted: The network.
        layers: Of it, with what they meet.
        scales: Of its tensors.
        rounding: How weights are rounded.

    Raises:
        InvalidInputError: If that is unknown.
    """
    round_layer = ROUNDINGS.get(rounding)
    formats = {p.weights.bits: p.weights for p in offered(adopted)}
    found = {(bits, name): round_layer(layer, f) for bits, f in formats.items() for name, layer in layers.items()}
    return Bank(adopted.imported.weights, found, scales)


def mixed(banks: Mapping[int, Bank]) -> Bank:
    """Return the bank that takes its layers of each width of weights from another one; scales are those of all."""
    first = next(iter(banks.values()))
    layers = {key: layer for bits, bank in banks.items() for key, layer in bank.layers.items() if key[0] == bits}
    return Bank(first.floats, layers, first.scales)


def correct_biases(adopted: Adopted, bank: Bank, layers: Mapping[str, Layer], samples: Arrays, *, threads: int = 1) -> Bank:
    """Return the bank with biases that keep the mean of every layer's outputs, see `repair.bias`.

    Args:
        adopted: The network.
        bank: Of it.
        layers: Of it, with what they meet.
        samples: To calibrate on.
        threads: That compute the float32 network.
    """
    graphs = {p.weights.bits: adopted.in_format(p.name) for p in offered(adopted)}
    arrays = {bits: bank.weights(graph) for bits, graph in graphs.items()}
    in_floats = adopted.in_format("float32")
    found, any_graph = dict(bank.layers), next(iter(graphs.values()))
    for name, nodes in any_graph.blocks.items():
        own = [node.name for node in nodes if node.name in layers]
        if not own:
            continue
        taken = tensors_into(any_graph, nodes)
        inputs = list(tensors_of(in_floats, bank.floats, samples, taken, threads=threads))
        for bits, graph in graphs.items():
            for layer in own:
                shift = shift_of(graph, graph.blocks[name], layers[layer], arrays[bits], inputs)
                found[bits, layer] = shifted(found[bits, layer], shift)
                node = graph[layer]
                arrays[bits] |= Bank(bank.floats, found, bank.scales).layer(node, arrays[bits][f"{node.inputs[0]}/scale"])
    return Bank(bank.floats, found, bank.scales)
