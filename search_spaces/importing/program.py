"""Program: a trained network as it was read, before it is a graph of ours: ONNX operators, constants, shapes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(eq=False)
class Op:
    """An operator of ONNX.

    Attributes:
        kind: Its ONNX name.
        name: Of the operator in the file.
        inputs: Tensors that it takes, empty where an optional one is left out.
        outputs: Tensors that it gives.
        attributes: By name.
        scope: Path of the module that it belongs to, with dots, as `_blocks.0.conv`; empty where the file names none.
    """

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    scope: str = ""

    @property
    def output(self) -> str:
        """The first tensor that it gives."""
        return self.outputs[0]


@dataclass
class Program:
    """Operators in an order in which they can be computed.

    Attributes:
        ops: The operators.
        constants: By name of the tensor.
        shapes: Of every tensor that is no constant, with the batch axis.
        dtypes: NumPy's names of their types.
        inputs: What the network takes.
        outputs: What it gives.
        opset: Version of ONNX that the operators are of.
    """

    ops: list[Op]
    constants: dict[str, NDArray[Any]]
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    inputs: list[str]
    outputs: list[str]
    opset: int

    def producer(self, tensor: str) -> Op | None:
        """Return the operator that gives a tensor."""
        return self._producers.get(tensor)

    def consumers(self, tensor: str) -> list[Op]:
        """Return the operators that take a tensor."""
        return self._consumers.get(tensor, [])

    def only_consumer(self, tensor: str) -> Op | None:
        """Return the operator that takes a tensor, if there is one alone and the network does not give it."""
        taken = self.consumers(tensor)
        return taken[0] if len(taken) == 1 and tensor not in self.outputs else None

    def constant(self, tensor: str) -> NDArray[Any] | None:
        """Return a constant, None if the tensor is none."""
        return self.constants.get(tensor)

    def index(self) -> None:
        """Look anew who gives and who takes what, after operators were changed."""
        self._producers = {tensor: op for op in self.ops for tensor in op.outputs if tensor}
        self._consumers: dict[str, list[Op]] = {}
        for op in self.ops:
            for tensor in dict.fromkeys(op.inputs):
                self._consumers.setdefault(tensor, []).append(op)

    def __post_init__(self) -> None:
        self.index()

    def rename(self, old: str, new: str) -> None:
        """Let everything that takes a tensor take another one."""
        for op in self.ops:
            op.inputs = [new if tensor == old else tensor for tensor in op.inputs]

    def prune(self) -> None:
        """Drop operators whose results nobody takes, and constants likewise; index anew."""
        needed, kept = set(self.outputs), []
        for op in reversed(self.ops):
            if needed & set(op.outputs):
                kept.append(op)
                needed |= set(op.inputs)
        self.ops = kept[::-1]
        self.constants = {name: value for name, value in self.constants.items() if name in needed}
        self.index()

    def new_constant(self, name: str, value: NDArray[Any]) -> str:
        """Enter a constant under a name that is free, and return that."""
        while name in self.constants:
            name += "'"
        self.constants[name] = np.asarray(value)
        return name
