"""Signatures of all shipped spaces are pinned: a table that was measured once stays valid."""

import hashlib
import json
from pathlib import Path

import pytest

from latency_tables.table.latency_model import iterate_parts
from search_spaces import SPACES

PINNED = json.loads((Path(__file__).parents[1] / "data" / "signatures.json").read_text())


def test_every_shipped_space_is_pinned():
    assert list(PINNED) == list(SPACES)


def parts(name):
    """The names of all parts of a space, in each of its phases."""
    space = SPACES.get(name)()
    return list(dict.fromkeys(part for phase in space.phases or [""] for part, _ in iterate_parts(space.at(phase))))


@pytest.mark.parametrize("name", list(SPACES))
def test_no_table_dies(name):
    """The names of all parts of a space, blocks by signature and transitions, as they were in November 2026."""
    found = parts(name)
    digests = [hashlib.sha256(part.encode()).hexdigest()[:12] for part in found]
    lost = sorted(set(PINNED[name]) - set(digests))
    new = [part for part, digest in zip(found, digests, strict=True) if digest not in PINNED[name]]
    assert not lost, f"{len(lost)} parts have other names now, such as {new[:3]}"
