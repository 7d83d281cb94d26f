"""Doors: how a model comes in. All become ONNX, which is read in one way."""

import logging
import os
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from nas.data.samples import call
from search_spaces.errors import InvalidInputError, NotReadyError
from search_spaces.importing.canonical import read_model
from search_spaces.plugins import absolute

if TYPE_CHECKING:
    import torch

OPSET = 23  # keeps attention, normalizations and activations as one operator each
CODE = re.compile(r"(^|/)(custom|opaque)_obj_")  # members of a .pt2 whose bytes torch would run
PICKLES = (".pth", ".pt", ".pkl", ".pickle", ".bin", ".ckpt", ".joblib")


def stored_model(source: str) -> bytes:
    """Return a model of a user's as the bytes of an ONNX file.

    Args:
        source: An ONNX file, a `.pt2` of torch.export, or FILE.py:FUNCTION, which gives a torch module and its inputs.

    Raises:
        InvalidInputError: If it is none of these, or cannot be read or exported.
    """
    if ".py:" in source:
        given = call(source)
        if not isinstance(given, tuple) or len(given) != 2:
            raise InvalidInputError(
                f"'{source}' must give a torch module and a tuple of its inputs, got {type(given).__name__}"
            )
        return export_torch(given[0], given[1])
    path = Path(source).expanduser()
    if path.suffix == ".pt2":
        return _from_exported_program(path)
    if path.suffix == ".py":
        raise InvalidInputError(f"'{source}' names no function: FILE.py:FUNCTION gives a torch module and its inputs")
    if path.suffix in PICKLES:
        raise InvalidInputError(
            f"'{path}' is a pickle, which runs whatever it holds and is never loaded: export the model to ONNX, or name "
            "a function that builds it, as FILE.py:FUNCTION"
        )
    model = read_model(path)
    try:
        return path.read_bytes() if not _has_external_data(model, path) else bytes(model.SerializeToString())
    except ValueError as error:  # protobuf holds 2 GiB
        raise InvalidInputError(f"'{path}' is larger than 2 GiB with its external data: too large to adopt") from error


def absolute_source(source: str) -> str:
    """Return where something of a user's comes from with an absolute path; a function of a file stays one."""
    if not source or ".py:" in source:
        return absolute(source)
    return str(Path(source).expanduser().resolve())


def export_module(module: Any, samples: list[Any]) -> bytes:
    """Return a torch module as the bytes of an ONNX file, exported with the first of some samples.

    Raises:
        InvalidInputError: If it is no torch module, or as for `export_torch`.
    """
    torch = _torch()
    return export_torch(module, tuple(torch.as_tensor(array[:1]) for array in samples))


def export_torch(module: "torch.nn.Module", inputs: Any) -> bytes:
    """Return a torch module as the bytes of an ONNX file, names of modules and batch norms kept.

    Args:
        module: In evaluation mode.
        inputs: What it takes: tensors, one sample each.

    Raises:
        NotReadyError: If what torch needs for it is not installed.
        InvalidInputError: If it is in training mode, or torch cannot export it.
    """
    torch = _torch()
    inputs = tuple(inputs) if isinstance(inputs, list | tuple) else (inputs,)
    if not isinstance(module, torch.nn.Module) or isinstance(module, torch.jit.ScriptModule):
        raise InvalidInputError(f"a model is a torch module that is not scripted, got {type(module).__name__}")
    if training := [name for name, part in module.named_modules() if part.training]:
        which = f"its part '{training[0]}'" if training[0] else "the module"
        raise InvalidInputError(f"{which} is in training mode: call `module.eval()` first")
    if wrong := [type(each).__name__ for each in inputs if not isinstance(each, torch.Tensor)]:
        raise InvalidInputError(f"the inputs of the module must be tensors, got {', '.join(wrong)}")
    few = tuple(each[:1] if each.ndim else each for each in inputs)
    return _exported(torch, module, few)


def _from_exported_program(path: Path) -> bytes:
    torch = _torch()
    try:
        with zipfile.ZipFile(path) as archive:
            if held := [name for name in archive.namelist() if CODE.search(name)]:
                raise InvalidInputError(
                    f"'{path}' holds an object of its own ('{held[0]}'), which would run code: it is never loaded"
                )
        with _tensors_only(), _quiet():
            program = torch.export.load(path)
    except InvalidInputError:
        raise
    except Exception as error:  # whatever is wrong with the file
        hint = "" if "weights_only" not in str(error).lower() else "; it holds pickled objects, which are never loaded"
        raise InvalidInputError(
            f"'{path}' is no program that torch.export.save writes, or is damaged ({type(error).__name__}){hint}"
        ) from error
    return _exported(torch, program, None)


@contextmanager
def _tensors_only() -> Iterator[None]:
    """Keep `torch.load` from running pickled code, whatever its caller asks for: `torch.export.load` would."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch from telling its own tracebacks and warnings; what matters is raised."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _exported(torch: Any, module: Any, inputs: Any) -> bytes:
    settings = {"dynamo": True, "optimize": False, "opset_version": OPSET, "external_data": False, "verbose": False}
    try:
        with _quiet():
            program = torch.onnx.export(module, *(() if inputs is None else (inputs,)), **settings)
    except Exception as error:  # torch has many kinds
        raise InvalidInputError(f"torch cannot export the module: {_line(error)}") from error
    return bytes(program.model_proto.SerializeToString())


def _torch() -> Any:
    try:
        import onnxscript  # noqa: F401 - torch's exporter needs it
        import torch
    except ImportError as error:
        raise NotReadyError(f"a torch module needs {error.name}; install it with `pip install 'hwnas[adopt]'`") from error
    return torch


def _has_external_data(model: onnx.ModelProto, path: Path) -> bool:
    plain = onnx.load(path, load_external_data=False)
    return any(tensor.external_data for tensor in plain.graph.initializer) or len(plain.graph.node) != len(model.graph.node)


def _line(error: BaseException) -> str:
    while error.__cause__ is not None:  # torch wraps what went wrong into advice
        error = error.__cause__
    text = re.sub(r"\x1b\[\d+m", "", str(error)).strip()  # without colours
    return (text.splitlines() or [type(error).__name__])[0][:300]
