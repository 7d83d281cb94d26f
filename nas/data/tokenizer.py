"""Tokenizers: from text to whole numbers, and how many bytes of text each stands for."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from search_spaces.errors import InvalidInputError, NotReadyError, check_range

END = "<|endoftext|>"
N_BYTES = 256


class Tokenizer(Protocol):
    """Turns text into tokens; `end` is the token between two texts."""

    @property
    def size(self) -> int:
        """Number of tokens."""

    @property
    def end(self) -> int:
        """The token that stands between two texts."""

    @property
    def n_bytes(self) -> NDArray[np.int64]:
        """Bytes that each token stands for, shape `(size,)`; 1 of the one between two texts."""

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the tokens of texts."""

    def to_json(self) -> str:
        """Return what `tokenizer.json` of an exported folder holds."""


class ByteTokenizer:
    """Every byte of UTF-8 is a token; the byte 0 stands between two texts."""

    size = N_BYTES
    end = 0
    n_bytes = np.ones(N_BYTES, np.int64)

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """See `Tokenizer`."""
        return [np.frombuffer(text.encode(), np.uint8).astype(np.int64) for text in texts]

    def to_json(self) -> str:
        """See `Tokenizer`: a byte level needs no more than its name."""
        return json.dumps({"model": {"type": "bytes"}}) + "\n"


class BytePairTokenizer:
    """Byte-level byte pairs, as trained by the package tokenizers.

    Args:
        content: What `tokenizer.json` holds.
        end: The token between two texts.

    Source:
        Sennrich et al. 2016, arXiv:1508.07909; on bytes: Radford et al. 2019.
    """

    def __init__(self, content: str, end: str = END) -> None:
        self._content, self._end = content, end
        self._model = _package().Tokenizer.from_str(content)

    @classmethod
    def trained(cls, texts: Sequence[str], size: int) -> "BytePairTokenizer":
        """Return a tokenizer of so many tokens, trained on texts."""
        package = _package()
        check_range("data.options.vocabulary", size, N_BYTES + 1, 2**20)
        model = package.Tokenizer(package.models.BPE())
        model.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=False)
        model.decoder = package.decoders.ByteLevel()
        alphabet = package.pre_tokenizers.ByteLevel.alphabet()
        trainer = package.trainers.BpeTrainer(
            vocab_size=size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
        )
        model.train_from_iterator(texts, trainer)
        return cls(model.to_str())

    @property
    def size(self) -> int:
        """See `Tokenizer`."""
        return 1 + int(max(self._model.get_vocab().values()))  # ids may have gaps

    def token(self, text: str) -> int | None:
        """Return the token of a piece of text, None if there is none."""
        found: int | None = self._model.token_to_id(text)
        return found

    @cached_property
    def end(self) -> int:
        """See `Tokenizer`."""
        return int(self._model.token_to_id(self._end))

    @cached_property
    def n_bytes(self) -> NDArray[np.int64]:
        """See `Tokenizer`; in the alphabet of byte-level tokens a character is a byte."""
        found = np.array([len(self._model.id_to_token(i) or "") for i in range(self.size)])
        found[self.end] = 1
        return found

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """See `Tokenizer`."""
        return [np.array(each.ids, np.int64) for each in self._model.encode_batch(list(texts))]

    def to_json(self) -> str:
        """See `Tokenizer`."""
        return self._content


def _package() -> Any:
    try:
        import tokenizers
        from tokenizers import decoders, models, pre_tokenizers, trainers  # noqa: F401 - submodules
    except ImportError as error:
        raise NotReadyError("byte pairs need the package tokenizers: pip install 'hwnas[text]'") from error
    return tokenizers


def build_tokenizer(kind: str, texts: Sequence[str], size: int, end: str = END) -> Tokenizer:
    """Return a tokenizer.

    Args:
        kind: `bytes`; `bpe`, which is trained on the texts; or a `tokenizer.json`.
        texts: To train on.
        size: Tokens of one that is trained.
        end: Of a file: the token between two texts.

    Raises:
        InvalidInputError: If there is no such kind, or the file is none or has no such token.
        NotReadyError: If its package is missing.
    """
    if kind.endswith(".json"):
        return _stored(Path(kind), end)
    if kind == "bytes":
        return ByteTokenizer()
    if kind == "bpe":
        return BytePairTokenizer.trained(texts, size)
    raise InvalidInputError(f"data.options.tokenizer must be bytes, bpe or a tokenizer.json, got '{kind}'")


def _stored(path: Path, end: str) -> BytePairTokenizer:
    try:
        found = BytePairTokenizer(path.read_text(encoding="utf-8"), end)
    except NotReadyError:
        raise
    except Exception as error:  # the package raises Exception itself
        raise InvalidInputError(f"'{path}' is no tokenizer.json: {error}") from error
    if found.token(end) is None:
        raise InvalidInputError(f"'{path}' has no token '{end}' to stand between two texts; name one by data.options.end")
    return found
