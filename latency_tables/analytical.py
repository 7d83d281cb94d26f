"""Modelled accelerators: what a network would take on a device that nobody has at hand. Never called measured.

A roofline for each layer: the greater of the time to compute and the time to move its bytes. Weights come from outside once
for each sample; activations leave the chip only where a layer's input and output do not fit its buffer together. Latency and
energy are sums over layers, so they are exact tables over genomes.

Source: Williams et al. 2009 (CACM 52:65) for the roofline; Sharma et al. 2018, arXiv:1712.01507, section 3, for products
composed of 2-bit ones: operands of 2, 4 and 8 bits, so that an 8x8-bit product takes 16 of them. Differs: every layer keeps
all units busy, so that what comes out is a lower bound of latency.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from search_spaces.costs import FactorTable, formats_of_inputs, incoming_costs, macs
from search_spaces.errors import HwnasError, InvalidInputError
from search_spaces.graph.graph import Graph, consumers
from search_spaces.graph.node import Node, n_elements
from search_spaces.operators.ends import Output
from search_spaces.operators.quantize import Quantize
from search_spaces.precision.formats import FLOAT32, NumberFormat
from search_spaces.precision.placement import place_quantizers
from search_spaces.precision.scheme import QuantScheme
from search_spaces.space.baselines import formats
from search_spaces.space.space import SearchSpace


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """Parameters of an accelerator's cost model.

    Attributes:
        name: Shown wherever its numbers are.
        source: Where the parameters come from.
        clock_mhz: Cycles a microsecond.
        products_per_cycle: Products of 2-bit operands a cycle; wider operands take as many as they have pairs of 2 bits.
        float_macs_per_cycle: Multiply-accumulates in float32 a cycle; 0: there is no kernel for float32.
        bandwidth_gb_s: Bytes a nanosecond from outside.
        buffer_bytes: Activations that fit on the chip.
        pj_per_product: Energy of one product of 2-bit operands with its share of the sum, picojoules.
        pj_per_float_mac: Energy of one in float32.
        pj_per_byte: Energy of a byte from outside.

    Raises:
        InvalidInputError: If a number is negative or one that must be above 0 is not.
    """

    name: str
    source: str
    clock_mhz: float
    products_per_cycle: float
    float_macs_per_cycle: float = 0.0
    bandwidth_gb_s: float
    buffer_bytes: float
    pj_per_product: float
    pj_per_float_mac: float = 0.0
    pj_per_byte: float

    def __post_init__(self) -> None:
        for name in ("clock_mhz", "products_per_cycle", "bandwidth_gb_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise InvalidInputError(f"{name} of accelerator '{self.name}' must be above 0, got {getattr(self, name)}")
        for name in ("float_macs_per_cycle", "buffer_bytes", "pj_per_product", "pj_per_float_mac", "pj_per_byte"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidInputError(f"{name} of accelerator '{self.name}' must be 0 or more, got {getattr(self, name)}")

    @classmethod
    def from_yaml(cls, path: Path) -> "Accelerator":
        """Read a YAML file with the attributes as keys.

        Raises:
            InvalidInputError: If the file cannot be read, lacks a key, or holds an unknown or a wrong one.
        """
        try:
            content: Any = yaml.safe_load(path.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InvalidInputError(f"cannot read the accelerator '{path}': {' '.join(str(error).split())}") from error
        return cls.from_dict(content, str(path))

    @classmethod
    def from_dict(cls, content: Any, origin: str) -> "Accelerator":
        """Check plain values and build the accelerator.

        Args:
            content: The attributes by name.
            origin: Where they come from, for messages.

        Raises:
            InvalidInputError: If a key is missing, unknown or wrong.
        """
        known = [field.name for field in fields(cls)]
        if not isinstance(content, dict) or set(content) - set(known):
            raise InvalidInputError(f"'{origin}' must hold keys among {known}, got {content!r:.200}")
        try:
            numbers = {key: float(value) for key, value in content.items() if key not in ("name", "source")}
            return cls(name=str(content["name"]), source=str(content["source"]), **numbers)
        except KeyError as error:
            raise InvalidInputError(f"'{origin}' does not describe an accelerator: {error} is missing") from error
        except (TypeError, ValueError) as error:
            if isinstance(error, HwnasError):
                raise
            raise InvalidInputError(f"'{origin}' does not describe an accelerator: {error}") from error

    def supports(self, precision: QuantScheme) -> bool:
        """Return whether it has kernels for a block's format."""
        return precision.is_static or (precision.is_float32 and self.float_macs_per_cycle > 0)

    def costs(self, nodes: Sequence[Node], sources: Sequence[NumberFormat] = ()) -> dict[str, float]:
        """Return `estimated_ms` and `estimated_mj` of a network or of a block.

        Args:
            nodes: With quantizers.
            sources: Formats in which the inputs of a block arrive; none: as they are.

        Raises:
            InvalidInputError: If there is no kernel for a layer's format.
        """
        by_name = {node.name: node for node in nodes}
        arriving = formats_of_inputs(nodes, sources)
        consumers_of = consumers(nodes)
        nanoseconds = picojoules = 0.0
        for node in nodes:
            if not node.macs():
                continue
            given = [by_name[name] for name in node.inputs]
            operands = [_stored_format(tensor, arriving) for tensor in given]
            stored = sum(n_elements(tensor) * held.bits / 8 for tensor, held in zip(given, operands, strict=True))
            stored += n_elements(node) * _leaving_format(node, consumers_of).bits / 8
            moved = 0.0
            for spec in (spec for spec in node.weights() if spec.quantized):
                operands.append(node.precision.weights)
                moved += math.ceil(math.prod(spec.shape) * node.precision.weights.bits / 8)
            compute_ns, compute_pj = self._compute(node, operands)
            moved += stored if stored > self.buffer_bytes else 0
            nanoseconds += max(compute_ns, moved / self.bandwidth_gb_s)
            picojoules += compute_pj + moved * self.pj_per_byte
        return {"estimated_ms": nanoseconds / 1e6, "estimated_mj": picojoules / 1e9}

    def graph_costs(self, graph: Graph) -> dict[str, float]:
        """Return `estimated_ms` and `estimated_mj` of a whole network."""
        return self.costs(graph.nodes)

    def tables(self, space: SearchSpace) -> Mapping[str, FactorTable]:
        """Return `estimated_ms` and `estimated_mj` as tables over the genomes of a space.

        Raises:
            InvalidInputError: If there is no kernel for one of the space's formats; says to which to narrow the space.
        """
        offered = formats(space)
        usable = [name for name in offered if self.supports(QuantScheme.from_name(name))]
        if usable != offered:
            raise InvalidInputError(
                f"accelerator '{self.name}' has no kernel for {sorted(set(offered) - set(usable))}; "
                f"narrow the space with `formats: [{', '.join(usable)}]`"
            )
        found = {}
        for name in ("estimated_ms", "estimated_mj"):
            factors = incoming_costs(space, lambda s, b, name=name: self.costs(place_quantizers(b, s), s)[name])  # type: ignore[misc]
            found[name] = FactorTable(factors)
        return found

    def _compute(self, node: Node, operands: Sequence[NumberFormat]) -> tuple[float, float]:
        """Return nanoseconds and picojoules to compute a layer from two operands."""
        cycles_per_ns = self.clock_mhz / 1e3
        n_macs = macs([node])
        if not self.supports(node.precision):
            name = node.precision.name
            raise InvalidInputError(f"accelerator '{self.name}' has no kernel for {name}, which '{node.name}' computes in")
        if node.precision.is_float32:
            return n_macs / self.float_macs_per_cycle / cycles_per_ns, n_macs * self.pj_per_float_mac
        products = n_macs * math.prod(_pairs(operand.bits) for operand in operands)
        return products / self.products_per_cycle / cycles_per_ns, products * self.pj_per_product


def _pairs(bits: int) -> int:
    """Return how many 2-bit operands make one of so many bits, rounded up to 2, 4 or 8 bits."""
    return {1: 1, 2: 2, 3: 4, 4: 4}[math.ceil(bits / 2)]


def _stored_format(node: Node, arriving: Mapping[str, NumberFormat]) -> NumberFormat:
    """Return the format in which a layer finds its input."""
    if isinstance(node, Quantize):
        return node.format
    if not node.inputs:
        return arriving.get(node.name, FLOAT32)
    return FLOAT32 if node.precision.is_float32 else node.precision.border


def _leaving_format(node: Node, consumers_of: Mapping[str, Sequence[Node]]) -> NumberFormat:
    """Return the format in which a layer's result is written: that of the quantizer behind it."""
    if node.precision.is_float32 or any(isinstance(consumer, Output) for consumer in consumers_of[node.name]):
        return FLOAT32
    for consumer in consumers_of[node.name]:
        if isinstance(consumer, Quantize):
            return consumer.format
        return _leaving_format(consumer, consumers_of)
    return node.precision.border
