"""Runs models in ONNX sample by sample, as they will be run where they are deployed."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from latency_tables.runtimes.onnxruntime import open_session
from nas.data.samples import Arrays
from search_spaces.graph.graph import Graph
from search_spaces.graph.tensor import TensorSpec
from search_spaces.lowering import lower


def outputs_of(model: onnx.ModelProto | bytes, inputs: Sequence[TensorSpec], samples: Arrays, *, threads: int = 1) -> Arrays:
    """Return what a model gives for samples, by output, the samples along the first axis of each.

    Args:
        model: Takes one sample a call.
        inputs: What it takes.
        samples: Arrays by input, shape `(n, *shape)`.
        threads: That compute it.
    """
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return run_samples(open_session(content, threads=threads), inputs, samples)


def run_samples(session: onnxruntime.InferenceSession, inputs: Sequence[TensorSpec], samples: Arrays) -> Arrays:
    """Return what a session gives for samples, as `outputs_of` does; inputs that it does not take are left out."""
    names, taken = [each.name for each in session.get_outputs()], {each.name for each in session.get_inputs()}
    feeds = ({name: array for name, array in feed.items() if name in taken} for feed in feeds_of(inputs, samples))
    runs = [session.run(names, feed) for feed in feeds]
    return {name: np.stack([_row(run[i]) for run in runs]) for i, name in enumerate(names)}


def tensors_of(
    graph: Graph, weights: Mapping[str, NDArray[np.float32]], samples: Arrays, names: Sequence[str], *, threads: int = 1
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield for each sample the tensors of that name inside a float32 network, batch axis included.

    Args:
        graph: The network.
        weights: Its arrays.
        samples: Arrays by input, shape `(n, *shape)`.
        names: Of nodes.
        threads: That compute it.
    """
    model = lower(graph, weights)
    written = {name for node in model.graph.node for name in node.output}
    bears = {node.inputs[0]: node.name for node in graph.outputs}  # what the network gives bears the name of the output
    stored = {name: name if name in written else bears.get(name, "") for name in names}
    asked = {name: tensor for name, tensor in stored.items() if tensor in written}
    given = {each.name for each in model.graph.output}
    model.graph.output.extend(
        helper.make_empty_tensor_value_info(t) for t in dict.fromkeys(asked.values()) if t not in given
    )
    session = open_session(model.SerializeToString(), threads=threads)
    specs = [tensor for node in graph.inputs for tensor in node.outputs]
    for feed in feeds_of(specs, samples):
        found = dict(zip(asked, session.run(list(asked.values()), feed), strict=True)) if asked else {}
        yield found | {name: feed[name] for name in names if name in feed}


def feeds_of(inputs: Sequence[TensorSpec], samples: Arrays) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield what a model takes for each sample."""
    n = len(next(iter(samples.values())))
    for i in range(n):
        yield {t.name: samples[t.name][i : i + 1] if t.batched else np.asarray(samples[t.name][i]) for t in inputs}


def _row(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what a model gives for one sample, without its batch axis if it has one."""
    return array[0] if array.ndim and len(array) == 1 else array
