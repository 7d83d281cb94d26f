import sqlite3

import numpy as np
import optuna
import pytest

from nas.archive.archive import Archive
from nas.archive.storage import open_storage, sqlite_url
from search_spaces import SPACES, InvalidInputError
from search_spaces.errors import DamagedFileError, NotReadyError


def test_what_was_measured_is_there_again(tiny_space, tmp_path, rng):
    storage = f"sqlite:///{tmp_path / 'a.db'}"
    genomes = np.unique(tiny_space.sample(6, rng), axis=0)
    archive = Archive(tiny_space, storage, "latency", ("latency_ms", "latency_spread"))
    values = {"latency_ms": np.arange(6.0), "latency_spread": np.arange(6.0) / 10}
    archive.add(genomes[:5], {name: y[:5] for name, y in values.items()})
    again = Archive(tiny_space, storage, "latency", ("latency_ms", "latency_spread"))
    assert (again.genomes() == genomes[:5]).all()
    assert again.lookup(genomes)[2] == {"latency_ms": 2.0, "latency_spread": 0.2}
    assert again.lookup(genomes)[5] is None
    assert again.frame()["latency_ms"].tolist() == [0, 1, 2, 3, 4]
    study = optuna.load_study(study_name="latency", storage=open_storage(storage))
    assert study.best_trial.params == dict(tiny_space.subnet(genomes[0]).options)


def test_other_networks_are_refused(tiny_space, tmp_path):
    storage = f"sqlite:///{tmp_path / 'a.db'}"
    Archive(tiny_space, storage, "error", ("error",), {"supernet": "abc"})
    with pytest.raises(InvalidInputError, match=r"holds other networks \(supernet was abc, is def\)"):
        Archive(tiny_space, storage, "error", ("error",), {"supernet": "def"})
    with pytest.raises(InvalidInputError, match="space was tiny, is mobilenet-digits"):
        Archive(SPACES.get("mobilenet-digits")(), storage, "error", ("error",), {"supernet": "abc"})


@pytest.mark.parametrize(
    "statement",
    [
        "delete from trial_user_attributes where key = 'genes'",
        "update trial_user_attributes set value_json = '\"9 9\"' where key = 'genes'",
        "update trial_user_attributes set value_json = '{' where key = 'genes'",
        "delete from trial_values",
    ],
)
def test_damaged_trials_are_refused(tiny_space, tmp_path, rng, statement):
    storage = f"sqlite:///{tmp_path / 'a.db'}"
    archive = Archive(tiny_space, storage, "error", ("error",))
    archive.add(tiny_space.sample(1, rng), {"error": np.array([1.0])})
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(DamagedFileError, match="cannot be read"):
        Archive(tiny_space, storage, "error", ("error",))


def test_damaged_database_is_refused(tiny_space, tmp_path):
    (tmp_path / "a.db").write_bytes(b"not a database" * 100)
    with pytest.raises(DamagedFileError, match="cannot be read"):
        Archive(tiny_space, f"sqlite:///{tmp_path / 'a.db'}", "error", ("error",))


@pytest.mark.parametrize("name", ["what? 1", "a#b", "100%", "a%20b", "né", "a&b=c", "run{1}", "a{b}"])
def test_the_file_lies_where_its_folder_is_whatever_it_is_called(tiny_space, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    Archive(tiny_space, sqlite_url(folder / "archive.db"), "error", ("error",))
    assert [path.name for path in folder.iterdir()] == ["archive.db"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_database_that_another_process_holds_is_waited_for_and_then_named(tiny_space, tmp_path, rng, monkeypatch):
    monkeypatch.setattr("nas.archive.storage.PATIENCE", 0.2)
    storage = sqlite_url(tmp_path / "a.db")
    archive = Archive(tiny_space, storage, "error", ("error",))
    holder = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    holder.execute("begin exclusive")
    with pytest.raises(NotReadyError, match="cannot be used now .*locked.*; another process is using it; try again") as told:
        archive.add(tiny_space.sample(1, rng), {"error": np.array([1.0])})
    assert "move it away" not in str(told.value)
    with pytest.raises(NotReadyError, match="another process is using it"):
        Archive(tiny_space, storage, "error", ("error",))
    holder.execute("commit")
    holder.close()
    archive.add(tiny_space.sample(1, rng), {"error": np.array([1.0])})


def test_a_database_that_cannot_be_written_or_made_is_named(tiny_space, tmp_path):
    with pytest.raises(NotReadyError, match="cannot be used now .unable to open database file.; make its folder"):
        Archive(tiny_space, sqlite_url(tmp_path / "none" / "a.db"), "error", ("error",))


def test_other_values_than_it_keeps_are_refused(tiny_space, tmp_path, rng):
    archive = Archive(tiny_space, sqlite_url(tmp_path / "a.db"), "error", ("error",))
    with pytest.raises(InvalidInputError, match=r"keeps \['error'\] of each network, got \['err'\]"):
        archive.add(tiny_space.sample(1, rng), {"err": np.array([1.0])})
