"""Node: one operator of a network. It declares everything that others need to know of it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from search_spaces.graph.tensor import TensorSpec
from search_spaces.precision.scheme import FLOAT, QuantScheme
from search_spaces.registry import Registry

if TYPE_CHECKING:
    from search_spaces.lowering import Writer

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
Weights = Mapping[str, NDArray[Any]]
"""Arrays of a network by `NODE/ROLE`; see `search_spaces.lower`."""


@dataclass(frozen=True)
class WeightSpec:
    """A tensor that belongs to an operator; it is called `NODE/ROLE`.

    Attributes:
        role: `weight` and perhaps `bias`, which the supernet trains, slices, folds and exports; `gamma` of a batch norm
            behind them; or, with `given`, a role of the operator's own.
        shape: Of this network; the supernet holds the largest and slices it.
        axes: What each axis runs over: of `out` and `in` a slice takes the first, of `kernel` the centre.
        quantized: True if it is held in the weight format of its block, with a scale for each index of its first axis or one
            in all; otherwise it has 4 bytes an element.
        init: `normal`, with the deviation of He et al. 2015; `zeros`; `ones`; or `given`, which is not trained nor counted.
        folded: True if it is trained and then folded into the others, so that a deployed network has it no more.
        shared_with: Name of the operator whose tensor it is, too; tied tensors count once.
    """

    role: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    quantized: bool = False
    init: str = "zeros"
    folded: bool = False
    shared_with: str = ""

    @property
    def is_counted(self) -> bool:
        """True if it is part of a deployed network's size."""
        return not (self.folded or self.shared_with or self.init == "given")


@dataclass(frozen=True)
class Quantized:
    """A tensor in integers.

    Attributes:
        integers: Around zero, int64.
        scale: What one of them is worth.
        zero_point: What stands for zero in the uint8 container.
    """

    integers: NDArray[np.int64]
    scale: np.float32
    zero_point: int


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operator and the tensor that it gives.

    A new operator is a subclass in `search_spaces/operators`, registered by `operator`, and its torch reading; see
    docs/extending.md. Fields of its own enter the signature as `NAME=VALUE` where they are not at their default, so that a
    new field changes no signature that is in use; `labelled` and `untimed` are the exceptions.

    Attributes:
        name: Unique within the network, levels separated by `/`; names its output tensor and its weights.
        inputs: Names of the nodes whose tensors it takes.
        shape: Shape of its output without the batch axis.
        precision: What the block it belongs to computes in.
    """

    name: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    precision: QuantScheme = FLOAT

    op: ClassVar[str]
    """Its name in signatures and files, set by `operator`."""
    is_fused: ClassVar[bool] = False
    """True for max(x, 0), which is computed with the operator before; integers from 0 up do the same."""
    takes_raw: ClassVar[bool] = False
    """True if its input is taken as it comes: no quantizer stands before it."""
    gives_raw: ClassVar[bool] = False
    """True if no quantizer stands behind it."""
    takes_8_bits: ClassVar[bool] = False
    """True if its inputs have 8 bits and are symmetric, whatever the block's activations have."""
    gives_8_bits: ClassVar[bool] = False
    """The same of its result."""
    has_integer_kernel: ClassVar[bool] = False
    """True if runtimes compute it on integers; otherwise in float32, between DequantizeLinear and QuantizeLinear."""
    may_tie: ClassVar[bool] = False
    """True if its integer result may go either way where it lies halfway between two integers."""
    moves_data: ClassVar[bool] = False
    """True if it computes nothing: the values of its result are those of its input."""

    takes_groups: ClassVar[bool] = False
    """True if it has kernels for weights in groups, where it has weights that are quantized."""
    takes_packed: ClassVar[bool] = False
    """True if what it takes may lie in one tensor, one part behind the other along the last axis."""
    stays_float: ClassVar[bool] = False
    """True if it computes in float32 in every format, so that nothing is rounded for its sake."""

    refers: ClassVar[tuple[str, ...]] = ()
    """Its fields, besides the inputs, that hold the name of another operator."""

    def renamed(self, prefix: str) -> Self:
        """Return it with a prefix before its own name and before all names that it holds."""
        others = {field: prefix + getattr(self, field) for field in self.refers if getattr(self, field)}
        return replace(self, name=prefix + self.name, inputs=tuple(prefix + name for name in self.inputs), **others)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The tensors that it gives."""
        return (TensorSpec(self.name, self.shape),)

    @property
    def states(self) -> tuple[TensorSpec, ...]:
        """The tensors that it keeps between two calls: a model takes each, and gives it as `NAME/present`."""
        return ()

    @property
    def inner(self) -> "tuple[Node, ...]":
        """Quantizers of tensors within it; it declares their scales among its own tensors, as `PART/scale`."""
        return ()

    def weights(self) -> tuple[WeightSpec, ...]:
        """Return its tensors, deployed ones first."""
        return ()

    @cached_property
    def spec_of(self) -> Mapping[str, WeightSpec]:
        """Its tensors by role."""
        return {spec.role: spec for spec in self.weights()}

    def macs(self) -> float:
        """Return the multiply-accumulate operations for one sample."""
        return 0.0

    @property
    def held_bytes(self) -> int:
        """Bytes of numbers that it holds besides the tensors that it declares."""
        return 0

    def nonnegative(self, inputs: Sequence[bool]) -> bool:
        """Return True if its result cannot be negative, given for each input whether it cannot."""
        return self.moves_data and all(inputs)

    def timed_words(self) -> list[str]:
        """Return what decides how long it takes, beside operator, shape and inputs."""
        own = [f for f in fields(self) if f.name not in COMMON]
        labelled = [f"{f.metadata['label']}{getattr(self, f.name)}" for f in own if "label" in f.metadata]
        others = [f for f in own if "label" not in f.metadata and f.metadata.get("timed", True)]
        words = [" ".join(labelled)] if labelled else []
        words += [f"{f.name}={getattr(self, f.name)}" for f in others if getattr(self, f.name) != default_of(f)]
        if any(spec.quantized for spec in self.weights()):
            if self.precision.is_grouped:  # kernels of their own for each number of bits and length of a group
                return [*words, self.precision.name]
            words.append(self.precision.weights.name if not self.precision.is_static else "int8")
            words += [] if self.precision.per_channel else ["tensor"]
        return words

    # ------------------------------------------------------------------ readings

    def emit(self, writer: "Writer") -> None:
        """Write its ONNX operators; the last one gives the tensor called as the node is."""
        raise TypeError(f"no lowering for {type(self).__name__}")

    def compute(self, inputs: Sequence[Doubles], weights: Weights) -> Doubles:
        """Return its result in float64, from its definition; the first axis is the batch's."""
        raise TypeError(f"no reference for {type(self).__name__}")

    def magnitude(self, inputs: Sequence[Doubles], weights: Weights, result: Doubles) -> Doubles:
        """Return, element by element, the size of what float32 rounds on the way to the result, which `compute` gave.

        Of sums that is the root of the sum of the squares of what is added up, or the result if that is more.
        """
        return np.abs(result)

    def compute_integers(self, inputs: Sequence[Quantized], output: Quantized | None, weights: Weights) -> Floats:
        """Return its result on integers before it is rounded: sums are exact, one float32 multiplication follows.

        Args:
            inputs: What it takes.
            output: Scale and zero point of what it gives, in whose integers the result is told; None: as real numbers.
            weights: Of the network, integers as such.
        """
        raise TypeError(f"no integer reference for {type(self).__name__}")

    @classmethod
    def examples(cls) -> "tuple[tuple[Node, ...], ...]":
        """Return small blocks, inputs first and this operator last, on which the readings are held against each other."""
        return ()


COMMON = {f.name for f in fields(Node)}
AnyNode = TypeVar("AnyNode", bound=type[Node])
OPERATORS: Registry[type[Node]] = Registry("operator")


def operator(name: str) -> Callable[[AnyNode], AnyNode]:
    """Return a decorator that registers an operator and gives it its name."""

    def enter(kind: AnyNode) -> AnyNode:
        kind.op = name
        OPERATORS.register(name)(kind)
        return kind

    return enter


def untimed(default: Any = MISSING) -> Any:
    """Return a field that does not decide how long the operator takes, or that its other fields and inputs imply."""
    return field(metadata={"timed": False}) if default is MISSING else field(default=default, metadata={"timed": False})


def labelled(label: str, default: Any = MISSING) -> Any:
    """Return a field that always stands in the signature, as `LABELvalue`."""
    return field(metadata={"label": label}) if default is MISSING else field(default=default, metadata={"label": label})


def default_of(own: Field[Any]) -> Any:
    """Return the default of a field, MISSING where it has none."""
    return own.default_factory() if own.default_factory is not MISSING else own.default


def n_elements(node: Node) -> int:
    """Return the number of elements of the node's output for one sample."""
    return math.prod(node.shape)


def scale_ratio(inputs: Sequence[Quantized], output: Quantized | None) -> np.float32:
    """Return the product of the scales of the inputs over that of the output, in float32."""
    product = np.float32(1)
    for tensor in inputs:
        product = product * np.float32(tensor.scale)
    return np.float32(product / (np.float32(output.scale) if output else np.float32(1)))
