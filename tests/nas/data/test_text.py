import sys

import numpy as np
import pytest

from nas.data import load_dataset
from nas.data.text import Text, pieces, windows
from nas.data.tokenizer import ByteTokenizer, build_tokenizer
from nas.data.words import read_in_words
from nas.testing import check_task
from search_spaces.errors import InvalidInputError, NotReadyError

TEXTS = [f"{i}: " + "some words that come again and again, and some that do not. " * 4 for i in range(300)]


def load(texts=TEXTS, **settings):
    return Text(texts=texts, **settings).dataset("mine", n_val=0, seed=0, targets="next_tokens")


def test_windows_tell_the_next_token():
    arrays = windows(ByteTokenizer(), ["abc", "de"], 3)
    assert arrays["tokens"].tolist() == [[0, 97, 98], [99, 0, 100]]
    assert arrays["next_tokens"].tolist() == [[97, 98, 99], [0, 100, 101]]
    assert arrays["mean_bytes"].tolist() == [3, 3]


def test_splits_share_no_piece_and_do_not_depend_on_the_order():
    data, again = load(), load(TEXTS[::-1])
    texts = ["".join(map(chr, arrays["tokens"].ravel())) for arrays in data.splits.values()]
    heads = [{part.split(": ")[0] for part in text.split(chr(0)) if ": " in part} for text in texts]
    assert not (heads[0] & heads[1])
    assert not (heads[0] & heads[2])
    assert not (heads[1] & heads[2])
    assert {s: data.size(s) for s in data.splits} == {s: again.size(s) for s in again.splits}
    assert load(TEXTS + TEXTS).digest == data.digest  # what stands twice is read once


def test_byte_pairs_stand_for_bytes():
    data = load(tokenizer="bpe", vocabulary=300)
    tokenizer = data.facts["tokenizer"]
    text = "wörds 😀 again"
    (tokens,) = tokenizer.encode([text])
    assert tokenizer.n_bytes[tokens].sum() == len(text.encode())
    assert data.train["mean_bytes"][0] > 128  # a token is more than a byte
    assert data.facts["vocabulary"] <= 300
    check_task("language", data)


def test_a_stored_tokenizer_is_read(tmp_path):
    tokenizer = build_tokenizer("bpe", TEXTS, 300)
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_json())
    stored = build_tokenizer(str(tmp_path / "tokenizer.json"), [], 0)
    assert [t.tolist() for t in stored.encode(TEXTS[:3])] == [t.tolist() for t in tokenizer.encode(TEXTS[:3])]
    with pytest.raises(InvalidInputError, match="has no token '<end>' to stand between two texts"):
        build_tokenizer(str(tmp_path / "tokenizer.json"), [], 0, "<end>")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InvalidInputError, match="is no tokenizer.json"):
        build_tokenizer(str(tmp_path / "broken.json"), [], 0)


def test_the_task_holds_its_contract_and_counts_bits():
    data = load()
    check_task("language", data)
    from nas.tasks import TASKS

    task = TASKS.get("language").of(data)
    samples = {name: array[:2] for name, array in data.val.items()}
    flat = np.zeros((2, 128, 256), np.float32)
    assert task.scores(flat, samples)["bits_per_byte"] == pytest.approx([8, 8])
    assert task.chance == pytest.approx(8)
    sure = np.full_like(flat, -50)
    np.put_along_axis(sure, samples["next_tokens"][..., None], 50, axis=-1)
    assert task.scores(sure, samples)["bits_per_byte"] == pytest.approx([0, 0])


def test_sources(tmp_path):
    pydoc = load_dataset("pydoc", targets="next_tokens", options={"context": 64})
    assert pydoc.train["tokens"].shape[1] == 64
    assert "windows of 64 tokens, 256 different ones" in read_in_words(pydoc)[0]
    (tmp_path / "a.txt").write_text("\n\n".join(TEXTS))
    one = load_dataset("text", path=str(tmp_path / "a.txt"), targets="next_tokens")
    assert load_dataset("text", path=str(tmp_path), targets="next_tokens", n_val=1).size("val") == 1
    assert one.size("train") > 100
    short = load_dataset("stdlib", targets="next_tokens", options={"tokenizer": "bytes", "max_bytes": 300_000})
    assert short.size("train") * 256 < 300_000


def test_long_texts_are_cut_at_empty_lines_or_else_at_ends_of_lines():
    found = list(pieces(["\n\n".join("x" * 1500 for _ in range(5))]))
    assert [len(piece) for piece in found] == [3002, 3002, 1500]
    lines = "\n".join("x" * 1500 for _ in range(5))
    assert [len(piece) for piece in pieces([f"short\n\n{lines}\n\nshort"])] == [5, 3001, 3001, 1500, 5]
    assert list(pieces(["x" * 9000])) == ["x" * 9000]
    assert list(pieces(["a" * 100, "b" * 100], max_bytes=150)) == ["a" * 100]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("pydoc", {"tokenizer": "words"}, "must be bytes, bpe or a tokenizer.json, got 'words'"),
        ("pydoc", {"context": 8}, "data.options.context must be in 16..65536, got 8"),
        ("pydoc", {"context": 60_000}, "has too little text: no window of 60000 tokens for val and test"),
        ("text", {}, "needs a path to a text file"),
    ],
)
def test_bad_input(name, options, message):
    with pytest.raises(InvalidInputError, match=message):
        load_dataset(name, targets="next_tokens", options=options)


def test_bad_files(tmp_path):
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "bytes.txt").write_bytes(b"abc\xff")
    for name, message in (
        ("empty.txt", "holds no text"),
        ("bytes.txt", "no text in UTF-8"),
        ("none.txt", "is no text file"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            load_dataset("text", path=str(tmp_path / name), targets="next_tokens")
    with pytest.raises(InvalidInputError, match="is text, which gives next_tokens; the task needs labels"):
        load_dataset("pydoc")
    (tmp_path / "reviews.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InvalidInputError, match="holds no reviews"):
        load_dataset("movie-reviews", path=str(tmp_path / "reviews.csv"), targets="next_tokens")


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(NotReadyError, match=r"pip install 'hwnas\[text\]'"):
        load(tokenizer="bpe")
