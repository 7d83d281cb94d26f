"""From a model of a user's to a network of ours, checked against the original."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime

from latency_tables.runtimes.onnxruntime import open_session
from nas.data.samples import Arrays
from nas.ptq.execution import feeds_of, outputs_of
from nas.ptq.settings import AdoptSettings
from search_spaces.errors import InvalidInputError, VerificationError
from search_spaces.graph.tensor import TensorSpec
from search_spaces.importing.canonical import canonicalize, read_model
from search_spaces.importing.patterns import PATTERNS
from search_spaces.importing.reader import Imported, read
from search_spaces.importing.space import Adopted, adopt
from search_spaces.lowering import lower

logger = logging.getLogger(__name__)

TOLERANCE = 1e-5  # of the greatest output
N_CHECKED = 3
LEAST_SHARE = 0.5  # of the multiply-accumulates in operators that are known


@dataclass(frozen=True)
class Check:
    """How far a network as it was read is from its original.

    Attributes:
        difference: Greatest difference of any output, over the greatest of that output.
        allowed: What it may be: 1e-5, or what the original differs from itself where the runtime does not optimize it.
        left_out: Patterns that were found to be wrong for this model, and are not used.
    """

    difference: float
    allowed: float
    left_out: tuple[str, ...] = ()


def import_model(
    settings: AdoptSettings, samples: Arrays | None = None, *, formats: Sequence[str] = ()
) -> tuple[Adopted, Check]:
    """Read an ONNX file and check the network against it, on noise and on samples.

    Where they differ each pattern is left out in turn; the one at fault is named and not used.

    Args:
        settings: Name the file.
        samples: Of the inputs, shape `(n, *shape)`; None: noise alone.
        formats: That groups may have; none: the usual ones.

    Raises:
        InvalidInputError: If the file is none that can be adopted, or too little of it is known.
        VerificationError: If what was read computes something else, whatever is left out.
    """
    path = Path(settings.model).expanduser()
    adopted = read_adopted(settings, (), formats)
    share = adopted.imported.read_share
    if share < LEAST_SHARE and not settings.accept_opaque:
        kinds = ", ".join(sorted(set(adopted.imported.unknown.values())))
        raise InvalidInputError(
            f"of '{path}' only {100 * share:.0f} % of the work is in operators that are known (not: {kinds}); the rest "
            "would stay in float32: go on with --accept-opaque"
        )
    check = check_import(path, adopted, samples)
    if check.difference <= check.allowed:
        return adopted, check
    for names in (*((name,) for name in adopted.imported.patterns), tuple(PATTERNS.names)):
        without = read_adopted(settings, names, formats)
        again = check_import(path, without, samples)
        if again.difference <= again.allowed:
            logger.warning(
                "as read with pattern %s the model differs by %.2g from the original: it is left out",
                " and ".join(names),
                check.difference,
            )
            return without, replace(again, left_out=names)
    raise VerificationError(
        f"'{path}' as it was read differs by {check.difference:.2g} of the greatest output from the original, more than "
        f"{check.allowed:.2g}, whatever pattern is left out: it cannot be adopted"
    )


def read_adopted(settings: AdoptSettings, left_out: tuple[str, ...] = (), formats: Sequence[str] = ()) -> Adopted:
    """Read the ONNX file of an adoption, unchecked; arguments as for `import_model`, patterns left out by their names."""
    path = Path(settings.model).expanduser()
    imported: Imported = read(canonicalize(read_model(path), settings.shape_of), left_out=left_out)
    options = {"formats": tuple(formats)} if formats else {}
    return adopt(imported, fixed=settings.formats, max_layers=settings.max_layers, **options)  # type: ignore[arg-type]


def check_import(path: Path, adopted: Adopted, samples: Arrays | None) -> Check:
    """Compare a network as it was read with its original, on three samples and on three of noise."""
    inputs = [tensor for node in adopted.imported.nodes if not node.inputs for tensor in node.outputs]
    mine = lower(adopted.in_format("float32"), adopted.imported.weights)
    worst, allowed = 0.0, TOLERANCE
    for given in filter(None, (noise(inputs), samples)):
        few = {name: array[:N_CHECKED] for name, array in given.items()}
        theirs = original_outputs(path, inputs, few)
        unoptimized = original_outputs(path, inputs, few, optimized=False)
        found = outputs_of(mine, inputs, few)
        for name, expected in theirs.items():
            scale = float(np.abs(expected).max()) or 1.0
            difference = float(np.abs(found[name] - expected).max()) / scale
            itself = float(np.abs(unoptimized[name] - expected).max()) / scale
            if not difference <= max(TOLERANCE, 2 * itself) and difference > worst:
                worst, allowed = difference, max(TOLERANCE, 2 * itself)
            elif worst <= allowed:
                worst, allowed = max(worst, difference), max(allowed, 2 * itself)
    return Check(worst, allowed)


def noise(inputs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    """Return three samples of noise; whole numbers are 0 and 1, which are valid wherever any are."""
    rng = np.random.default_rng(0)
    found = {}
    for tensor in inputs:
        shape = (N_CHECKED, *tensor.shape)
        is_float = tensor.dtype == "float32"
        found[tensor.name] = (rng.standard_normal(shape) if is_float else rng.integers(0, 2, shape)).astype(tensor.dtype)
    return found


def original_outputs(
    path: Path, inputs: Sequence[TensorSpec], samples: Arrays, *, optimized: bool = True
) -> dict[str, np.ndarray]:
    """Return what the original gives for samples, by output.

    Raises:
        InvalidInputError: If onnxruntime cannot run it.
    """
    try:
        if optimized:
            session = open_session(str(path))  # type: ignore[arg-type]
        else:
            settings = onnxruntime.SessionOptions()
            settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            settings.log_severity_level = 3
            settings.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_outputs()]
        taken = {each.name for each in session.get_inputs()}
        runs = [session.run(names, {k: v for k, v in feed.items() if k in taken}) for feed in feeds_of(inputs, samples)]
    except Exception as error:  # onnxruntime has a kind of its own for every fault
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InvalidInputError(f"onnxruntime cannot run '{path}': {line}") from error
    rows = {name: [run[i] for run in runs] for i, name in enumerate(names)}
    return {name: np.stack([r[0] if r.ndim and len(r) == 1 else r for r in each]) for name, each in rows.items()}


def describe(adopted: Adopted, check: Check) -> list[str]:
    """Return in lines what was read."""
    imported = adopted.imported
    kinds = imported.kinds()
    ours = {kind: n for kind, n in kinds.items() if kind[:1].islower()}
    others = {kind: n for kind, n in kinds.items() if not kind[:1].islower()}
    macs = sum(node.macs() for node in imported.nodes)
    lines = [
        f"read {sum(kinds.values())} operators, {macs / 1e6:,.1f} million multiply-accumulates: "
        f"{100 * imported.known_share:.1f} % of these and {100 * imported.weights_share:.1f} % of the weights have integer "
        "forms",
        f"with formats: {_listed(ours)}",
    ]
    if others:
        lines.append(f"float32 in every format: {_listed(others)}")
    if imported.unknown:
        unknown = ", ".join(sorted(set(imported.unknown.values())))
        lines.append(f"not known, kept as they are: {unknown} ({100 * (1 - imported.read_share):.1f} % of the work)")
    if imported.patterns:
        lines.append(f"patterns: {_listed(imported.patterns)}")
    lines.append(
        f"differs by {check.difference:.1g} of the greatest output from the original"
        + (f"; left out: {', '.join(check.left_out)}" if check.left_out else "")
    )
    return lines


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items(), key=lambda pair: -pair[1]))
