"""A file of ONNX as a `Program`: shapes fixed, what can be computed beforehand computed, nothing left that does nothing.

It needs NumPy and onnx alone. Names of modules that torch writes beside the operators are kept.
"""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper, inliner, numpy_helper, shape_inference, version_converter
from onnx.reference import ReferenceEvaluator

from search_spaces.errors import InvalidInputError, first_line
from search_spaces.importing.program import Op, Program

OPSET = 21  # older models are converted to it
QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "MatMulInteger", "ConvInteger", "DynamicQuantizeLinear")
ALIASES = ("Identity", "Dropout")
MAX_FOLDED = 50_000_000  # elements of a constant that is computed beforehand
SCOPES = "pkg.torch.onnx.name_scopes"
FLOATS = {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16", TensorProto.DOUBLE: "float64"}


def read_model(path: Path) -> onnx.ModelProto:
    """Read a file, external data included.

    Raises:
        InvalidInputError: If it is missing, cut off, or no model.
    """
    try:
        model = onnx.load(path)
    except OSError as error:
        raise InvalidInputError(
            f"cannot read '{path}', or the external data beside it: {error.strerror or error}"
        ) from error
    except onnx.checker.ValidationError as error:  # of external data
        raise InvalidInputError(f"'{path}': its external data cannot be read: {first_line(error)}") from error
    except DecodeError as error:
        raise InvalidInputError(f"'{path}' is no ONNX model, or is cut off") from error
    except ValueError as error:
        raise InvalidInputError(
            f"'{path}' is no ONNX model, or it or its external data is cut off: {first_line(error)}"
        ) from error
    if not model.graph.node:
        raise InvalidInputError(f"'{path}' holds no operators: it is no ONNX model, or is cut off")
    return model


def canonicalize(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Program:
    """Return the network of a model with fixed shapes.

    Args:
        model: In float32.
        shapes: Of inputs by name, with the batch axis, where the model leaves them open; a batch axis that is open is 1.

    Raises:
        InvalidInputError: If it is quantized already or not in float32, of an opset that cannot be converted, trains,
            has shapes that are open, or an operator that is not ONNX's own.
    """
    model = inliner.inline_local_functions(model)
    _check(model)
    model = _of_opset(model, OPSET)
    model = _with_shapes(model, shapes or {})
    return _Folder(model).folded()


def _check(model: onnx.ModelProto) -> None:
    if not any(opset.domain in ("", "ai.onnx") for opset in model.opset_import):
        raise InvalidInputError("the model names no opset of ONNX: it is no whole model; export it anew")
    kinds = {node.op_type for node in _all_nodes(model.graph)}
    if found := sorted(kinds & set(QUANTIZED)):
        raise InvalidInputError(
            f"the model is quantized already ({', '.join(found)}): adopt the float32 model it was made of"
        )
    foreign = [node for node in _all_nodes(model.graph) if node.domain not in ("", "ai.onnx")]
    if foreign:
        raise InvalidInputError(
            f"operator '{foreign[0].op_type}' is of domain '{foreign[0].domain}', not ONNX's own; export without it"
        )
    if unknown := [node.op_type for node in _all_nodes(model.graph) if not onnx.defs.has(node.op_type)]:
        raise InvalidInputError(f"operator '{unknown[0]}' is none of ONNX's: export the model without it")
    types = {
        t.type.tensor_type.elem_type: t.name for t in (*model.graph.input, *model.graph.value_info, *model.graph.output)
    }
    held = [a.t for node in _all_nodes(model.graph) if node.op_type == "Constant" for a in node.attribute if a.HasField("t")]
    types |= {tensor.data_type: tensor.name for tensor in (*held, *model.graph.initializer)}
    if narrow := next((kind for kind in FLOATS if kind in types), None):
        raise InvalidInputError(f"tensor '{types[narrow]}' is {FLOATS[narrow]}: adopt the model in float32")
    for node in model.graph.node:
        if node.op_type in ("Loop", "Scan"):
            raise InvalidInputError(f"operator '{node.name}' ({node.op_type}) is a loop: export the model without it")
    for node in _all_nodes(model.graph):
        settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "BatchNormalization" and settings.get("training_mode"):
            raise InvalidInputError(f"batch norm '{node.name}' is in training mode: export the model with `model.eval()`")


def _all_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return all operators, those of branches and loops included."""
    found = []
    for node in graph.node:
        found.append(node)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found += _all_nodes(attribute.g)
    return found


def _of_opset(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    """Return the model in a newer version of ONNX, so that all operators are of one; a still newer one stays."""
    if max(opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")) >= version:
        return model
    try:
        converted: onnx.ModelProto = version_converter.convert_version(model, version)
    except Exception as error:  # whatever the converter raises
        raise InvalidInputError(
            f"the model cannot be converted to opset {version}: {first_line(error)}; export it so"
        ) from error
    return converted


def _with_shapes(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto:
    held = {tensor.name for tensor in model.graph.initializer}
    inputs = [tensor for tensor in model.graph.input if tensor.name not in held]
    if unknown := sorted(set(shapes) - {tensor.name for tensor in inputs}):
        raise InvalidInputError(f"the model has no input {unknown}; it has {[tensor.name for tensor in inputs]}")
    for tensor in inputs:
        axes = tensor.type.tensor_type.shape.dim
        asked = shapes.get(tensor.name)
        if not tensor.type.tensor_type.HasField("shape"):
            if asked is None:
                raise InvalidInputError(f"input '{tensor.name}' has no shape: say it by --shape {tensor.name}=1,...")
            for length in asked:
                axes.add().dim_value = length
        text = ",".join(str(a.dim_value if a.dim_value > 0 else a.dim_param or "?") for a in axes)
        if asked is not None and len(asked) != len(axes):
            raise InvalidInputError(f"input '{tensor.name}' has {len(axes)} axes, --shape gives {len(asked)}")
        for i, axis in enumerate(axes):
            if axis.dim_value < 0:  # as some exporters write an axis that is open
                axis.ClearField("dim_value")
            if asked is not None:
                if axis.dim_value and axis.dim_value != asked[i]:
                    raise InvalidInputError(
                        f"input '{tensor.name}' has {axis.dim_value} along axis {i}, --shape gives {asked[i]}"
                    )
                axis.dim_value = asked[i]
            elif not axis.dim_value and i == 0:
                axis.dim_value = 1
            elif not axis.dim_value:
                raise InvalidInputError(
                    f"input '{tensor.name}' has the open shape ({text}): say it by --shape {tensor.name}=1,..."
                )
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return model


def _array_of(tensor: TensorProto) -> NDArray[Any]:
    try:
        return numpy_helper.to_array(tensor)
    except ValueError as error:
        raise InvalidInputError(f"tensor '{tensor.name}' does not hold what its shape says: the file is damaged") from error


class _Folder:
    """Computes beforehand what depends on no input.

    Args:
        model: With fixed shapes of its inputs.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.opset = max(opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx"))
        self.constants = {tensor.name: _array_of(tensor) for tensor in model.graph.initializer}
        self.alias: dict[str, str] = {}

    def folded(self) -> Program:
        """Return the program."""
        nodes = list(self.model.graph.node)
        while True:
            before = len(self.alias), len(self.constants)
            self._infer(nodes)
            nodes = self._pass(nodes)
            if (len(self.alias), len(self.constants)) == before:
                break
        names = {tensor.name for tensor in self.model.graph.input if tensor.name not in self.constants}
        inputs = [tensor.name for tensor in self.model.graph.input if tensor.name in names]
        outputs = [tensor.name for tensor in self.model.graph.output]
        if depending := [node for node in nodes if node.op_type == "If"]:
            raise InvalidInputError(
                f"operator '{depending[0].name}' (If) chooses by what the model computes: adopt each branch by itself"
            )
        ops = [self._op(node) for node in nodes]
        for output in outputs:  # a name that is given stays, whatever was left out before it
            source = self._resolve(output)
            if source in self.constants:
                raise InvalidInputError(f"output '{output}' does not depend on any input: there is nothing to adopt")
            if source != output and source in self.shapes:
                ops.append(Op("Identity", f"{output}:Identity", [source], [output], {}))
                self.shapes[output], self.dtypes[output] = self.shapes[source], self.dtypes[source]
        program = Program(ops, self.constants, self.shapes, self.dtypes, inputs, outputs, self.opset)
        if unused := [name for name in inputs if not program.consumers(name) and name not in outputs]:
            raise InvalidInputError(f"input '{unused[0]}' is used by no operator: export the model without it")
        program.prune()
        for op in program.ops:
            for tensor in op.outputs:
                is_needed = program.consumers(tensor) or tensor in program.outputs
                if tensor and tensor not in program.shapes and is_needed:
                    raise InvalidInputError(
                        f"the shape of what operator '{op.name}' ({op.kind}) gives depends on values: it cannot be adopted"
                    )
        return program

    def _infer(self, nodes: list[onnx.NodeProto]) -> None:
        graph = helper.make_graph(
            nodes,
            "canonical",
            list(self.model.graph.input),
            list(self.model.graph.output),
            [numpy_helper.from_array(value, name) for name, value in self.constants.items() if value.size < 1_000],
            value_info=[
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
                for name, value in self.constants.items()
                if value.size >= 1_000
            ],
        )
        version = helper.make_opsetid("", self.opset)
        model = helper.make_model(graph, opset_imports=[version], ir_version=10)
        try:
            model = shape_inference.infer_shapes(model, data_prop=True)
        except Exception as error:
            raise InvalidInputError(f"the shapes of the model cannot be inferred: {first_line(error)}") from error
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, str] = {}
        for tensor in (*model.graph.input, *model.graph.value_info, *model.graph.output):
            kind = tensor.type.tensor_type
            if kind.elem_type:
                self.dtypes[tensor.name] = str(helper.tensor_dtype_to_np_dtype(kind.elem_type))
            if kind.HasField("shape") and all(axis.HasField("dim_value") for axis in kind.shape.dim):
                self.shapes[tensor.name] = tuple(axis.dim_value for axis in kind.shape.dim)

    def _pass(self, nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
        kept = []
        for node in nodes:
            node.input[:] = [self._resolve(name) for name in node.input]
            if node.op_type == "If" and node.input[0] in self.constants:
                kept += self._branch(node)
            elif not self._is_folded(node):
                kept.append(node)
        return kept

    def _resolve(self, name: str) -> str:
        while name in self.alias:
            name = self.alias[name]
        return name

    def _is_folded(self, node: onnx.NodeProto) -> bool:
        """Return True if an operator is not needed: what it gives is known now, or is what it takes."""
        source = node.input[0] if node.input else ""
        settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type in ALIASES:
            self.alias[node.output[0]] = source
            return True
        if node.op_type in ("Shape", "Size") and source in self.shapes:
            shape = np.array(self.shapes[source], np.int64)
            part = shape[settings.get("start", 0) : settings.get("end", len(shape))]
            self.constants[node.output[0]] = part if node.op_type == "Shape" else np.array(shape.prod())
            return True
        taken = [name for name in node.input if name]
        if all(name in self.constants for name in taken) and not any(a.HasField("g") for a in node.attribute):
            return self._compute(node)
        given = self.shapes.get(node.output[0])
        same = given is not None and given == self.shapes.get(source) and source not in self.constants
        if same and node.op_type in ("Reshape", "Expand", "Squeeze", "Unsqueeze", "Flatten"):
            self.alias[node.output[0]] = source
            return True
        if node.op_type in ("Cast", "CastLike") and self.dtypes.get(source) == self.dtypes.get(node.output[0]) is not None:
            self.alias[node.output[0]] = source
            return True
        return False

    def _compute(self, node: onnx.NodeProto) -> bool:
        n_elements = int(np.prod(self.shapes.get(node.output[0], (0,))))
        if n_elements > MAX_FOLDED or node.op_type.startswith("Random"):
            return False
        given = {name: self.constants[name] for name in node.input if name}
        inputs = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in given.items()
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = helper.make_graph([node], "constant", inputs, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)
        try:
            found = ReferenceEvaluator(model).run(None, given)
        except Exception:  # not every operator has a reference; it stays
            return False
        for name, value in zip([name for name in node.output if name], found, strict=True):
            kind = self.dtypes.get(name)
            self.constants[name] = np.asarray(value, kind) if kind else np.asarray(value)
        return True

    def _branch(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Return the operators of the branch that a constant condition takes."""
        wanted = "then_branch" if bool(self.constants[node.input[0]].all()) else "else_branch"
        branch = next(a.g for a in node.attribute if a.name == wanted)
        prefix = f"{node.name or node.output[0]}/{wanted}/"
        inner = {tensor.name: f"{prefix}{tensor.name}" for tensor in branch.initializer}
        inner |= {name: f"{prefix}{name}" for each in branch.node for name in each.output if name}
        for tensor in branch.initializer:
            self.constants[inner[tensor.name]] = numpy_helper.to_array(tensor)
        for given, taken in zip(node.output, branch.output, strict=True):
            self.alias[given] = inner.get(taken.name, taken.name)
        return [_renamed(each, inner, prefix) for each in branch.node]

    def _op(self, node: onnx.NodeProto) -> Op:
        settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        scope = next((prop.value for prop in node.metadata_props if prop.key == SCOPES), "")
        return Op(node.op_type, node.name, list(node.input), list(node.output), settings, _module(scope))


def _renamed(node: onnx.NodeProto, names: Mapping[str, str], prefix: str) -> onnx.NodeProto:
    """Return an operator of a branch under the names of the whole; names of outer tensors stay."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = f"{prefix}{node.name}"
    copy.input[:] = [names.get(name, name) for name in node.input]
    copy.output[:] = [names.get(name, name) for name in node.output]
    for attribute in copy.attribute:
        if attribute.HasField("g"):
            own = {t.name for t in attribute.g.initializer} | {name for each in attribute.g.node for name in each.output}
            outer = {old: new for old, new in names.items() if old not in own}
            inner = [_renamed(each, outer, "") for each in attribute.g.node]
            del attribute.g.node[:]
            attribute.g.node.extend(inner)
            for output in attribute.g.output:
                output.name = outer.get(output.name, output.name)
    return copy


def _module(scopes: str) -> str:
    """Return the path of the innermost module of what torch writes: a list of paths, the operator last."""
    if not scopes:
        return ""
    try:
        paths = [str(path) for path in ast.literal_eval(scopes)]
    except (ValueError, SyntaxError):
        return ""
    return paths[-2] if len(paths) > 1 else ""
