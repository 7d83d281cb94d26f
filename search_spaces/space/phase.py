"""Phase: how a network of tokens is run: all tokens at once, a prompt, or one token behind those that a cache holds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    """One way of running a network of tokens; genes, names of nodes and weights are the same in every one.

    Attributes:
        tokens: That it takes in a call.
        past: That were there before, whose keys and values are kept.
        is_cached: True if keys and values are kept for later calls.
        gives_last: True if it answers for the last token alone.
    """

    tokens: int
    past: int = 0
    is_cached: bool = False
    gives_last: bool = False

    @classmethod
    def prefill(cls, tokens: int) -> "Phase":
        """Return the phase of a prompt of so many tokens."""
        return cls(tokens, is_cached=True, gives_last=True)

    @classmethod
    def decode(cls, past: int) -> "Phase":
        """Return the phase of one token behind so many."""
        return cls(1, past, is_cached=True)
