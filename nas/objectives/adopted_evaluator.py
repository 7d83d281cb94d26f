"""Metrics of mixtures of a trained network: how far they diverge from it and how often they err, run as deployed."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from nas.data.samples import Arrays, Samples
from nas.objectives.evaluator import Split
from nas.ptq.bank import Bank
from nas.ptq.execution import outputs_of
from nas.tasks.divergence import DIVERGENCE, ERROR, divergences, error_of, joined, kind_of
from nas.tasks.metric import Metric
from search_spaces.errors import InvalidInputError
from search_spaces.graph.graph import Graph
from search_spaces.graph.tensor import TensorSpec
from search_spaces.importing.space import Adopted
from search_spaces.lowering import lower
from search_spaces.space.space import Genomes
from search_spaces.space.subnet import Subnet


class AdoptedEvaluator:
    """Measures mixtures of formats of a trained network.

    Args:
        adopted: The network.
        bank: Its layers in every format.
        samples: The user's.
        references: What the original gives, by part of the samples and output.
        weights: Of outputs; none: all alike.
        kinds: How outputs are compared, where that is not what their values look like.
        steer: Of outputs without weights: `mean` or `worst`.
        threads: That compute it.

    Raises:
        InvalidInputError: If no output holds real numbers, or one that is named does not.
    """

    def __init__(
        self,
        adopted: Adopted,
        bank: Bank,
        samples: Samples,
        references: Mapping[str, Arrays],
        *,
        weights: Mapping[str, float] | None = None,
        kinds: Mapping[str, str] | None = None,
        steer: str = "mean",
        threads: int = 1,
    ) -> None:
        self.adopted = adopted
        self.bank = bank
        self.samples = samples
        self.references = references
        floats = {name: array for name, array in references["val"].items() if array.dtype.kind == "f"}
        if not floats:
            raise InvalidInputError(f"the model gives no real numbers, only {list(references['val'])}: nothing can diverge")
        if unknown := sorted({*(weights or {}), *(kinds or {})} - set(floats)):
            raise InvalidInputError(f"the model has no output {unknown} of real numbers; it has {list(floats)}")
        self.kinds: Mapping[str, str] = {name: (kinds or {}).get(name) or kind_of(array) for name, array in floats.items()}
        self.weights: Mapping[str, float] = dict(weights or {})
        self.steer = steer
        self.threads = threads

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """See `Evaluator`: the divergence first, which steers; the error only where answers are known."""
        return (DIVERGENCE, *([ERROR] if self.samples.answers else []))

    @property
    def inputs(self) -> list[TensorSpec]:
        """What the network takes."""
        return inputs_of(self.adopted)

    def model(self, graph: Graph) -> onnx.ModelProto:
        """Return a mixture as the file that would be shipped."""
        return lower(graph, self.bank.weights(graph))

    def evaluate(self, subnets: Sequence[Subnet], split: Split = "val") -> dict[str, NDArray[np.float64]]:
        """See `Evaluator`."""
        found = [self.values(subnet.graph, split) for subnet in subnets]
        return {metric.name: np.array([row[metric.name] for row in found]) for metric in self.metrics}

    def measure(self, genomes: Genomes) -> dict[str, NDArray[np.float64]]:
        """Return the validation values of genomes of shape `(n, n_genes)` as a search asks for them."""
        return self.evaluate(self.adopted.space.subnets(genomes))

    def values(self, graph: Graph, part: str) -> dict[str, float]:
        """Return every metric of a mixture on a part of the samples."""
        outputs = outputs_of(self.model(graph), self.inputs, self.samples.split(part), threads=self.threads)
        by_output = divergences(self.kinds, outputs, self.references[part])
        values = {DIVERGENCE.name: float(joined(by_output, self.weights, self.steer).mean())}
        if part in self.samples.answers:
            values[ERROR.name] = error_of(next(iter(outputs.values())), self.samples.answers[part])
        return values


def inputs_of(adopted: Adopted) -> list[TensorSpec]:
    """Return what a trained network takes."""
    return [tensor for node in adopted.imported.nodes if not node.inputs for tensor in node.outputs]
