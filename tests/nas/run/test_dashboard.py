"""`hwnas dashboard`: Optuna's dashboard on the archive, on this machine alone."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from functools import partial
from importlib.util import find_spec

import pytest

from nas.cli.command import main


@pytest.mark.skipif(find_spec("optuna_dashboard") is None, reason="optuna-dashboard is not installed")
def test_it_serves_the_archive_on_the_loopback_address(run):
    command = [sys.executable, "-m", "nas.cli", "dashboard", str(run), "--port", "0"]
    # What a shell starts in the background ignores Ctrl-C, and so do its children.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed) as process:
        try:
            line = next(line for line in process.stderr if "http" in line)
            (url,) = re.findall(r"http://127\.0\.0\.1:\d+/", line)
            with urllib.request.urlopen(url + "api/studies") as answer:
                names = {study["study_name"] for study in json.load(answer)["study_summaries"]}
        finally:
            process.send_signal(signal.SIGINT)
    assert {"error", "error_test", "latency onnxruntime-1t"} <= names
    assert process.returncode == 0


def test_it_names_the_extra_that_is_missing(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    assert main(["dashboard", str(run)]) == 2
    assert "hwnas[dashboard]" in capsys.readouterr().err


def test_a_port_must_be_one(run, capsys):
    assert main(["dashboard", str(run), "--port", "80"]) == 2
    assert "1024..65535" in capsys.readouterr().err
