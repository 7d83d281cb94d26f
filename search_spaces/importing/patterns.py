"""Patterns: what exporters write in several operators, rewritten as one that we have. Each can be left out by its name.

A pattern is a function of a program that rewrites it in place and returns how often it matched.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.importing.program import Op, Program
from search_spaces.registry import Registry

Pattern = Callable[[Program], int]
PATTERNS: Registry[Pattern] = Registry("pattern")
LAYERS = ("Conv", "ConvTranspose")
MATRICES = ("MatMul", "Gemm")
NEAR = 1e-6


def rewrite(program: Program, left_out: Collection[str] = ()) -> Mapping[str, int]:
    """Apply every pattern in the order in which they stand here.

    Returns:
        How often each matched, those that did.
    """
    found = {}
    for name in PATTERNS.names:
        if name not in left_out and (n := PATTERNS.get(name)(program)):
            found[name] = n
            program.prune()
    return found


@PATTERNS.register("one_dimension")
def one_dimension(program: Program) -> int:
    """A convolution of signals, and a ReLU behind it, works on maps of height 1."""
    n = 0
    for op in _of(program, ("Conv",)):
        weight = program.constant(op.inputs[1])
        shape = program.shapes.get(op.inputs[0], ())
        if weight is None or weight.ndim != 3 or len(shape) != 3 or shape[0] != 1 or _is_auto(op):
            continue
        relu = program.only_consumer(op.output)
        last = relu if relu is not None and relu.kind == "Relu" else op
        wide, narrow = f"{op.inputs[0]}/wide/{op.name}", last.output
        axis = program.new_constant(f"{op.name}/axis", np.array([2]))
        axis_of_batch = {"strides": 1, "dilations": 1}
        settings = {key: [one, *op.attributes[key]] for key, one in axis_of_batch.items() if key in op.attributes}
        first, last_pad = op.attributes.get("pads", [0, 0])
        kernel = program.new_constant(f"{op.inputs[1]}/wide", weight[:, :, None])
        inner = Op("Conv", op.name, [wide, kernel, *op.inputs[2:]], [f"{op.output}/wide"], {}, op.scope)
        inner.attributes = {"group": op.attributes.get("group", 1), **settings, "pads": [0, first, 0, last_pad]}
        added = [Op("Unsqueeze", f"{op.name}/unsqueeze", [op.inputs[0], axis], [wide], {}, op.scope), inner]
        if last is not op:
            added.append(Op("Relu", last.name, [inner.output], [f"{last.output}/wide"], {}, last.scope))
        added.append(Op("Squeeze", f"{op.name}/squeeze", [added[-1].output, axis], [narrow], {}, op.scope))
        program.shapes[wide], program.dtypes[wide] = (*shape[:2], 1, shape[2]), "float32"
        for each in added[1:-1]:
            given = program.shapes[op.output]
            program.shapes[each.output], program.dtypes[each.output] = (*given[:2], 1, given[2]), "float32"
        if last is not op:
            program.ops.remove(last)
        at = program.ops.index(op)
        program.ops[at : at + 1] = added
        program.index()
        n += 1
    for op in _of(program, ("Unsqueeze",)):  # of what was squeezed just before
        before = program.producer(op.inputs[0])
        if before is not None and before.kind == "Squeeze" and program.shapes[before.inputs[0]] == program.shapes[op.output]:
            program.rename(op.output, before.inputs[0])
            program.index()
    return n


@PATTERNS.register("padding")
def padding(program: Program) -> int:
    """Zeros around pixels before a convolution become its own: TensorFlow's `same`."""
    n = 0
    for op in _of(program, ("Conv",)):
        pad = program.producer(op.inputs[0])
        if pad is None or pad.kind != "Pad" or program.only_consumer(pad.output) is not op:
            continue
        amounts = program.constant(pad.inputs[1])
        value = program.constant(pad.inputs[2]) if len(pad.inputs) > 2 and pad.inputs[2] else np.zeros(())
        is_constant = _text(pad.attributes.get("mode", "constant")) == "constant"
        rank = len(program.shapes[op.inputs[0]])
        has_axes = len(pad.inputs) > 3 and pad.inputs[3]
        if not is_constant or amounts is None or value is None or value.any() or has_axes or len(amounts) != 2 * rank:
            continue
        before, after = amounts[:rank], amounts[rank:]
        if before[:2].any() or after[:2].any() or min(amounts) < 0 or _is_auto(op):
            continue
        own = op.attributes.get("pads", [0] * (2 * (rank - 2)))
        added = [*before[2:], *after[2:]]
        op.attributes["pads"] = [int(a) + int(b) for a, b in zip(own, added, strict=True)]
        op.inputs[0] = pad.inputs[0]
        n += 1
    return n


@PATTERNS.register("batch_norm")
def batch_norm(program: Program) -> int:
    """A batch norm behind a convolution is folded into it, with its own epsilon."""
    n = 0
    for op in _of(program, ("BatchNormalization",)):
        layer = program.producer(op.inputs[0])
        tensors = [program.constant(name) for name in op.inputs[1:5]]
        if layer is None or not _is_layer(program, layer) or any(t is None for t in tensors):
            continue
        if layer.kind not in LAYERS and len(program.shapes[layer.output]) != 2:  # its channels are not the last axis
            continue
        gamma, beta, mean, var = (np.asarray(t, np.float64) for t in tensors if t is not None)
        slope = gamma / np.sqrt(var + op.attributes.get("epsilon", 1e-5))
        _fold(program, layer, op, slope, beta - mean * slope)
        n += 1
    return n


@PATTERNS.register("line")
def line(program: Program) -> int:
    """Products and sums with a number for each channel behind a layer are folded into it, such as biases."""
    n = 0
    while True:
        found = next(filter(None, (_line(program, op) for op in _of(program, ("Add", "Sub", "Mul", "Div")))), None)
        if found is None:
            return n
        _fold(program, *found)
        program.prune()
        n += 1


@PATTERNS.register("hard_swish")
def hard_swish(program: Program) -> int:
    """X times Clip(x + 3, 0, 6) over 6, in whatever order."""
    n = 0
    for clip in _of(program, ("Clip",)):
        if _bounds(program, clip) != (0.0, 6.0):
            continue
        shifted = program.producer(clip.inputs[0])
        if shifted is None or shifted.kind != "Add" or program.only_consumer(clip.inputs[0]) is not clip:
            continue
        x = _other_than(program, shifted, 3.0)
        last = program.only_consumer(clip.output)
        if x is None or last is None:
            continue
        kinds: set[str] = set()
        while last is not None and len(kinds) < 2:  # a product with x, and a division by 6: in either order
            if last.kind == "Mul" and x in last.inputs and "x" not in kinds:
                kinds.add("x")
            elif _other_than(program, last, 6.0 if last.kind == "Div" else 1 / 6) and "6" not in kinds:
                kinds.add("6")
            else:
                break
            if len(kinds) < 2:
                last = program.only_consumer(last.output)
        if len(kinds) == 2 and last is not None:
            last.kind, last.inputs, last.attributes = "HardSwish", [x], {}
            program.prune()
            n += 1
    return n


@PATTERNS.register("global_pool")
def global_pool(program: Program) -> int:
    """A mean over all pixels, however it is written."""
    n = 0
    for op in _of(program, ("ReduceMean", "AveragePool")):
        shape = program.shapes.get(op.inputs[0], ())
        if len(shape) != 4:
            continue
        keeps = op.kind == "AveragePool" or op.attributes.get("keepdims", 1)
        if op.kind == "AveragePool":
            is_global = tuple(op.attributes["kernel_shape"]) == shape[2:] and not any(op.attributes.get("pads", []))
        else:
            axes = program.constant(op.inputs[1]) if len(op.inputs) > 1 else op.attributes.get("axes")
            is_global = axes is not None and sorted(int(axis) % 4 for axis in axes) == [2, 3]
        if not is_global:
            continue
        pooled = f"{op.output}/pooled" if not keeps else op.output
        pool = Op("GlobalAveragePool", op.name, [op.inputs[0]], [pooled], {}, op.scope)
        added = [pool]
        if not keeps:
            program.shapes[pooled], program.dtypes[pooled] = (*shape[:2], 1, 1), "float32"
            added.append(Op("Flatten", f"{op.name}/flatten", [pooled], [op.output], {"axis": 1}, op.scope))
        at = program.ops.index(op)
        program.ops[at : at + 1] = added
        program.index()
        n += 1
    return n


@PATTERNS.register("flatten")
def flatten(program: Program) -> int:
    """What only turns a sample into a row, before fully connected layers, is left out: they take any shape."""
    n = 0
    for op in _of(program, ("Reshape", "Flatten", "Squeeze")):
        taken, given = (program.shapes.get(tensor, ()) for tensor in (op.inputs[0], op.output))
        rows = program.consumers(op.output)
        if op.output in program.outputs or not rows or len(given) != 2 or len(taken) < 3:
            continue
        if taken[0] == given[0] == 1 and all(_is_dense(program, each) for each in rows):
            program.rename(op.output, op.inputs[0])
            n += 1
    return n


@PATTERNS.register("transposed")
def transposed(program: Program) -> int:
    """A transposed convolution whose kernel is its step: a convolution of single pixels whose channels become pixels."""
    n = 0
    for op in _of(program, ("ConvTranspose",)):
        weight = program.constant(op.inputs[1])
        settings = op.attributes
        kernel = tuple(weight.shape[2:]) if weight is not None else ()
        plain = (
            not any(settings.get("pads", []))
            and not any(settings.get("output_padding", []))
            and "output_shape" not in settings
        )
        one = settings.get("group", 1) == 1 and set(settings.get("dilations", [1])) == {1}
        if weight is None or len(set(kernel)) != 1 or len(kernel) != 2 or not (plain and one and not _is_auto(op)):
            continue
        if tuple(settings.get("strides", [1, 1])) != kernel:
            continue
        (n_in, n_out), block = weight.shape[:2], kernel[0]
        deep = weight.transpose(1, 2, 3, 0).reshape(n_out * block**2, n_in, 1, 1)
        inputs = [op.inputs[0], program.new_constant(f"{op.inputs[1]}/deep", np.ascontiguousarray(deep))]
        bias = program.constant(op.inputs[2]) if len(op.inputs) > 2 else None
        if bias is not None:
            inputs.append(program.new_constant(f"{op.inputs[2]}/deep", np.repeat(bias, block**2)))
        middle = f"{op.output}/deep"
        size = program.shapes[op.inputs[0]][2:]
        program.shapes[middle], program.dtypes[middle] = (1, n_out * block**2, *size), "float32"
        conv = Op("Conv", op.name, inputs, [middle], {"kernel_shape": [1, 1]}, op.scope)
        shuffle = Op(
            "DepthToSpace", f"{op.name}/shuffle", [middle], [op.output], {"blocksize": block, "mode": b"CRD"}, op.scope
        )
        at = program.ops.index(op)
        program.ops[at : at + 1] = [conv, shuffle]
        program.index()
        n += 1
    return n


def _of(program: Program, kinds: Collection[str]) -> list[Op]:
    return [op for op in program.ops if op.kind in kinds]


def _is_auto(op: Op) -> bool:
    """Return True if an operator chooses its padding itself."""
    return _text(op.attributes.get("auto_pad", "NOTSET")) not in ("NOTSET", "")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _bounds(program: Program, clip: Op) -> tuple[float, float]:
    ends = [program.constant(name) for name in clip.inputs[1:3] if name]
    return (float(ends[0]), float(ends[1])) if len(ends) == 2 and all(e is not None for e in ends) else (np.nan, np.nan)  # type: ignore[arg-type]


def _other_than(program: Program, op: Op, value: float) -> str | None:
    """Return the other tensor that an operator takes beside a constant of this value; None if it takes no such one."""
    if len(op.inputs) != 2 or op.kind not in ("Add", "Mul", "Div"):
        return None
    places = (1,) if op.kind == "Div" else (1, 0)
    for i in places:
        constant = program.constant(op.inputs[i])
        if constant is not None and constant.size == 1 and abs(float(constant.reshape(-1)[0]) - value) < NEAR:
            return op.inputs[1 - i]
    return None


def _is_layer(program: Program, op: Op) -> bool:
    """Return True if an operator is a layer with fixed weights of its own that one other operator takes."""
    if program.only_consumer(op.output) is None or op.kind not in (*LAYERS, *MATRICES) or not _is_own(program, op):
        return False
    is_matrix = program.constants[op.inputs[1]].ndim == 2 and len(program.shapes.get(op.output, ())) > 1
    return op.kind in LAYERS or _is_dense(program, op) or (op.kind == "MatMul" and is_matrix)


def _is_own(program: Program, op: Op) -> bool:
    """Return True if all but the first tensor that an operator takes are constants."""
    return all(name in program.constants for name in op.inputs[1:] if name)


def _is_dense(program: Program, op: Op) -> bool:
    """Return True if an operator is a fully connected layer on rows with fixed weights."""
    if op.kind not in MATRICES or op.inputs[0] in program.constants or not _is_own(program, op):
        return False
    plain = op.attributes.get("alpha", 1.0) == op.attributes.get("beta", 1.0) == 1.0 and not op.attributes.get("transA", 0)
    return plain and program.constants[op.inputs[1]].ndim == 2 and len(program.shapes.get(op.output, ())) == 2


def _line(program: Program, op: Op) -> tuple[Op, Op, NDArray[Any], NDArray[Any]] | None:
    """Return a layer, the operator behind it, and slope and intercept of each channel; None if it is no line."""
    for i, tensor in enumerate(op.inputs):
        layer, constant = program.producer(tensor), program.constant(op.inputs[1 - i])
        if layer is None or constant is None or not _is_layer(program, layer) or (i == 1 and op.kind == "Div"):
            continue
        axis = 1 if layer.kind in LAYERS else -1
        shape = program.shapes[layer.output]
        wide = np.asarray(constant, np.float64).reshape((1,) * (len(shape) - constant.ndim) + constant.shape)
        if program.shapes.get(op.output) != shape or wide.ndim > len(shape) or wide.size != wide.shape[axis]:
            continue
        values = np.broadcast_to(wide.reshape(-1), shape[axis])
        ones, zeros = np.ones(shape[axis]), np.zeros(shape[axis])
        if op.kind in ("Mul", "Div"):
            return layer, op, values if op.kind == "Mul" else 1 / values, zeros
        if op.kind == "Add":
            return layer, op, ones, values
        return (layer, op, ones, -values) if i == 0 else (layer, op, -ones, values)
    return None


def _fold(program: Program, layer: Op, behind: Op, slope: NDArray[Any], intercept: NDArray[Any]) -> None:
    """Fold a line for each channel into a layer, which then gives what the operator behind it gave."""
    weight = np.asarray(program.constants[layer.inputs[1]], np.float64)
    before = program.constant(layer.inputs[2]) if len(layer.inputs) > 2 and layer.inputs[2] else None
    bias = slope * (0.0 if before is None else np.asarray(before, np.float64)) + intercept
    rows_first = layer.kind == "Conv" or (layer.kind == "Gemm" and layer.attributes.get("transB", 0))
    if rows_first:
        weight = weight * slope.reshape(-1, *[1] * (weight.ndim - 1))
    elif layer.kind == "ConvTranspose":
        groups = layer.attributes.get("group", 1)
        by_group = weight.reshape(groups, -1, *weight.shape[1:]) * slope.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
        weight = by_group.reshape(weight.shape)
    else:
        weight = weight * slope
    names = [program.new_constant(layer.inputs[1], weight.astype(np.float32))]
    names.append(program.new_constant(f"{layer.inputs[1]}/bias", bias.astype(np.float32)))
    kind = "Linear" if layer.kind == "MatMul" else layer.kind  # ONNX has none with a bias: the reader knows it
    changed = replace(layer, kind=kind, inputs=[layer.inputs[0], *names], outputs=list(behind.outputs))
    if kind == "Linear":
        changed.attributes = {}
    at = program.ops.index(behind)
    program.ops[at] = changed
    program.ops.remove(layer)
    program.index()
