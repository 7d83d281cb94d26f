"""All measured networks, and another device's table on them."""

import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from nas import open_run
from nas.cli.command import main
from nas.run.measurements import scores


@pytest.fixture
def other(finished, tmp_path):
    """A table on which every prediction is three times as long, with a name of its own."""
    table = json.loads((finished / "latency" / "onnxruntime-1t.json").read_text())
    del table["digest"]
    table |= {"device": "slow", "coefficients": [3 * value for value in table["coefficients"]]}
    file = tmp_path / "slow.json"
    file.write_text(json.dumps(table))
    return file


def test_every_measured_network_is_there_once(finished):
    opened = open_run(str(finished))
    networks = opened.measurements().frame()
    assert len(networks) == len(opened.archives.genomes()) == networks["id"].nunique()
    front = opened.front().set_index("id")
    same = networks.set_index("id").loc[front.index]
    for column in ("error_val", "error_test", "latency_ms", "latency_ms_predicted", "size_bytes", "macs"):
        np.testing.assert_allclose(same[column], front[column])


def test_a_new_table_drops_what_was_timed_in_units_of_the_one_before(run):
    opened = open_run(str(run))
    assert opened.measurements().frame()["latency_ms"].notna().any()
    assert opened.measure()  # which reads it
    assert opened.measurements().frame()["latency_ms"].notna().any()
    before = opened.tables()[0].measurements["call"].rounds
    assert opened.measure(again=True)[0].measurements["call"].rounds != before
    assert opened.measurements().frame()["latency_ms"].isna().all()
    opened.search()
    assert (opened.front()["latency_ms"] > 0).all()


def test_another_table_scores_all_networks(finished, other):
    opened = open_run(str(finished))
    found = scores(opened, str(other))
    networks = opened.measurements().frame().set_index("id")
    np.testing.assert_allclose(
        found.front["latency_ms_predicted"], 3 * networks.loc[found.front["id"], "latency_ms_predicted"]
    )
    assert "latency_ms" not in found.front
    values = networks[["cross_entropy_val", "latency_ms_predicted", "size_bytes"]].to_numpy(float)
    kept = set(found.front["id"])
    for name, row in zip(networks.index, values, strict=True):
        beaten = ((values <= row).all(axis=1) & (values < row).any(axis=1)).any()
        assert (name in kept) == (not beaten)


def test_the_command_labels_it_predicted(finished, other, capsys):
    query = ["front", str(finished), "--device", str(other), "--format", "csv", "--sort", "latency_ms_predicted"]
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file() and path.suffix != ".db"}
    assert main(query) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert "latency_ms_predicted" in lines[0].split(",")
    assert "latency_ms" not in lines[0].split(",")
    assert "latency table slow" in said.err
    assert main([*query[:4]]) == 0
    assert "by predicted latency" in " ".join(capsys.readouterr().out.split())
    assert before == {path: path.read_bytes() for path in finished.rglob("*") if path.is_file() and path.suffix != ".db"}


def test_a_table_in_the_run_is_found_by_name(finished, other, run, capsys):
    shutil.copy(other, run / "latency" / "slow.json")
    assert main(["front", str(run), "--device", "slow", "--best", "latency_ms_predicted", "--format", "json"]) == 0
    assert len(pd.read_json(io.StringIO(capsys.readouterr().out))) == 1


@pytest.mark.parametrize(("device", "message"), [("nothing", "known for this space: onnxruntime-1t")])
def test_an_unknown_table_is_refused(finished, device, message, capsys):
    assert main(["front", str(finished), "--device", device]) == 2
    assert message in capsys.readouterr().err


def test_another_run_cannot_be_set_beside_it(finished, other, capsys):
    assert main(["front", str(finished), "--device", str(other), "--against", str(finished)]) == 2
    assert "cannot be combined" in capsys.readouterr().err


def test_an_experiment_is_no_table(finished, capsys):
    assert main(["front", str(finished), "--device", str(finished / "experiment.yaml")]) == 2
    assert "is no latency table" in capsys.readouterr().err


def test_a_table_of_another_space_is_refused(finished, other, capsys):
    table = json.loads(other.read_text())
    other.write_text(json.dumps(table | {"space": "another"}))
    assert main(["front", str(finished), "--device", str(other)]) == 2
    assert "the table is of space 'another'" in capsys.readouterr().err
