"""From a model of a user's to a network of ours, checked against the original."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency_tables.runtimes.onnxruntime import open_session
from nas.data.samples import Arrays
from nas.ptq.execution import outputs_of, run_samples
from nas.ptq.settings import AdoptSettings
from search_spaces.errors import HwnasError, InvalidInputError, VerificationError, first_line
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
    path, first, failure = Path(settings.model).expanduser(), None, None
    for names in ((), *((name,) for name in PATTERNS.names), tuple(PATTERNS.names)):
        try:
            adopted = read_adopted(settings, names, formats)
            check = replace(check_import(path, adopted, samples), left_out=names)
        except HwnasError:
            raise
        except Exception as error:  # what a pattern or a reader makes of an operator that it takes for another
            failure = error
            continue
        if first is None:
            _check_share(adopted, settings)
            first = check
        if check.difference <= check.allowed:
            if names:
                why = first_line(failure) if failure else f"the model differs by {first.difference:.2g} from the original"
                logger.warning("as read with pattern %s %s: it is left out", " and ".join(names), why)
            return adopted, check
    if first is None:
        assert failure is not None
        kind = type(failure).__name__
        raise InvalidInputError(f"'{path}' cannot be read: {kind}: {first_line(failure)}") from failure
    raise VerificationError(
        f"'{path}' as it was read differs by {first.difference:.2g} of the greatest output from the original, more than "
        f"{first.allowed:.2g}, whatever pattern is left out: it cannot be adopted"
    )


def _check_share(adopted: Adopted, settings: AdoptSettings) -> None:
    """Raise `InvalidInputError` if too little of a model is known, and nobody has accepted that."""
    share = adopted.imported.read_share
    if share < LEAST_SHARE and not settings.accept_opaque:
        kinds = ", ".join(sorted(set(adopted.imported.unknown.values())))
        raise InvalidInputError(
            f"of '{settings.model}' only {100 * share:.0f} % of the work is in operators that are known (not: {kinds}); "
            "the rest would stay in float32: go on with --accept-opaque"
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
    worst = Check(0.0, TOLERANCE)
    for given in filter(None, (noise(inputs), samples)):
        few = {name: array[:N_CHECKED] for name, array in given.items()}
        theirs = original_outputs(path, inputs, few)
        unoptimized = original_outputs(path, inputs, few, optimized=False)
        found = outputs_of(mine, inputs, few)
        for name, expected in theirs.items():
            allowed = max(TOLERANCE, 2 * _difference(unoptimized[name], expected))
            found_here = Check(_difference(found[name], expected), allowed)
            worst = max(worst, found_here, key=lambda check: check.difference / check.allowed)
    return worst


def _difference(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the greatest difference over the greatest value expected; infinite where one is no number."""
    mine, theirs = (np.asarray(array, np.float64) for array in (found, expected))
    difference = float(np.abs(mine - theirs).max()) / (float(np.abs(theirs).max()) or 1.0)
    return difference if np.isfinite(difference) else np.inf


def noise(inputs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    """Return three samples of noise; whole numbers are 0 and 1, which are valid wherever any are."""
    rng = np.random.default_rng(0)
    found = {}
    for tensor in inputs:
        shape = (N_CHECKED, *tensor.shape)
        is_float = tensor.dtype == "float32"
        found[tensor.name] = (rng.standard_normal(shape) if is_float else rng.integers(0, 2, shape)).astype(tensor.dtype)
    return found


def original_outputs(path: Path, inputs: Sequence[TensorSpec], samples: Arrays, *, optimized: bool = True) -> Arrays:
    """Return what the original gives for samples, by output.

    Raises:
        InvalidInputError: If onnxruntime cannot run it.
    """
    try:
        return run_samples(open_session(str(path), optimizes=optimized), inputs, samples)
    except Exception as error:  # onnxruntime has a kind of its own for every fault
        raise InvalidInputError(f"onnxruntime cannot run '{path}': {first_line(error)}") from error


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
