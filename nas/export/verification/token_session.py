"""A language model's file at work: tokens go in, one call after the other, keys and values stay in one place."""

from abc import ABC, abstractmethod

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from latency_tables.runtimes.onnxruntime import ELEMENTS, PRESENT, open_session
from search_spaces.lowering import lengths_of


class TokenStream(ABC):
    """A model that remembers what it was given."""

    @abstractmethod
    def reset(self) -> None:
        """Forget everything."""

    @abstractmethod
    def feed(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the answer behind some more tokens, shape `(vocabulary,)`."""

    def answers(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the answers behind each of some tokens, fed one by one from the beginning, shape `(n, vocabulary)`."""
        self.reset()
        return np.stack([self.feed(tokens[i : i + 1]) for i in range(len(tokens))])

    def greedy(self, prompt: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        """Return the `n` tokens behind a prompt, each the likeliest."""
        self.reset()
        found, given = [], prompt
        for _ in range(n):
            given = np.array([likeliest(self.feed(given))])
            found.append(int(given[0]))
        return np.array(found, np.int64)


class TokenSession(TokenStream):
    """A file of onnxruntime, open: keys and values stay in one buffer.

    Args:
        model: Serialized ONNX, as `search_spaces.lower` writes it with names for its axes.
        context: Tokens that it remembers at most.
    """

    def __init__(self, model: bytes, context: int) -> None:
        self._session = open_session(model)
        kept = {given.name.removesuffix(PRESENT) for given in self._session.get_outputs() if given.name.endswith(PRESENT)}
        self._answer = self._session.get_outputs()[0].name
        self._cache = {}
        for taken in self._session.get_inputs():
            if taken.name in kept:
                nothing = np.zeros([1, taken.shape[1], context, taken.shape[3]], ELEMENTS[taken.type])
                self._cache[taken.name] = onnxruntime.OrtValue.ortvalue_from_numpy(nothing)
        self.n_tokens = 0

    def reset(self) -> None:
        """See `TokenStream`."""
        self.n_tokens = 0

    def feed(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """See `TokenStream`."""
        self.n_tokens += len(tokens)
        binding = self._session.io_binding()
        binding.bind_cpu_input("tokens", np.ascontiguousarray(tokens, np.int64)[None])
        for name, length in lengths_of(self.n_tokens).items():
            binding.bind_cpu_input(name, length)
        binding.bind_output(self._answer)
        for name, value in self._cache.items():
            binding.bind_ortvalue_input(name, value)
            binding.bind_ortvalue_output(f"{name}{PRESENT}", value)
        self._session.run_with_iobinding(binding)
        answer: NDArray[np.float32] = binding.get_outputs()[0].numpy()
        return answer.reshape(-1)


def likeliest(answers: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the token of the greatest answer along the last axis."""
    return np.asarray(np.argsort(answers, axis=-1)[..., -1])
