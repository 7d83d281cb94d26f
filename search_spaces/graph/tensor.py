"""TensorSpec: name, shape and type of a tensor of a network."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TensorSpec:
    """A tensor that an operator gives.

    Attributes:
        name: Unique within the network.
        shape: Without the batch axis.
        dtype: NumPy's name of the type of its elements.
        batched: False if it has no batch axis, and `shape` is all there is.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    batched: bool = True
