"""A run folder of an earlier version: what it holds can be queried, reported, exported, verified and timed."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nas
from nas.cli import main

ARCHIVE = Path(__file__).parents[2] / "data" / "run-c808fae.zip"
EXPORTED = "c89080ab6f"


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """The folder of a digits run, 8 + 4 epochs, 30 measurements, of a remote device, with every key renamed since."""
    folder = tmp_path_factory.mktemp("older")
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(folder)
    return folder / "run-c808fae"


def test_its_front_is_read_under_todays_names(older, capsys):
    words = ["--sort", "estimated_ms", "--columns", "id,error_val,estimated_ms,estimated_mj", "--format", "csv"]
    assert main(["front", str(older), *words]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[1] == "e0da543c48,2.2222222222222223,0.000549,0.0006157385728"
    for old, new in (("lower_bits", "progressive_bits"), ("patience", "retry_budget"), ("elsewhere", "remote")):
        assert f"{old} is called {new} now" in " ".join(told.err.split())
    front = nas.open_run(older).front(max={"modelled_ms": 0.001})
    assert set(front["id"]) == {"e0da543c48", "098cfd76e9", EXPORTED}


def test_its_exported_folder_is_verified_and_timed(older, capsys):
    assert main(["verify", str(older / "export" / EXPORTED)]) == 0
    assert "99136 integers, 8 samples, test error 2.22 %" in capsys.readouterr().out
    assert main(["bench", str(older / "export" / EXPORTED)]) == 0


def test_its_supernet_still_computes_what_it_did(older, tmp_path, capsys):
    exported = tmp_path / "exported"
    assert main(["export", str(older), EXPORTED, "--to", str(exported)]) == 0
    before = older / "export" / EXPORTED
    logits = [np.load(folder / "samples.npz")["logits"] for folder in (before, exported)]
    assert np.allclose(*logits, atol=1e-3 * np.abs(logits[0]).max())  # to the last bit on one machine
    old, new = (json.loads((folder / "subnet.json").read_text()) for folder in (before, exported))
    assert new["costs"] == old["costs"]
    assert new["measured"]["error_test"] == old["measured"]["error_test"]


def test_its_report_is_made(older):
    assert main(["report", str(older)]) == 0
    assert "estimated_ms" in (older / "report.html").read_text()


def test_its_search_goes_on_and_measures_nothing_anew(older, capsys):
    before = pd.read_csv(older / "front.csv")
    start = (
        "search.n_measurements=8"  # the random start; what follows hangs on the last bits of predictors, so on the processor
    )
    assert main(["search", str(older), "--set", start]) == 0
    after = pd.read_csv(older / "front.csv")
    assert after["id"].tolist() == before["id"].tolist()
    assert after["error_val"].tolist() == before["error_val"].tolist()
    assert after["latency_ms"].tolist() == before["latency_ms"].tolist()


def test_the_result_of_an_older_bundle_is_refused_in_a_sentence(older, tmp_path, capsys):
    with zipfile.ZipFile(ARCHIVE.with_name("result-c808fae.zip")) as archive:
        archive.extractall(tmp_path)
    table = (older / "latency" / "pi.json").read_bytes()
    assert main(["measure", str(older), "--from", str(tmp_path / "result.json"), "--again"]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert (
        "was measured with a benchmark bundle of another space, device or number of networks, or by an older hwnas; " in told
    )
    assert "make a new bundle" in told
    assert (older / "latency" / "pi.json").read_bytes() == table
