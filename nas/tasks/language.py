"""Language modelling: each token is told from those before it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nas.tasks.metric import Metric, declare
from nas.tasks.task import TASKS, Arrays, Samples
from search_spaces.graph.tensor import TensorSpec

if TYPE_CHECKING:
    from torch import Generator, Tensor

WORST = 100.0  # bits of one token, at most: an answer that is no number loses as much

BITS_PER_BYTE = declare(
    Metric(name="bits_per_byte", title="bits per byte", digits=4, of_data=True, noise=0.002, is_paired=True, tolerance=0.02)
)
"""Bits that telling the next tokens takes over the bytes of their text: it compares across vocabularies."""

DECODE = declare(Metric(name="decode_ms", title="decode", unit="ms", is_latency=True))
"""One token behind as many as the context has room for."""

PREFILL = declare(Metric(name="prefill_ms", title="prefill", unit="ms", is_latency=True))
"""A prompt of half the context."""


@TASKS.register("language")
@dataclass(frozen=True, kw_only=True)
class Language:
    """The next token at every place of a window.

    Attributes:
        context: Tokens of a window.
        vocabulary: Number of tokens.
        bytes_per_token: Of the training text.
    """

    context: int
    vocabulary: int
    bytes_per_token: float = 1.0

    name: ClassVar[str] = "language"
    metric: ClassVar[Metric] = BITS_PER_BYTE
    sample: ClassVar[str] = "window"
    targets: ClassVar[str] = "next_tokens"
    phases: ClassVar[tuple[str, ...]] = ("decode", "prefill")
    answers: ClassVar[str] = ""

    @classmethod
    def of(cls, data: Samples) -> "Language":
        """See `Task`."""
        tokens, facts = data.train["tokens"], data.facts
        per_token = float(data.train["mean_bytes"][0]) / tokens.shape[1]
        return cls(context=tokens.shape[1], vocabulary=int(facts["vocabulary"]), bytes_per_token=per_token)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """See `Task`."""
        return (BITS_PER_BYTE,)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Tokens, as whole numbers."""
        return (TensorSpec("tokens", (self.context,), "int64"),)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """For every place a logit of each token."""
        return (TensorSpec("logits", (self.context, self.vocabulary)),)

    @property
    def chance(self) -> float:
        """Of giving all tokens the same probability."""
        return float(np.log2(self.vocabulary)) / self.bytes_per_token

    def loss(self, output: "Tensor", batch: "Mapping[str, Tensor]", *, smoothing: float = 0.0) -> "Tensor":  # noqa: ARG002
        """Return the cross-entropy of the next tokens, which are not smoothed; see `Task`."""
        from torch.nn import functional

        return functional.cross_entropy(output.flatten(0, 1), batch["next_tokens"].flatten())

    def distillation_loss(self, output: "Tensor", teacher: "Tensor") -> "Tensor":
        """Return the cross-entropy with the teacher's probabilities, see `Task`."""
        from torch.nn import functional

        return functional.cross_entropy(output.flatten(0, 1), teacher.flatten(0, 1).softmax(dim=1))

    def augment(self, batch: "Mapping[str, Tensor]", amount: int, generator: "Generator") -> "dict[str, Tensor]":  # noqa: ARG002
        """Return the batch as it is: text has nothing to be moved."""
        return dict(batch)

    def scores(self, output: NDArray[Any], samples: Arrays) -> dict[str, NDArray[Any]]:
        """Return the bits of each window over the mean bytes of a window, see `Task`."""
        following = samples["next_tokens"]
        greatest = output.max(axis=-1, keepdims=True)
        logs = np.log(np.exp(output - greatest).sum(axis=-1, dtype=np.float64)) + greatest[..., 0]
        bits = (logs - np.take_along_axis(output, following[..., None], axis=-1)[..., 0]) / np.log(2)
        bits = np.nan_to_num(bits, nan=WORST).clip(max=WORST)
        return {BITS_PER_BYTE.name: bits.sum(axis=1) / samples["mean_bytes"]}

    def agreement(self, found: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where both name the same token last, see `Task`."""
        same: NDArray[np.bool_] = found[:, -1].argmax(axis=-1) == expected[:, -1].argmax(axis=-1)
        return same

    def order(self, samples: Arrays) -> NDArray[np.intp]:
        """Return the windows as they lie, see `Task`."""
        return np.arange(len(samples["tokens"]))

    def describe(self) -> dict[str, Any]:
        """See `Task`."""
        return {"inputs": {"values": "tokens"}, "outputs": {"values": "logits", "vocabulary": self.vocabulary}}

    def words(self) -> tuple[str, str]:
        """See `Task`."""
        return "tokens", f"logits of {self.vocabulary:,} tokens"
