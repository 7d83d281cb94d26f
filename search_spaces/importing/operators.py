"""From operators of ONNX to ours: one function for each kind that has integer forms or fields of its own.

A function gives the node and its weights by role, or None where our operator does not do what this one does; then it
stays as it is, see `Opaque`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.graph.node import Node
from search_spaces.importing.program import Op, Program
from search_spaces.operators.conv import Conv
from search_spaces.operators.elementwise import Add, HardSigmoid, HardSwish, LeakyRelu, Multiply, Relu, Relu6, Sigmoid
from search_spaces.operators.linear import Linear, TokenLinear
from search_spaces.operators.movement import Concat, DepthToSpace
from search_spaces.operators.pool import GlobalAveragePool, MaxPool
from search_spaces.operators.resize import Upsample
from search_spaces.registry import Registry

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Place:
    """Where an operator stands: what is common to all.

    Attributes:
        program: The whole.
        op: The operator.
        name: Of the node.
        inputs: Names of the nodes that it takes.
    """

    program: Program
    op: Op
    name: str
    inputs: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result, without the batch axis."""
        return self.program.shapes[self.op.output][1:]

    @property
    def full(self) -> tuple[int, ...]:
        """Of the result, with all axes."""
        return self.program.shapes[self.op.output]

    def taken(self, i: int = 0) -> tuple[int, ...]:
        """Return the shape of an input with all axes; () of a constant."""
        return self.program.shapes.get(self.op.inputs[i], ())

    def array(self, i: int) -> NDArray[np.float32] | None:
        """Return an input that is a constant."""
        found = self.program.constant(self.op.inputs[i]) if len(self.op.inputs) > i and self.op.inputs[i] else None
        return None if found is None else np.asarray(found, np.float32)

    def setting(self, name: str, default: Any = None) -> Any:
        """Return an attribute; texts as such."""
        value = self.op.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    @property
    def is_image(self) -> bool:
        """True if the result, and all that is taken and no constant, are maps of pixels with a batch axis of 1."""
        tensors = [self.op.output, *(name for name in self.op.inputs if name and name not in self.program.constants)]
        return all(len(s := self.program.shapes.get(t, ())) == 4 and s[0] == 1 for t in tensors)

    def node(self, kind: type[Node], **fields: Any) -> Node:
        """Return a node of this place."""
        return kind(name=self.name, inputs=self.inputs, shape=self.shape, **fields)


Reading = tuple[Node, Arrays]
READERS: Registry[Callable[[Place], Reading | None]] = Registry("reader of an operator")


@READERS.register("Conv")
def conv(place: Place) -> Reading | None:
    """Convolutions of pixels."""
    weight = place.array(1)
    bias = place.array(2)
    if weight is None or not place.is_image or (len(place.op.inputs) > 2 and place.op.inputs[2] and bias is None):
        return None
    kernel = (int(weight.shape[2]), int(weight.shape[3]))
    stride, dilations = (tuple(map(int, place.setting(k, [1, 1]))) for k in ("strides", "dilations"))
    pads = _pads(place, kernel, stride, dilations)
    if len(set(dilations)) > 1 or pads is None:
        return None
    halves = (kernel[0] // 2, kernel[1] // 2) * 2
    is_same = pads == halves and dilations[0] == 1
    fields = {
        "in_channels": place.taken()[1],
        "kernel": kernel[0] if kernel[0] == kernel[1] else kernel,
        "stride": stride[0] if stride[0] == stride[1] else stride,
        "groups": int(place.setting("group", 1)),
        "pads": () if is_same else pads,
        "dilation": dilations[0],
        "batch_norm": False,
    }
    bias = np.zeros(len(weight), np.float32) if bias is None else bias
    return place.node(Conv, **fields), {"weight": weight, "bias": bias}


@READERS.register("Gemm")
@READERS.register("MatMul")
@READERS.register("Linear")
def linear(place: Place) -> Reading | None:
    """Fully connected layers: on rows, or on the last axis of tokens."""
    weight, bias = place.array(1), place.array(2)
    plain = place.setting("alpha", 1.0) == place.setting("beta", 1.0) == 1.0 and not place.setting("transA", 0)
    if weight is None or weight.ndim != 2 or not plain or len(place.full) < 2 or not place.taken():
        return None
    has_bias = len(place.op.inputs) > 2 and bool(place.op.inputs[2])
    if has_bias and (bias is None or bias.size != max(bias.shape[-1:], default=1) or bias.size not in (1, place.full[-1])):
        return None
    weight = weight if place.setting("transB", 0) else np.ascontiguousarray(weight.T)
    n_out, n_in = weight.shape
    bias = np.zeros(n_out, np.float32) if bias is None else np.broadcast_to(bias.reshape(-1), n_out).copy()
    arrays = {"weight": weight, "bias": bias}
    if place.full == (1, n_out) and int(np.prod(place.taken()[1:])) == n_in:
        return place.node(Linear, in_features=n_in), arrays
    batched = place.full[0] == 1 and len(place.full) > 2
    shape = place.full[1:] if batched else place.full
    node = TokenLinear(name=place.name, inputs=place.inputs, shape=shape, in_features=n_in, batched=batched)
    return node, arrays


@READERS.register("Relu")
def relu(place: Place) -> Reading | None:
    """max(x, 0)."""
    return (place.node(Relu), {}) if place.is_image else None


@READERS.register("Clip")
def clip(place: Place) -> Reading | None:
    """Between 0 and 6."""
    low, high = place.array(1), place.array(2)
    is_relu6 = low is not None and high is not None and (float(low), float(high)) == (0.0, Relu6.limit)
    return (place.node(Relu6), {}) if is_relu6 and place.is_image else None


@READERS.register("HardSwish")
def hardswish(place: Place) -> Reading | None:
    """X times hard-sigmoid of x."""
    return (place.node(HardSwish), {}) if place.is_image else None


@READERS.register("HardSigmoid")
def hardsigmoid(place: Place) -> Reading | None:
    """A line between 0 and 1."""
    if not place.is_image or abs(place.setting("beta", 0.5) - 0.5) > 1e-6:
        return None
    return place.node(HardSigmoid, slope=float(place.setting("alpha", 0.2))), {}


@READERS.register("LeakyRelu")
def leaky_relu(place: Place) -> Reading | None:
    """x, or a share of it."""
    return (place.node(LeakyRelu, slope=float(place.setting("alpha", 0.01))), {}) if place.is_image else None


@READERS.register("Sigmoid")
def sigmoid(place: Place) -> Reading | None:
    """Between 0 and 1."""
    return (place.node(Sigmoid), {}) if place.is_image else None


@READERS.register("Add")
def add(place: Place) -> Reading | None:
    """Sums of two maps of one shape."""
    alike = place.is_image and len(place.inputs) == 2 and place.taken(0) == place.taken(1)
    return (place.node(Add), {}) if alike else None


@READERS.register("Mul")
def mul(place: Place) -> Reading | None:
    """Products of two maps of one shape, or with a gate for each channel."""
    if not place.is_image or len(place.inputs) != 2:
        return None
    gates = [i for i in (0, 1) if place.taken(i) == (*place.full[:2], 1, 1)]
    if place.taken(0) == place.taken(1):
        return place.node(Multiply), {}
    if len(gates) != 1:
        return None
    first, second = place.inputs
    inputs = (second, first) if gates == [0] else (first, second)
    return Multiply(name=place.name, inputs=inputs, shape=place.shape), {}


@READERS.register("Concat")
def concat(place: Place) -> Reading | None:
    """Maps behind one another along their channels."""
    rank = len(place.full)
    is_whole = len(place.inputs) == len(place.op.inputs) == len(set(place.inputs))
    return (place.node(Concat), {}) if place.is_image and is_whole and place.setting("axis") % rank == 1 else None


@READERS.register("MaxPool")
def max_pool(place: Place) -> Reading | None:
    """Maximum of rectangles of pixels."""
    size = tuple(map(int, place.setting("kernel_shape")))
    stride = tuple(map(int, place.setting("strides", [1] * len(size))))
    plain = set(place.setting("dilations", [1])) == {1} and not place.setting("ceil_mode", 0) and len(place.op.outputs) == 1
    pads = _pads(place, size, stride, (1, 1)) if place.is_image else None
    if not plain or pads is None:
        return None
    fields = {"size": size[0] if size[0] == size[1] else size, "stride": 0 if stride == size else stride}
    return place.node(MaxPool, **fields, pads=pads if any(pads) else ()), {}


@READERS.register("GlobalAveragePool")
def global_average_pool(place: Place) -> Reading | None:
    """Mean over all pixels."""
    return (place.node(GlobalAveragePool), {}) if place.is_image else None


@READERS.register("DepthToSpace")
def depth_to_space(place: Place) -> Reading | None:
    """Channels moved into pixels."""
    if not place.is_image or place.setting("mode", "DCR") != "CRD":
        return None
    return place.node(DepthToSpace, block=int(place.setting("blocksize"))), {}


@READERS.register("Resize")
def resize(place: Place) -> Reading | None:
    """The nearest pixel, a whole number of times as large."""
    if not place.is_image or place.setting("mode", "nearest") != "nearest":
        return None
    factors = {large / small for large, small in zip(place.full[2:], place.taken()[2:], strict=True)}
    factor = factors.pop()
    # Of a whole factor, all of these take pixel i // factor.
    ways = {("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil")}
    way = (
        place.setting("coordinate_transformation_mode", "half_pixel"),
        place.setting("nearest_mode", "round_prefer_floor"),
    )
    if factors or factor != int(factor) or factor < 2 or way not in ways:
        return None
    return place.node(Upsample, factor=int(factor)), {}


def _pads(
    place: Place, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Return the pads at the top, the left, below and at the right, `auto_pad` resolved."""
    auto = place.setting("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        return tuple(map(int, place.setting("pads", [0] * 4)))
    if auto == "VALID":
        return (0, 0, 0, 0)
    before, after = [], []
    for length, k, s, d in zip(place.taken()[2:], kernel, stride, dilation, strict=True):
        total = max(0, (-(-length // s) - 1) * s + d * (k - 1) + 1 - length)
        small = total // 2 if auto == "SAME_UPPER" else total - total // 2
        before.append(small)
        after.append(total - small)
    return (*before, *after)
